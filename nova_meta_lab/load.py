#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Clients that go on and on, for as long as something happens to the servers.

What one client does again and again is a generator function, an actor. It is
called with the number of the client and a function that sends a request: which
call, its arguments, and headers as keywords; that returns the Operation. The
actor yields whenever it may be stopped.

Observers read what is in a key, and overwrite what they have seen. So it shows
if something was brought back that somebody has acted on: that what was
acknowledged is there in the end does not prove that it was never undone.
"""

import collections
import itertools
import threading
import time

from nova_meta import etag
from nova_meta.race import client
from nova_meta.race import order

# How many keys of a client there are at a time.
KEPT = 4
# The keys that observers share.
SHARED = ('shared 0', 'shared 1')
# Seconds that a client waits if it was refused, or was not answered. Each
# request without an answer leaves more orders to try.
PAUSE = 0.2
LONG_PAUSE = 1


def write(me, send):
    """Set keys of one's own, and delete them again a little later."""
    for n in itertools.count():
        send('set', f'{me}.{n}', 'new')
        if n >= KEPT:
            send('delete', f'{me}.{n - KEPT}')
        yield


def observe(me, send):
    """Overwrite what was seen, on the condition that it is still there."""
    for n in itertools.count():
        # The answer to a write is up to date on each node of a cluster.
        seen = send('merge', {f'observer {me}': str(n)})
        if seen.acknowledged:
            key = SHARED[n % len(SHARED)]
            tag = etag.of_item(key, seen.answer)
            send('set', key, f'{me}.{n}', **(
                {'If-Match': f'"{tag}"'} if tag and n % 3 else {}))
        yield


def overwrite(me, send):
    """Overwrite what others write, on no condition."""
    for n in itertools.count():
        send('merge', {f'writer {me}': str(n)})
        send('set', SHARED[n % len(SHARED)], f'{me}.{n}')
        yield


def replace(me, send):
    """Leave some of what was seen, on the condition that it is still there."""
    for n in itertools.count():
        seen = send('merge', {f'replacer {me}': str(n)})
        if seen.acknowledged:
            send('replace', {**dict(sorted(seen.answer.items())[:8]),
                             'replaced': f'{me}.{n}'},
                 **{'If-Match': seen.etag})
        yield


def read(me, send):
    """Look at the whole map, and at a key."""
    for n in itertools.count():
        send('list')
        send('show', SHARED[n % len(SHARED)])
        time.sleep(PAUSE)
        yield


def fill(me, send):
    """Add keys until there is no room, and then remove some."""
    mine = collections.deque()
    for n in itertools.count():
        done = send('merge', {f'{me}.{n}': 'new'})
        if done.acknowledged:
            mine.append(f'{me}.{n}')
        while done.status == 403 and len(mine) > 4:
            send('delete', mine.popleft())
        yield


class Load:
    """Clients at work, as long as the context lasts.

    :param clients: (what it does, how it connects) for each. The latter is
        called with the number of the client and headers, and returns a
        :class:`nova_meta.race.client.Client`; None if nobody serves
    """

    def __init__(self, clients):
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._act, args=[me, *one])
            for me, one in enumerate(clients)]
        self.operations = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        """Let the clients send nothing more."""
        self._stopped.set()

    def __exit__(self, *exc_info):
        self.stop()
        for thread in self._threads:
            thread.join()

    def go_on(self, count=50):
        """Wait until so many more requests have been acknowledged."""
        enough = self.acknowledged + count
        deadline = time.monotonic() + client.TIMEOUT
        while self.acknowledged < enough:
            if time.monotonic() > deadline:
                raise RuntimeError(f'only {dict(self.statuses)}')
            time.sleep(PAUSE)

    def _act(self, me, actor, connect):
        def send(call, *arguments, **headers):
            while (one := connect(me, headers)) is None:
                # nova-api is being started again.
                time.sleep(PAUSE)
            done = getattr(one, call)(*arguments)._replace(writer=me)
            self.operations.append(done)
            if done.unanswered:
                time.sleep(LONG_PAUSE)
            elif not done.acknowledged and done.status not in (404, 412):
                time.sleep(PAUSE)
            return done

        for _ in actor(me, send):
            if self._stopped.is_set():
                return

    @property
    def statuses(self):
        """How often each status was answered; None is no answer."""
        return collections.Counter(one.status for one in list(self.operations))

    @property
    def acknowledged(self):
        """How many writes were."""
        return sum(one.changes for one in list(self.operations))

    @property
    def longest(self):
        """How many seconds the slowest answer took."""
        return max(one.ended - one.begun for one in self.operations)

    def contradiction(self, final, initial=None):
        """Find what no order of the requests explains.

        :param final: the metadata in the end
        :param initial: that before, if there was any
        :returns: what there is, in words; empty if there is nothing
        """
        return str(order.contradiction(
            initial or {}, self.operations, final) or '')


def clients_of(host, kind, name, *actors):
    """Return clients, as :class:`Load` takes them, that share out nova-apis.

    :param host: a :class:`nova_meta_lab.host.Host`
    :param kind: a class of :mod:`nova_meta.race.client`
    :param name: the ID of the server or the flavor
    :param actors: what each of them does
    """
    def connect(number, headers):
        urls = host.urls
        return kind(urls[number % len(urls)], name,
                    headers) if urls else None

    return [(actor, connect) for actor in actors]
