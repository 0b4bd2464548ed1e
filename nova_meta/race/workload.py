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

"""What the clients do at once, and what may come of it.

A workload is played in rounds. A round gives a server some metadata, or a
flavor some extra specs, lets every writer send its requests at the same
moment, and then judges what the clients were told by what is in the database.
"""

import collections
import concurrent.futures
import random
import threading
import time
from typing import Callable
from typing import NamedTuple

from nova_meta.race import judge

# Nova's default for [quota]metadata_items; workloads stay within it.
QUOTA = 128
# As many threads, each of which has a connection.
MOST_WRITERS = 1000
# More would make the search through all orders long.
MIXED_WRITERS = 16


class Workload(NamedTuple):
    """What is done in a round.

    :param name: of the workload
    :param initial: called with the number of writers and how many items there
        is room for, returns the metadata or extra specs that there are before
    :param requests: called with a writer's number, the number of writers, how
        many items there is room for and a random.Random, returns (method of
        Client, arguments) for each request
    :param most_writers: how many writers a round has at the most
    :param whole: whether the whole map is replaced or filled, so that nobody
        else can have keys in it
    :param fills: whether more items are sent than there is room for
    """

    name: str
    initial: Callable
    requests: Callable
    most_writers: int = MOST_WRITERS
    whole: bool = False
    fills: bool = False


def _empty(writers, room):
    return {}


def _own_keys(me, writers, room):
    """The keys of a writer; those of all find room."""
    return [f'{me}.{n}' for n in range(max(1, room // writers))]


def _merge(me, writers, room, rng):
    return [('merge', {key: 'new'}) for key in _own_keys(me, writers, room)]


def _set(me, writers, room, rng):
    return [('set', key, 'new') for key in _own_keys(me, writers, room)]


def _counters(writers, room):
    return {str(me): '0' for me in range(writers)}


def _count(me, writers, room, rng):
    return [('set', str(me), str(n))
            for n in range(1, 1 + max(2, room // writers))]


def _keys_of_deleters(writers, room):
    return {key: 'old' for me in range(0, writers, 2)
            for key in _own_keys(me, writers, room)}


def _delete_and_merge(me, writers, room, rng):
    if me % 2:
        return _merge(me, writers, room, rng)
    return [('delete', key) for key in _own_keys(me, writers, room)]


def _replace(me, writers, room, rng):
    return [('replace', {'a': str(me), 'b': str(me), f'only {me}': 'new'})]


def _same_key(me, writers, room, rng):
    return [('set', 'key', str(me))]


def _nearly_full(writers, room):
    return {f'old {n}': 'old' for n in range(room - writers // 2)}


def _fill(me, writers, room, rng):
    return [('merge', {f'new {me}': 'new'})]


def _one_key(writers, room):
    return {'key': 'old'}


def _delete_same_key(me, writers, room, rng):
    return [('delete', 'key')]


def _mixed_writes(me, writers, room, rng):
    key = rng.choice('abc')
    return [rng.choice([
        ('delete', key), ('set', key, str(me)),
        ('merge', {key: str(me), 'd': str(me)}),
        ('replace', {key: str(me)})])]


def _mixed(me, writers, room, rng):
    if rng.random() < 1 / 3:
        return [rng.choice([('list',), ('show', rng.choice('abc'))])]
    return _mixed_writes(me, writers, room, rng)


def _mixed_specs(me, writers, room, rng):
    # Nothing replaces all extra specs.
    while True:
        requests = _mixed(me, writers, room, rng)
        if requests[0][0] != 'replace':
            return requests


_COMMON = [
    Workload('merge', _empty, _merge),
    Workload('delete and merge', _keys_of_deleters, _delete_and_merge),
    Workload('same key', _empty, _same_key),
    Workload('delete same key', _one_key, _delete_same_key),
]

WORKLOADS = _COMMON + [
    Workload('set', _empty, _set),
    Workload('replace', _empty, _replace, whole=True),
    Workload('quota', _nearly_full, _fill, whole=True, fills=True),
    Workload('mixed', _one_key, _mixed, MIXED_WRITERS, whole=True),
]

EXTRA_SPECS = _COMMON + [
    Workload('count', _counters, _count),
    Workload('mixed', _one_key, _mixed_specs, MIXED_WRITERS),
]

# On a Galera cluster reads may be behind, unless they are made to wait.
WITHOUT_READS = [one for one in WORKLOADS if one.name != 'mixed'] + [
    Workload('mixed writes', _one_key, _mixed_writes, MIXED_WRITERS,
             whole=True)]


def named(name, workloads=WORKLOADS):
    """Return the workload of that name."""
    return next(one for one in workloads if one.name == name)


class Player:
    """Plays rounds on one map.

    :param subject: has the map, such as a
        :class:`nova_meta.race.cloud.Metadata`
    :param room: how many items the clients may write together, if the quota
        of the map allows
    :param seed: makes the random choices repeatable
    """

    def __init__(self, subject, room=QUOTA, seed=0):
        self._subject = subject
        self._room = min(subject.quota, room)
        self._random = random.Random(seed)
        # The judge.Round that was played last, and its judge.Verdict.
        self.played = self.verdict = None

    def play(self, workload, writers):
        """Play one round.

        :returns: a :class:`judge.Result`
        """
        writers = min(writers, workload.most_writers)
        initial = workload.initial(writers, self._room)
        self._subject.prepare(initial)
        requests = [workload.requests(me, writers, self._room, self._random)
                    for me in range(writers)]
        begun = time.monotonic()
        operations = self._send(requests)
        seconds = time.monotonic() - begun
        left = self._subject.rows()
        self.played = judge.Round(initial, operations, dict(left),
                                  self._subject.quota)
        self.verdict = judge.judge(self.played)
        faults = collections.Counter(self.verdict.faults)
        faults['duplicate rows'] = len(left) - len(self.played.final)
        return judge.Result.of(operations, seconds, faults)

    def _send(self, requests):
        clients = [self._subject.client(me) for me in range(len(requests))]
        barrier = threading.Barrier(len(requests))
        interrupted = threading.Event()

        def writer(me):
            barrier.wait()
            for call, *arguments in requests[me]:
                if not interrupted.is_set():
                    getattr(clients[me], call)(*arguments)

        with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
            try:
                list(pool.map(writer, range(len(requests))))
            except BaseException:
                interrupted.set()
                # Some may wait for others that have not been started.
                barrier.abort()
                raise
        return [operation._replace(writer=me)
                for me, one in enumerate(clients)
                for operation in one.operations]
