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

"""Every order of two requests, on real Nova and a real database.

Two nova-apis have a request each, and go on one step at a time, a step being a
statement that touches the server or its flavor, or a COMMIT. All orders of
these steps are played, each from the beginning: a search of the tree of
choices without states (Godefroid, Model Checking for Programming Languages
using VeriSoft, 1997). A step that waits for a lock is seen in what the
database server says of its locks, and the other request goes on.

Each time the answers and what is there in the end have to be explained by one
of the two orders in which the requests can come as a whole. If one has ended
before the other one has begun, by that order.
"""

import argparse
import contextlib
import itertools
import json
import queue
import random
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from rich import console
from rich import table
import sqlalchemy as sa

from nova_meta import etag
from nova_meta.race import history
from nova_meta.race import order
from nova_meta_lab import databases
from nova_meta_lab import evidence
from nova_meta_lab import host as private
from nova_meta_lab import target as targets

PATIENCE = 60
GLANCE = 0.002
# A statement of SQLite that takes longer than this, while another one holds
# the lock, waits for it.
LONG = 0.03

BEFORE = {'a': '0', 'b': '0'}
VALUE = 'ABC'


class Call(NamedTuple):
    """A kind of request.

    :param arguments: of the client's method; called with which of the requests
        it is
    :param conditional: whether it has the condition that nothing has changed
    """

    name: str
    arguments: object
    conditional: bool = False

    def request(self, me):
        """Return a request, as :mod:`nova_meta_lab.steps` takes it."""
        arguments = self.arguments(VALUE[me])
        headers = {}
        if self.conditional:
            tag = (etag.of_item(arguments[0], BEFORE)
                   if self.name in ('set', 'delete') else etag.of_map(BEFORE))
            headers['If-None-Match' if self.name == 'list' else
                    'If-Match'] = f'"{tag}"'
        return {'call': self.name, 'arguments': arguments, 'headers': headers}

    def __str__(self):
        return f'{self.name} if' if self.conditional else self.name


PLAIN = [
    Call('merge', lambda value: [{'a': value, value: value}]),
    Call('replace', lambda value: [{'a': value, value: value}]),
    Call('set', lambda value: ['a', value]),
    Call('delete', lambda value: ['a']),
    Call('list', lambda value: []),
]
CALLS = {
    'metadata': PLAIN + [one._replace(conditional=True) for one in PLAIN],
    'extra-specs': [one for one in PLAIN if one.name != 'replace'],
}


class Locks:
    """Knows who waits for a lock."""

    def __init__(self, engine):
        self._engine = engine
        self._ask = getattr(self, engine.dialect.name)

    def waits(self, connection, since):
        """Whether a connection waits.

        :param connection: by which the database server knows it
        :param since: when it has begun what it does
        """
        with self._engine.connect() as asking:
            return self._ask(asking, connection, since)

    def postgresql(self, asking, connection, since):
        return asking.execute(sa.text(
            'SELECT cardinality(pg_blocking_pids(:pid)) > 0'),
            {'pid': connection}).scalar_one()

    def mysql(self, asking, connection, since):
        # The table of transactions is made anew ten times a second only.
        status = asking.execute(sa.text(
            'SHOW ENGINE INNODB STATUS')).first()[2]
        return any(f'thread id {connection},' in one and 'LOCK WAIT' in one
                   for one in status.split('---TRANSACTION'))

    def sqlite(self, asking, connection, since):
        if time.monotonic() - since < LONG:
            return False
        driver = asking.connection.dbapi_connection
        try:
            driver.execute('PRAGMA busy_timeout = 0')
            driver.execute('BEGIN IMMEDIATE')
        except self._engine.dialect.loaded_dbapi.OperationalError:
            return True
        driver.execute('ROLLBACK')
        return False


class Stepper:
    """A nova-api that goes on one step at a time.

    :param host: a :class:`nova_meta_lab.host.Host` that has served
    :param number: of the node that it writes to
    """

    def __init__(self, host, number):
        self._log = host.path / f'steps-{number}'
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'nova_meta_lab.steps'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log.open('wb'), env=host.environment(number),
            cwd=host.path, text=True)
        self._said = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)

    def ask(self, request):
        """Begin a request, and go on to its first step."""
        self.done = self.step = self.taken = self.connection = None
        # Whether it has a transaction that has changed something.
        self.is_changing = False
        self._send(json.dumps(request))

    def go_on(self):
        """Take the step that it has come to."""
        self.taken, self.step = self.step, None
        self.is_changing = self.taken != 'COMMIT' and (
            self.is_changing or not self.is_reading)
        self._send('')

    @property
    def is_reading(self):
        return self.taken is None or self.taken.startswith('SELECT')

    def _send(self, line):
        self.since = time.monotonic()
        self._process.stdin.write(line + '\n')
        self._process.stdin.flush()

    def look(self):
        """Whether it has come to the next step, or to the end."""
        if self.step is None and self.done is None:
            with contextlib.suppress(queue.Empty):
                said = self._said.get(timeout=GLANCE)
                if said is None:
                    raise private.HostError(self._log.read_text())
                if 'done' in said:
                    self.done = history.Operation(**said['done'])
                else:
                    self.step, self.connection = (said['step'],
                                                  said['connection'])
        return self.step is not None or self.done is not None

    def close(self):
        self._process.kill()
        self._process.wait()


class Played(NamedTuple):
    """What came of one order.

    :param choices: [(which went on, how many could have)]
    :param steps: [(which, the step that it took)]
    :param operations: one for each request; the times are numbers of steps
    :param final: the rows in the end
    """

    choices: list
    steps: list
    operations: list
    final: list

    @property
    def is_explained(self):
        final = dict(self.final)
        return len(final) == len(self.final) and order.exists(
            BEFORE, self.operations, final)

    def __str__(self):
        return '\n'.join([
            ' '.join(f'{VALUE[me]}: {step};' for me, step in self.steps),
            *(f'  {op.told(op.keys)}' for op in self.operations),
            f'  in the end: {self.final}'])


class Orders:
    """Plays the orders of requests.

    :param host: a :class:`nova_meta_lab.host.Host`
    :param key: which of nova_meta_lab.target.TARGETS is written
    :param name: the ID of the server or flavor
    :param app_factory: what serves it
    :param count: how many requests there are at a time
    """

    def __init__(self, host, key, name, app_factory, count=2):
        self._host, self._key, self._name = host, key, name
        self._target = targets.TARGETS[key]
        host.write_api_paste(app_factory)
        engines = host.engines[self._target.database]
        nodes = [number % len(engines) for number in range(count)]
        self._steppers = [Stepper(host, node) for node in nodes]
        self._locks = [Locks(engines[node]) for node in nodes]

    def close(self):
        for stepper in self._steppers:
            stepper.close()

    def all_of(self, calls):
        """Play each order of some requests.

        :param calls: a :class:`Call` for each
        :returns: an iterator of :class:`Played`
        """
        choices = []
        while choices is not None:
            played = self.play(calls, choices)
            yield played
            choices = next_choices(played.choices)

    def some_of(self, calls, number, rng):
        """Play orders at random; see :meth:`all_of`."""
        for _ in range(number):
            yield self.play(calls, [], rng)

    def play(self, calls, choices, rng=None):
        """Play an order of some requests.

        :param choices: which goes on where there is a choice, as often as that
            has been chosen
        :param rng: chooses the others, or the first goes on
        """
        self._prepare()
        taken, steps = [], []
        for me, (stepper, call) in enumerate(zip(self._steppers, calls)):
            stepper.ask({**call.request(me), 'name': self._name,
                         'target': self._key})
        spans = [[] for _ in calls]
        while True:
            ready = self._ready()
            if not ready:
                break
            chosen = choices[len(taken)] if len(taken) < len(choices) else (
                rng.randrange(len(ready)) if rng else 0)
            if chosen >= len(ready):
                raise private.HostError('an order cannot be repeated')
            taken.append((chosen, len(ready)))
            me = ready[chosen]
            spans[me].append(len(steps))
            steps.append((me, self._steppers[me].step))
            self._steppers[me].go_on()
            if steps[-1][1] == 'COMMIT':
                self._ready()
                self._settle()
        return Played(taken, steps, [
            self._operation(me, call, spans[me])
            for me, call in enumerate(calls)], self._rows())

    def _operation(self, me, call, span):
        condition, headers = None, call.request(me)['headers']
        done = self._steppers[me].done
        if headers:
            condition = etag.Condition.of(
                etag.of(done.key), headers.get('If-Match'),
                headers.get('If-None-Match'))
        return done._replace(begun=span[0], ended=span[-1], writer=me,
                             condition=condition)

    def _ready(self):
        """Wait until nobody can go on by himself.

        :returns: the numbers of those that have come to a step
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            looks = [stepper.look() for stepper in self._steppers]
            waiting = [number for number, here in enumerate(looks) if not here]
            ready = [number for number, stepper in enumerate(self._steppers)
                     if stepper.step is not None]
            if not waiting or ready and all(
                    self._waits(number) for number in waiting):
                return ready
            if time.monotonic() > deadline:
                raise private.HostError('it hangs')

    def _waits(self, number):
        stepper = self._steppers[number]
        if self._host.database.dialect.name == 'sqlite' and (
                stepper.is_reading or not any(
                    other.is_changing for other in self._steppers
                    if other is not stepper)):
            # Only one can write.
            return False
        # The first step is come to without leave.
        return stepper.taken is not None and self._locks[number].waits(
            stepper.connection, stepper.since)

    def _settle(self):
        """Wait until each node of a cluster has what was committed."""
        engines = self._host.engines[self._target.database]
        if len(engines) > 1:
            for engine in engines:
                # It waits by itself.
                with engine.connect() as connection:
                    connection.execute(sa.select(self._target.owners)).first()

    def _prepare(self):
        with self._begin() as connection:
            self._target.prepare(connection, self._name, BEFORE.items())
        self._settle()

    def _rows(self):
        with self._begin() as connection:
            return self._target.rows(connection, self._name)

    def _begin(self):
        return self._host.engines[self._target.database][0].begin()


def next_choices(taken):
    """Return the choices that lead to the next order, None if there is none.

    :param taken: [(which was chosen, of how many)]
    """
    for place in range(len(taken) - 1, -1, -1):
        chosen, count = taken[place]
        if chosen + 1 < count:
            return [one for one, _ in taken[:place]] + [chosen + 1]
    return None


class Count(NamedTuple):
    """What came of the orders of two kinds of requests.

    :param orders: how many were played
    :param wrong: how many of them are not explained
    :param refused: in how many a request was answered 409
    :param first: the first that is not explained, in words
    """

    orders: int = 0
    wrong: int = 0
    refused: int = 0
    first: str = ''

    @classmethod
    def of(cls, orders):
        """Count them.

        :param orders: :class:`Played`, any number of them
        """
        total = cls()
        for played in orders:
            wrong = not played.is_explained
            total = cls(
                total.orders + 1, total.wrong + wrong, total.refused + any(
                    op.status == 409 for op in played.operations),
                total.first or (str(played) if wrong else ''))
        return total


def pairs(target):
    """Return all pairs of calls of a kind of map."""
    return itertools.combinations_with_replacement(CALLS[target], 2)


def play(host, target, app_factory, number=None, seed=0, told=print):
    """Play orders of all pairs.

    :param target: which of TARGETS
    :param number: how many orders of a pair, by chance; None for all
    :param told: called with what has been counted, {(call, call): Count}
    :returns: {(call, call): Count}
    """
    counts, rng = {}, random.Random(seed)
    with contextlib.closing(
            Orders(host, target, host.names(targets.TARGETS[target])[0],
                   app_factory)) as orders:
        for pair in pairs(target):
            if number is not None and any(one.conditional for one in pair):
                # Stock has no conditions.
                continue
            counts[tuple(map(str, pair))] = Count.of(
                orders.all_of(pair) if number is None else
                orders.some_of(pair, number, rng))
            told(counts)
    return counts


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='orders', description=__doc__.split('\n\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    databases.add_argument(parser)
    parser.add_argument('--target', choices=sorted(CALLS), action='append',
                        help='what is written; all if not given')
    parser.add_argument('--stock', type=int, default=100, metavar='N',
                        help='play so many orders of each pair, by chance, '
                             'with stock Nova')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--evidence', metavar='FILE',
                        help='write a page of documentation')
    return parser.parse_args(argv)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    options, out = parse(argv), console.Console()
    found, begun = {}, time.monotonic()
    for name in options.database:
        with databases.started(name) as server, private.Host(
                server.url) as host:
            for target in options.target or sorted(CALLS):
                for contestant, app_factory, number in (
                        ('nova-meta', private.NOVA_META, None),
                        ('stock', private.STOCK, options.stock)):
                    what = f'{name}, {target}, {contestant}'
                    with out.status(what) as status:
                        found[name, target, contestant] = counts = play(
                            host, target, app_factory, number, options.seed,
                            lambda counts, status=status, what=what:
                            status.update(f'{what}: {len(counts)} pairs'))
                    for pair, count in counts.items():
                        if contestant == 'nova-meta' and count.wrong:
                            out.print(f'{what}, {" and ".join(pair)}:\n'
                                      f'{count.first}', markup=False)
    out.print(view(found))
    minutes = (time.monotonic() - begun) / 60
    out.print(f'{minutes:.1f} minutes')
    if options.evidence:
        with open(options.evidence, 'w') as file:
            file.write(page(found, argv, minutes))
    return int(any(count.wrong for (_, _, contestant), counts in found.items()
                   if contestant == 'nova-meta' for count in counts.values()))


COLUMNS = ('database', 'written', 'pairs', 'orders', 'not explained', '409',
           'stock: pairs', 'orders', 'not explained')


def rows(found):
    """Yield the rows of a table with COLUMNS."""
    for name, target in dict.fromkeys(key[:2] for key in found):
        ours, stock = (found[name, target, one].values()
                       for one in ('nova-meta', 'stock'))
        yield (name, target, len(ours), sum(one.orders for one in ours),
               sum(one.wrong for one in ours),
               sum(one.refused for one in ours), len(stock),
               sum(one.orders for one in stock),
               sum(one.wrong for one in stock))


def view(found):
    shown = table.Table(title='Orders of two requests', title_justify='left')
    for column in COLUMNS:
        shown.add_column(column, justify='right' if shown.columns else 'left')
    for row in rows(found):
        shown.add_row(*map(str, row))
    return shown


def page(found, argv, minutes):
    """Return a page of documentation, with what was found."""
    details = [(name, ' and '.join(pair), count.orders, count.wrong,
                *((other.orders, other.wrong) if (
                    other := found[name, target, 'stock'].get(pair))
                  else ('', '')))
               for (name, target, contestant), counts in found.items()
               if contestant == 'nova-meta'
               for pair, count in counts.items()]
    return evidence.page(
        'Orders of two requests', 'nova_meta_lab.orders', argv, minutes,
        evidence.table(COLUMNS, *rows(found)),
        ['Each pair on each database: orders played, and of stock Nova how '
         'many of those played are not explained.'],
        evidence.table(('database', 'pair', 'orders', 'not explained',
                        'stock: orders', 'not explained'), *details))


if __name__ == '__main__':
    sys.exit(main())
