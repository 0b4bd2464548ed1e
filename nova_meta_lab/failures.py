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

"""Every point at which a request can fail, on real Nova and a real database.

A request is held at each of its steps (:mod:`nova_meta_lab.losing`), and
something happens to it there: its connection to the database is lost, before
the step or after it, or the database server is killed and started again. In a
cluster the node that it uses is killed, and the address of that leads to
another one from then on. Of SQLite, nova-api is killed, which has the file
open. Then the request goes on: alone, or when another client has read what is
there, and has set something.

Each time the answers, and what is there in the end, have to be explained by an
order of the requests. One that was answered 5xx, or not at all because
nova-api was killed, may have been done or not. Nothing is half done, nothing
is done twice, and nothing is undone.
"""

import argparse
import collections
from concurrent import futures
import contextlib
import functools
import itertools
import json
import logging
import os
import signal
import sys
import time
from typing import NamedTuple

from oslo_utils import timeutils
from rich import console
import sqlalchemy as sa

from nova_meta.race import history
from nova_meta.race import order
from nova_meta_lab import calls as kinds
from nova_meta_lab import compute
from nova_meta_lab import databases
from nova_meta_lab import evidence
from nova_meta_lab import galera
from nova_meta_lab import host as private
from nova_meta_lab import losing
from nova_meta_lab import servers
from nova_meta_lab import services
from nova_meta_lab import target as targets

CALLS = {
    'metadata': [*kinds.PLAIN, kinds.MERGE._replace(conditional=True),
                 kinds.Call('show', lambda value: ['a']), kinds.REBUILD],
    'extra-specs': kinds.SPECS,
    'system-metadata': [kinds.SAVE],
}


class Observer(NamedTuple):
    """Another client, which writes before the request goes on.

    :param key: that it sets
    :param reads: whether it looks what is there before
    :param conditional: whether it sets the key only if it is as it was then
    """

    key: str
    reads: bool = True
    conditional: bool = False

    def observe(self, client):
        """Do so.

        :param client: a class, called with headers
        :returns: the operations
        """
        headers = {}
        reader = client({})
        if self.reads:
            reader.list()
        if self.conditional:
            tag = reader.show(self.key).etag
            headers = {'If-Match': tag} if tag else {}
        writer = client(headers)
        writer.set(self.key, 'B')
        return reader.operations + writer.operations


OBSERVERS = {
    'alone': None,
    'overwritten': Observer('a'),
    'other key set': Observer('c'),
}


class Lost:
    """The connection to the database is lost."""

    name = 'connection lost'
    # Whether something is killed, so that before a step is after the one
    # before it. That takes its time, so only those steps count that touch the
    # map or what has it.
    kills = False
    # Whether there may be no answer.
    silences = False

    def strike(self, held):
        """Let it happen.

        :param held: what nova-api says of the request that is held
        """

    def mend(self):
        """Mend what the request did not need."""


class ServerKilled(Lost):
    """The database server is killed, and started again.

    :param server: a :class:`nova_meta_lab.servers.Server`
    """

    name = 'database server killed'
    kills = True

    def __init__(self, server):
        self._server = server

    def strike(self, held):
        self._server.kill()
        self._server.start()


class NodeKilled(Lost):
    """The node of a cluster is killed that an address leads to.

    :param cluster: a :class:`nova_meta_lab.galera.Cluster`
    :param address: a :class:`nova_meta_lab.galera.VirtualAddress`
    :param nodes: the two that it leads to in turns
    """

    name = 'node killed'
    kills = True

    def __init__(self, cluster, address, nodes):
        self._cluster = cluster
        self._address = address
        self._dying, self._other = nodes

    def strike(self, held):
        self._address.leads_to = self._other.port
        self._dying.kill()

    def mend(self):
        self._dying.start()
        self._cluster.wait_until_whole()
        # Connections to the other one are kept.
        self._dying, self._other = self._other, self._dying


class ProcessKilled(Lost):
    """The process of nova-api that has the request is killed."""

    name = 'nova-api killed'
    kills = silences = True

    def strike(self, held):
        os.kill(held['process'], signal.SIGKILL)


class Outcome(NamedTuple):
    """What came of a request that failed somewhere.

    :param failure: the name of what has happened
    :param point: the number of the step, and whether before it or after it
    :param step: what that does
    :param observer: the name of the observer
    :param operations: the request, and those of the observer
    :param writes: how many transactions have written, as far as is known
    :param silenced: whether there may be no answer
    :param before: the pairs that were there
    :param final: the rows in the end
    """

    failure: str
    point: tuple
    step: str
    observer: str
    operations: list
    writes: int
    silenced: bool
    before: dict
    final: list

    @property
    def answer(self):
        return str(self.operations[0].status or 'none')

    @property
    def is_done(self):
        """Whether anybody has seen that the request was done."""
        request, *others = self.operations
        return request.call in history.WRITES and any(
            found.get(key) == (request.pairs or {}).get(key)
            for found in (dict(self.final), *(
                one.answer for one in others
                if one.call == history.LIST and one.acknowledged))
            for key in request.keys)

    @property
    def wrong(self):
        """What is wrong, in words; empty if nothing is."""
        final = dict(self.final)
        if len(final) != len(self.final):
            return f'There are duplicate rows: {self.final}'
        request, *others = self.operations
        if not (request.status or self.silenced) or any(
                one.unanswered for one in others):
            return 'Somebody was not answered.'
        contradiction = order.contradiction(
            self.before, self.operations, final)
        if contradiction:
            return str(contradiction)
        return '' if self.writes < 2 else f'Written {self.writes} times.'

    def __str__(self):
        return '\n'.join([
            f'{self.failure} {self.point[1]} {self.step}, {self.observer}:',
            *(f'  {one.told()}' for one in self.operations),
            f'  in the end: {self.final}', *filter(None, [self.wrong])])


class Clients:
    """Clients of nova-api, who say what is to be lost.

    :param host: a :class:`nova_meta_lab.host.Host` that serves
        :data:`nova_meta_lab.losing.OURS`, or something like that
    :param name: the ID of the server or flavor
    """

    def __init__(self, host, name):
        self._host, self._name = host, name

    def client(self, kind, number=0, headers=None):
        """Return a client of one of the nova-apis.

        :param kind: one of nova_meta_lab.target.CLIENTS
        """
        urls = self._host.urls
        return targets.CLIENTS[kind](urls[number % len(urls)], self._name,
                                     headers)

    def ask(self, asked, plan):
        """Let a request lose something.

        :param asked: as :meth:`nova_meta_lab.calls.Call.request` returns it
        :param plan: the arguments of a :class:`nova_meta_lab.losing.Plan`
        :returns: the operation, and how many transactions have written
        """
        one = self.client(asked['client'], headers={
            **asked['headers'], losing.HEADER: json.dumps(plan)})
        done = getattr(one, asked['call'])(*asked['arguments'])
        told = json.loads(one.answered.get(losing.STEPS, '{}'))
        return done, told.get('writes', 0)


class CellServices:
    """Services of a cell, in this process; as :class:`Clients`."""

    def __init__(self, host, name):
        compute.configure(host)
        self._name = name
        self._services = [
            compute.Service(compute.cell_at(host.url('cell1', number)))
            for number in range(len(host.databases))]

    def client(self, kind, number=0, headers=None):
        return compute.SavedClient(
            self._services[number % len(self._services)], self._name, headers)

    def ask(self, asked, plan):
        with losing.losing(losing.Plan(**plan)) as lost:
            done = getattr(self.client(asked['client']), asked['call'])(
                *asked['arguments'])
        return done, lost.writes


class Points:
    """Lets requests fail.

    :param host: a :class:`nova_meta_lab.host.Host`
    :param target: the :class:`nova_meta_lab.target.Target` that is written
    :param name: the ID of the server or flavor
    :param asking: of whom: a :class:`Clients`, or :class:`CellServices`
    """

    def __init__(self, host, target, name, asking):
        self._host, self._name = host, name
        self._target, self._asking = target, asking
        self._engines = host.engines[target.database]
        self._gate = host.path / 'gate'
        self._before = kinds.before(target)

    def all_of(self, call, failure, observers=OBSERVERS):
        """Let a request fail at each of its steps.

        :param call: an :class:`nova_meta_lab.calls.Call`
        :param failure: such as :class:`Lost`
        :param observers: as OBSERVERS
        :returns: an iterator of :class:`Outcome`
        """
        for when in ('before',) if failure.kills else ('before', 'after'):
            for step in itertools.count():
                found = self._with_each(call, failure, (step, when), observers)
                yield from found
                if not found:
                    break
        if failure.kills:
            yield from self._with_each(
                call, failure, (losing.COMMIT, 'after'), observers)

    def _with_each(self, call, failure, point, observers):
        return list(filter(None, (
            self.play(call, failure, point, one, observers[one])
            for one in observers)))

    def play(self, call, failure, point, name='alone', observer=None):
        """Let a request fail once.

        :param point: (number of the step, or losing.COMMIT; when)
        :param name: of the observer
        :returns: an :class:`Outcome`; None if it has no such step
        """
        self._prepare()
        with futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._asking.ask, call.request('A'),
                                  self._plan(failure, *point))
            losing.wait_for(lambda: self._gate.exists() or running.done())
            if not self._gate.exists():
                done, _ = running.result()
                if not done.acknowledged:
                    raise private.HostError(done.told())
                return None
            held = json.loads(self._gate.read_text())
            # To others a rebuild is one more client's request.
            operations = self._fail(failure, held, observer, (
                'metadata' if call is kinds.REBUILD else call.client))
            done, writes = running.result()
        final = self._rows()
        failure.mend()
        return Outcome(failure.name, point, held['step'], name,
                       [done, *operations], writes, failure.silences,
                       self._before, final)

    def _plan(self, failure, step, when):
        return {'when': when, 'step': step, 'table': self._target.table.name,
                'gate': str(self._gate), 'killed': failure.kills,
                'owners': failure.kills and self._target.owners.name}

    def _fail(self, failure, held, observer, kind):
        """Let it happen to a request that is held, and let that go on.

        :param kind: of client, that the observer is
        """
        try:
            failure.strike(held)
            if failure.kills:
                # It has taken our connections, too.
                for engine in itertools.chain(*self._host.engines.values()):
                    engine.dispose()
            self._settle()
            return observer.observe(
                functools.partial(self._asking.client, kind, 1)
            ) if observer else []
        finally:
            self._gate.unlink()

    def _settle(self):
        """Wait until each node of a cluster has what was committed."""
        for engine in self._engines if len(self._engines) > 1 else ():
            # It waits by itself.
            with engine.connect() as connection:
                connection.execute(sa.select(1))

    def _prepare(self):
        with self._engines[0].begin() as connection:
            self._target.prepare(connection, self._name,
                                 self._before.items())
            self._target.touch(connection, self._name, timeutils.utcnow(),
                               **self._target.idle)
        self._settle()

    def _rows(self):
        self._settle()
        with self._engines[0].connect() as connection:
            return self._target.rows(connection, self._name)


@contextlib.contextmanager
def served(name):
    """Serve what can lose connections, on a kind of database.

    :param name: one of nova_meta_lab.databases.NAMES
    :returns: a context manager of a tuple: the
        :class:`nova_meta_lab.host.Host`, what can happen there
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(databases.started(name))
        url = server.url
        if server.cluster:
            first, second, third = server.nodes
            address = stack.enter_context(galera.VirtualAddress(first.port))
            url = f'{_at(first.url, address.port)} {second.url}'
            killed = NodeKilled(server.cluster, address, [first, third])
        elif server.nodes:
            killed = ServerKilled(*server.nodes)
        else:
            killed = ProcessKilled()
        beside = stack.enter_context(services.Services().running())
        host = stack.enter_context(private.Host(
            url, options=beside.nova_options))
        # Another process goes on if one is killed.
        host.serve(losing.OURS, 1 + killed.silences)
        yield host, (Lost(), killed)


def _at(url, port):
    return sa.engine.make_url(url).set(port=port).render_as_string(
        hide_password=False)


class Count(NamedTuple):
    """What came of a call that failed in one way.

    :param points: at how many points it failed
    :param failures: how often it did
    :param answers: what it was answered, and how often
    :param done: how often it was seen to be done
    :param wrong: how often something is wrong
    """

    points: int
    failures: int
    answers: str
    done: int
    wrong: int

    @classmethod
    def of(cls, outcomes):
        answers = collections.Counter(one.answer for one in outcomes)
        return cls(
            len(by_point(outcomes)), len(outcomes),
            ', '.join(f'{answer}: {count}'
                      for answer, count in sorted(answers.items())),
            sum(one.is_done for one in outcomes),
            sum(bool(one.wrong) for one in outcomes))

    def __str__(self):
        return ', '.join([f'{self.failures} failures at {self.points} points',
                          self.answers, f'{self.done} done',
                          f'{self.wrong} wrong'])


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='failures', description=__doc__.split('\n\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    databases.add_argument(parser)
    parser.add_argument('--target', choices=sorted(CALLS), action='append',
                        help='what is written; all if not given')
    parser.add_argument('--call', action='append',
                        help='such as merge, or "merge if", which has a '
                             'condition; all if not given')
    evidence.add_argument(parser)
    return parser.parse_args(argv)


def play(name, options):
    """Play all failures on a kind of database.

    :returns: an iterator of ((database, target, call, failure), outcomes)
    """
    with served(name) as (host, failures):
        name = databases.with_version(name, host.database)
        for key in options.target or CALLS:
            target = CALLS[key][0].target
            found = host.names(target)[0]
            is_saved = target is targets.SAVED
            points = Points(host, target, found, (
                CellServices if is_saved else Clients)(host, found))
            for call, failure in itertools.product(CALLS[key], failures):
                # Services have no nova-api.
                if str(call) in (options.call or [str(call)]) and not (
                        is_saved and failure.silences):
                    yield ((name, key, str(call), failure.name),
                           list(points.all_of(call, failure)))


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    options, out = parse(argv), console.Console()
    servers.end_on_sigterm()
    # Services of this process would log each connection that they lose.
    logging.disable()
    found, begun = {}, time.monotonic()

    def minutes():
        return (time.monotonic() - begun) / 60

    for name in options.database:
        for what, outcomes in play(name, options):
            found[what] = outcomes
            out.print(f'{", ".join(what)}: {Count.of(outcomes)}',
                      soft_wrap=True)
            for one in outcomes:
                if one.wrong:
                    out.print(one, markup=False, soft_wrap=True)
            if options.evidence:
                options.evidence.write_text(page(found, argv, minutes()))
    out.print(evidence.view('Points of failure', COLUMNS, rows(found)))
    out.print(f'{minutes():.1f} minutes')
    return int(any(one.wrong for outcomes in found.values()
                   for one in outcomes))


COLUMNS = ('database', 'written', 'call', 'failure', *Count._fields)


def rows(found):
    """Yield the rows of a table with COLUMNS."""
    for what, outcomes in found.items():
        yield *what, *Count.of(outcomes)


def page(found, argv, minutes):
    """Return a page of documentation, with what was found."""
    return evidence.page(
        f'Points of failure: {", ".join(dict.fromkeys(w[0] for w in found))}',
        'nova_meta_lab.failures', argv, minutes,
        evidence.table(COLUMNS, *rows(found)),
        *(block for what, outcomes in found.items()
          for block in ([', '.join(what) + ':'], details(outcomes))))


def details(outcomes):
    """Return a table of each point, and what came of it.

    :param outcomes: of one call
    """
    observers = dict.fromkeys(one.observer for one in outcomes)
    return evidence.table(('point', *observers), *(
        (f'{when} {step}',
         *(_cell(there[one]) if one in there else '' for one in observers))
        for (when, step, _), there in by_point(outcomes).items()))


def by_point(outcomes):
    """Return the outcomes by where the request failed, and by observer.

    Numbers do not say where: a new connection has further steps.

    :returns: {(before or after, step, how many such were before it):
        {observer: outcome}}
    """
    found, seen = collections.defaultdict(dict), collections.Counter()
    for one in outcomes:
        where = one.point[1], one.step
        found[(*where, seen[one.observer, where])][one.observer] = one
        seen[one.observer, where] += 1
    return found


def _cell(outcome):
    return ', '.join([outcome.answer, *['done'] * outcome.is_done,
                      *['WRONG'] * bool(outcome.wrong)])


if __name__ == '__main__':
    sys.exit(main())
