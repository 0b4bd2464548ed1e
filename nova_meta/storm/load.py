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

Each sets keys of its own, one after the other, and deletes them again a little
later. So what must be there in the end can be told key by key.
"""

import collections
import itertools
import threading
import time

from nova_meta.storm import client
from nova_meta.storm import judge

# How many keys of a client there are at a time.
KEPT = 4
# Seconds that a client waits after an error.
PAUSE = 0.2


class Load:
    """Clients at work, as long as the context lasts.

    :param host: a :class:`nova_meta.storm.host.Host` that serves
    :param server: the UUID of the server whose metadata they change
    :param writers: how many
    """

    def __init__(self, host, server, writers=16):
        self._host = host
        self._server = server
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=[me])
                         for me in range(writers)]
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

    def _send(self, me, call, *arguments):
        urls = self._host.urls
        while len(urls) == 0:
            # nova-api is being started again.
            time.sleep(PAUSE)
            urls = self._host.urls
        one = client.MetadataClient(urls[me % len(urls)],
                                    self._server)
        done = getattr(one, call)(*arguments)
        self.operations.append(done)
        if not done.acknowledged and done.status != 404:
            time.sleep(PAUSE)

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

    def faults(self, final):
        """Hold the answers against the metadata in the end.

        :returns: a Counter of some of :data:`judge.FAULTS`
        """
        return +judge.own_keys(judge.Round({}, self.operations, final))
