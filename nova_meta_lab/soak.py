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

"""A long run: all kinds of maps are written while all kinds of things happen.

``python -m nova_meta_lab.soak DATABASE`` goes on for an hour, in rounds. In a
round clients of nova-api and services of the cell write several maps, while
something is done to the servers (nova_meta_lab.faults). Then they stop, and
all that the clients of a map were told has to be explained by an order of
their requests, from what was there before the round to what is there now.
Nothing is under way between two rounds, so each is judged by itself.

It can be stopped at any time, by SIGINT or SIGTERM; the round ends then and is
judged. What no order explains is told at once; the requests of that round, and
what nova-api has logged, are kept for nova_meta_lab.histories.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import functools
import itertools
import logging
import math
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from nova import exception as nova_exception
from oslo_utils import timeutils
from rich import console

from nova_meta.race import client
from nova_meta.race import history
from nova_meta.race import judge
from nova_meta.race import order
from nova_meta_lab import compute
from nova_meta_lab import databases
from nova_meta_lab import evidence
from nova_meta_lab import faults
from nova_meta_lab import histories
from nova_meta_lab import host as private
from nova_meta_lab import load
from nova_meta_lab import services
from nova_meta_lab import target as targets

# Of the log of nova-api, about a round.
LINES = 10_000
# Seconds that a round goes on after something has happened.
AFTERWARDS = 5
# Seconds between what is done beside.
INTERVAL = 3
# Seconds in which a deletion should have succeeded.
PATIENCE = 30
# The limit of the project is one of them, then the other.
LIMITS = 40, 60
# An owner who locks a server again changes nothing.
ADMIN = {'X-Roles': 'admin,member,reader', 'X-Project-Id': 'c' * 32}
# The map of a server that is deleted, another one in each round.
DELETED = 'deleted'

# What happens in a round: to nobody, to nova-api, to a database server, or to
# a node of a cluster.
NOTHING, NOVA_API_KILLED = 'nothing', 'nova-api killed'
TO_SERVER = {'database server killed': faults.kill,
             'database server restarted': faults.restart}
TO_NODES = {'node killed': faults.kill, 'frozen': faults.freeze,
            'cut off': faults.cut_off, 'paused': faults.pause}
HAPPENS = NOTHING, NOVA_API_KILLED, *TO_SERVER, *TO_NODES


class Judged(NamedTuple):
    """What came of a map in a round, or in several.

    :param statuses: a Counter of the answers
    :param acknowledged: how many writes were
    :param wrong: in how many rounds no order explains what there was
    :param undecided: in how many rounds there were too many orders to try
    """

    statuses: collections.Counter = collections.Counter()
    acknowledged: int = 0
    wrong: int = 0
    undecided: int = 0

    def plus(self, other):
        return Judged(*(mine + more for mine, more in zip(self, other)))

    def answers(self, *statuses):
        """Count the answers that had one of these statuses."""
        return sum(self.statuses[status] for status in statuses)


class Map(NamedTuple):
    """A map that is written.

    :param target: a :class:`nova_meta_lab.target.Target`
    :param identity: the ID of the server or the flavor
    :param clients: as :class:`nova_meta_lab.load.Load` takes them
    """

    target: targets.Target
    identity: str
    clients: list


class Soak:
    """Rounds on one database.

    :param host: a :class:`nova_meta_lab.host.Host` with four servers; Nova is
        configured for it in this process
    :param server: a :class:`nova_meta_lab.databases.Started`
    :param serve: a function that serves nova-api, again if need be
    :param rng: a random.Random
    :param keep: the path of a directory, for what no order explains
    :param tell: called with text
    :param meanwhile: what happens in the rounds, of HAPPENS; all if empty
    """

    def __init__(self, host, server, serve, rng, keep, tell, meanwhile=()):
        self._host, self._server, self._serve = host, server, serve
        self._rng, self._keep, self._tell = rng, keep, tell
        self._services = [
            compute.Service(compute.cell_at(host.url('cell1', number)))
            for number in range(len(host.databases))]
        self._maps = self._make_maps(*host.servers)
        self._before = dict.fromkeys(self._maps, {})
        compute.limit_metadata(max(LIMITS))
        # Whoever is not judged.
        self._beside = [self._sync_power, self._lock_for_a_moment,
                        self._change_limit]
        self._faults = self._make_faults(meanwhile)
        self.stopped = threading.Event()
        self.judged = dict.fromkeys((*self._maps, DELETED), Judged())
        self.happened = collections.Counter()

    def _make_maps(self, written, rebuilt, limited, saved):
        metadata, actions = targets.MetadataClient, targets.ActionClient
        clients_of = functools.partial(load.clients_of, self._host)
        # What a node of a cluster shows may be behind.
        reads = [load.read] * (self._server.cluster is None)
        return {
            'metadata': Map(targets.METADATA, written, clients_of(
                metadata, written, *[load.write] * 4, *[load.observe] * 3,
                *reads)),
            'rebuilt': Map(targets.METADATA, rebuilt, clients_of(
                metadata, rebuilt, load.replace, load.write, load.observe,
                *reads) + clients_of(actions, rebuilt, self._rebuild)),
            'limited': Map(targets.METADATA, limited, clients_of(
                metadata, limited, *[load.fill] * 3)),
            'system_metadata': Map(targets.SYSTEM_METADATA, saved, [
                (actor, functools.partial(self._save, saved)) for actor in (
                    load.write, load.overwrite, load.overwrite)
            ] + clients_of(actions, saved, lock)),
            'extra specs': Map(targets.EXTRA_SPECS, client.FLAVOR, clients_of(
                targets.ExtraSpecsClient, client.FLAVOR, *[load.write] * 2,
                *[load.overwrite] * 2, load.read)),
        }

    def _save(self, server, number, headers):
        return compute.SystemMetadataClient(self._service(number), server)

    def _service(self, number):
        return self._services[number % len(self._services)]

    def _rebuild(self, me, send):
        """Rebuild, and do what nova-compute does then."""
        for n in itertools.count():
            send('rebuild', {load.SHARED[0]: f'rebuilt {n}'})
            self._certainly(self._service(n).end_task,
                            self._maps['rebuilt'].identity)
            time.sleep(load.PAUSE)
            yield

    @staticmethod
    def _certainly(function, *args):
        """Do something, as soon as the database lets us."""
        while True:
            try:
                return function(*args)
            except compute.DB_ERRORS:
                time.sleep(load.PAUSE)

    def _sync_power(self):
        self._certainly(self._service(self._rng.randrange(9)).sync_power,
                        self._maps['metadata'].identity)

    def _lock_for_a_moment(self):
        url = self._host.urls
        if url:
            admin = targets.ActionClient(
                url[0], self._maps['metadata'].identity, ADMIN)
            admin.act('lock')
            while admin.act('unlock').status != 202 and self._host.urls == url:
                time.sleep(load.PAUSE)

    def _change_limit(self):
        self._certainly(compute.limit_metadata, self._rng.choice(LIMITS))

    def _make_faults(self, meanwhile):
        """Return an iterator of (what it is called, what it does)."""
        happens = {NOTHING: lambda: None, NOVA_API_KILLED: self._serve}
        nodes = itertools.cycle(self._server.nodes)
        if self._server.nodes:
            happens.update(
                (name, lambda function=function: function(next(nodes)))
                for name, function in (TO_NODES if self._server.cluster
                                       else TO_SERVER).items())
        # A KeyError: it does not happen to this kind of server.
        return itertools.cycle([(name, happens[name])
                                for name in meanwhile or happens])

    def play(self, seconds):
        """Play a round.

        :param seconds: until something happens
        """
        name, happen = next(self._faults)
        ended = threading.Event()
        with contextlib.ExitStack() as stack:
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
            stack.callback(ended.set)
            beside = [pool.submit(self._repeat, one, ended)
                      for one in self._beside]
            deleted = pool.submit(self._write_until_deleted, seconds)
            loads = {key: stack.enter_context(load.Load(one.clients))
                     for key, one in self._maps.items()}
            self.stopped.wait(seconds)
            # Late: those that are not answered may take place at any time
            # after it, and leave many orders to try.
            happen()
            self.stopped.wait(AFTERWARDS)
            for one in loads.values():
                one.stop()
        for one in beside:
            one.result()
        self.happened[name] += 1
        self._settle()
        for key, one in self._maps.items():
            self._before[key] = self._judge(
                key, one.target, one.identity, loads[key].operations,
                self._before[key])
        self._judge(DELETED, targets.METADATA, *deleted.result(), {})

    def _repeat(self, function, ended):
        while not ended.wait(INTERVAL):
            function()

    def _write_until_deleted(self, seconds):
        """Write the metadata of a server until it is deleted, and after.

        :returns: its UUID, and the operations
        """
        server, = self._certainly(compute.build_another)
        with load.Load(load.clients_of(
                self._host, targets.MetadataClient, server, load.write,
                load.write, load.observe)) as clients:
            self.stopped.wait(self._rng.uniform(0, seconds))
            begun = time.monotonic()
            # On a cluster it may lose to them for ever: Nova locks nothing
            # when it deletes.
            way = threading.Timer(PATIENCE, clients.stop)
            way.start()
            self._delete(server)
            way.cancel()
            ended = time.monotonic()
            time.sleep(1)
        # To its clients the deletion takes all metadata away, and from then on
        # there is no server.
        return server, [history.Operation(
            history.REPLACE, None, {}, 204, {}, begun, ended)] + [
            op for op in clients.operations
            if op.status != 404 or op.ended < begun]

    def _delete(self, server):
        with contextlib.suppress(nova_exception.InstanceNotFound):
            self._certainly(self._service(self._rng.randrange(9)).destroy,
                            server)

    def _settle(self):
        """Wait until nothing is under way in the databases."""
        if self._server.cluster:
            self._server.cluster.wait_until_whole()
        for one in self._maps.values():
            for engine in self._host.engines[one.target.database]:
                self._certainly(self._wait_for_row, engine, one)

    @staticmethod
    def _wait_for_row(engine, one):
        """Wait for whoever holds the row lock of a map."""
        # The connections may be those of a server that was killed.
        engine.dispose()
        with engine.connect() as connection:
            one.target.touch(connection, one.identity, timeutils.utcnow())
            connection.rollback()

    def _judge(self, key, target, identity, operations, before):
        """Judge what came of a map.

        :returns: what is in it
        """
        rows = []
        for engine in self._host.engines[target.database]:
            with engine.connect() as connection:
                rows.append(target.rows(connection, identity))
        after = dict(rows[0])
        wrong, undecided = '', False
        if any(other != rows[0] for other in rows) or len(after) != len(
                rows[0]):
            wrong = f'rows of each node: {rows}'
        # With a limit that changes, nothing tells if it was exceeded. But
        # whoever was told so has changed nothing.
        played = judge.Round(
            before, [op for op in operations if op.status != 403], after,
            max(LIMITS) if key == 'limited' else math.inf)
        try:
            wrong = wrong or str(order.contradiction(*played) or '')
        except order.Undecided:
            undecided = True
        if wrong:
            self._tell(f'{key}: {wrong}')
        if wrong or undecided:
            self._keep_round(key, played)
        self.judged[key] = self.judged[key].plus(Judged(
            collections.Counter(op.status for op in operations),
            sum(op.changes for op in operations), bool(wrong), undecided))
        return after

    def _keep_round(self, key, played):
        number = sum(self.happened.values())
        self._keep.mkdir(parents=True, exist_ok=True)
        path = self._keep / f'round-{number}-{key.replace(" ", "-")}.json'
        with path.open('w') as file:
            histories.dump(played, file)
        path.with_suffix('.log').write_text(self._host.log(LINES))
        self._tell(f'kept in {path}')


def lock(me, send):
    """Lock the server, each time for another reason."""
    for n in itertools.count():
        send('lock', f'reason {n}', **ADMIN)
        time.sleep(load.PAUSE)
        yield


COLUMNS = ('written', 'requests', 'acknowledged', '403', '404', '409', '412',
           '5xx', 'no answer', 'not explained', 'undecided')


def rows(judged):
    """Yield the rows of a table with COLUMNS."""
    total = functools.reduce(Judged.plus, judged.values())
    for name, one in {**judged, 'all': total}.items():
        yield (name, sum(one.statuses.values()), one.acknowledged,
               *map(one.answers, (403, 404, 409, 412)),
               one.answers(500, 502, 503, 504), one.answers(None),
               one.wrong, one.undecided)


def page(name, argv, minutes, soak):
    return evidence.page(
        f'Long run, {name}', 'nova_meta_lab.soak', argv, minutes,
        evidence.table(COLUMNS, *rows(soak.judged)),
        evidence.table(('meanwhile', 'rounds'), *soak.happened.items()))


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='soak', description=__doc__.split('\n\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('database', choices=databases.NAMES)
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--round', type=float, default=60, metavar='SECONDS')
    parser.add_argument('--seed', type=int, default=0,
                        help='of what is chosen by chance')
    parser.add_argument('--app-factory', default=private.OURS,
                        help='what serves, as api-paste.ini calls it')
    parser.add_argument('--meanwhile', action='append', metavar='WHAT',
                        choices=HAPPENS, default=[],
                        help='only this happens, may be repeated: %(choices)s')
    parser.add_argument('--keep', metavar='DIRECTORY', type=pathlib.Path,
                        help='for what no order explains; by default a new '
                             'one')
    evidence.add_argument(parser)
    return parser.parse_args(argv)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    options, out = parse(argv), console.Console(
        width=None if sys.stdout.isatty() else 110)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(databases.started(options.database))
        beside = stack.enter_context(services.Services().running())
        # Extra specs are read on each node.
        waits = {'api_database': {'mysql_wsrep_sync_wait': 1}}
        host = stack.enter_context(private.Host(server.url, 4, {
            **beside.nova_options, **(waits if server.cluster else {})}))
        logging.basicConfig(filename=host.path / 'nova-api-0' / 'soak.log')
        compute.configure(host)
        name = ', '.join([
            databases.with_version(options.database, host.database),
            *options.meanwhile])
        serve = functools.partial(host.serve, options.app_factory,
                                  processes=1)
        serve()
        soak = Soak(host, server, serve, random.Random(options.seed),
                    options.keep or pathlib.Path(tempfile.mkdtemp()),
                    functools.partial(out.print, markup=False),
                    options.meanwhile)
        for number in signal.SIGINT, signal.SIGTERM:
            signal.signal(number, lambda *args: soak.stopped.set())
        minutes = 0
        while not soak.stopped.is_set() and minutes < options.minutes:
            soak.play(options.round)
            minutes = (time.monotonic() - begun) / 60
            out.print(evidence.view(None, COLUMNS, rows(soak.judged)))
            out.print(f'{minutes:.1f} minutes, {dict(soak.happened)}')
            if options.evidence:
                # After each round, so that there is something if the next one
                # is never over.
                options.evidence.write_text(
                    page(name, argv, minutes, soak))
    return int(any(one.wrong or one.undecided
                   for one in soak.judged.values()))


if __name__ == '__main__':
    sys.exit(main())
