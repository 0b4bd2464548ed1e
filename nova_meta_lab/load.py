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

Writers set keys of their own, one after the other, and delete them again a
little later.

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
# Seconds that a client waits after an error.
PAUSE = 0.2


class Load:
    """Clients at work, as long as the context lasts.

    :param host: a :class:`nova_meta_lab.host.Host` that serves
    :param server: the UUID of the server whose metadata they change
    :param writers: how many of them write
    :param observers: how many observe
    """

    def __init__(self, host, server, writers=12, observers=4):
        self._host = host
        self._server = server
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=work, args=[me])
            for work, count in ((self._write, writers),
                                (self._observe, observers))
            for me in range(count)]
        self.operations = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stopped.set()
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

    def _write(self, me):
        for n in itertools.count():
            self._send(me, 'set', f'{me}.{n}', 'new')
            if n >= KEPT:
                self._send(me, 'delete', f'{me}.{n - KEPT}')
            if self._stopped.is_set():
                return

    def _observe(self, me):
        for n in itertools.count():
            # The answer to a write is up to date on each node of a cluster.
            seen = self._send(me, 'merge', {f'observer {me}': str(n)})
            if seen.acknowledged:
                key = SHARED[n % len(SHARED)]
                tag = etag.of_item(key, seen.answer)
                self._send(me, 'set', key, f'{me}.{n}', **(
                    {'If-Match': f'"{tag}"'} if tag and n % 3 else {}))
            if self._stopped.is_set():
                return

    def _send(self, me, call, *arguments, **headers):
        urls = self._host.urls
        while len(urls) == 0:
            # nova-api is being started again.
            time.sleep(PAUSE)
            urls = self._host.urls
        one = client.MetadataClient(urls[me % len(urls)], self._server,
                                    headers)
        done = getattr(one, call)(*arguments)
        self.operations.append(done)
        if not done.acknowledged and done.status not in (404, 412):
            time.sleep(PAUSE)
        return done

    @property
    def statuses(self):
        """How often each status was answered; None is no answer."""
        return collections.Counter(one.status for one in list(self.operations))

    @property
    def acknowledged(self):
        return sum(one.acknowledged for one in list(self.operations))

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
