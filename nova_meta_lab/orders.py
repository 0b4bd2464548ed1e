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
using VeriSoft, 1997). Of orders that differ only in steps that commute one is
played, see :func:`commute`. A step that waits for a lock is seen in what the
database server says of its locks, and the other request goes on.

Each time the answers and what is there in the end have to be explained by one
of the two orders in which the requests can come as a whole. If one has ended
before the other one has begun, by that order. And the updated_at of the server
or flavor has to have gone on if anything was changed.

Of three requests, and of two rebuilds, there are too many orders. Some are
played, by chance.
"""

import argparse
import collections
import contextlib
import datetime
import random
import sys
import textwrap
import time
from typing import Any
from typing import NamedTuple

from rich import console

from nova_meta.race import order
from nova_meta_lab import calls as kinds
from nova_meta_lab import databases
from nova_meta_lab import evidence
from nova_meta_lab import host as private
from nova_meta_lab import servers
from nova_meta_lab import services
from nova_meta_lab import stepper as steppers

# Seconds that a step may take; the first one starts nova-api.
PATIENCE = 180

STOCK = 'stock'

VALUE = 'ABC'
# The updated_at before the requests.
TOUCHED = datetime.datetime(2020, 1, 1)


class Map(NamedTuple):
    """What was done to a map, and what came of it.

    :param before: its pairs
    :param operations: in any order; the times are numbers of steps
    :param rows: in the end
    """

    before: dict
    operations: list
    rows: list

    @property
    def is_explained(self):
        after = dict(self.rows)
        return len(after) == len(self.rows) and order.exists(
            self.before, self.operations, after)

    @property
    def is_changed(self):
        return dict(self.rows) != self.before

    def __str__(self):
        keys = frozenset(self.before).union(*(
            op.keys for op in self.operations))
        return '\n'.join([
            *(f'  {op.told(keys)}' for op in self.operations),
            f'  in the end: {self.rows}'])


class Played(NamedTuple):
    """What came of one order.

    :param choices: [(which went on, how many could have)]
    :param steps: [(which, the step that it took)]
    :param maps: each :class:`Map` that the requests have to do with
    :param updated_at: that of the server or flavor, in the end
    :param is_new: whether no order that was played before differs only in
        steps that commute
    """

    choices: list
    steps: list
    maps: list
    updated_at: Any
    is_new: bool = True

    @property
    def operations(self):
        return sorted((op for one in self.maps for op in one.operations),
                      key=lambda op: (op.writer, op.begun))

    @property
    def is_explained(self):
        # Nobody reads two maps at once: what is explained for each is for all.
        return all(one.is_explained for one in self.maps)

    @property
    def is_behind(self):
        """Whether a poll with changes-since could miss what was changed."""
        return self.updated_at is None or self.updated_at < TOUCHED or (
            self.updated_at == TOUCHED and
            any(one.is_changed for one in self.maps))

    @property
    def outcome(self):
        """What there is to see of it from outside."""
        # PostgreSQL reads rows in any order.
        return repr(([(op.status, op.answer and sorted(op.answer.items()))
                      for op in self.operations],
                     [sorted(one.rows) for one in self.maps]))

    def __str__(self):
        return '\n'.join([
            ' '.join(f'{VALUE[me]}: {step};' for me, step in self.steps),
            *map(str, self.maps), f'  updated_at: {self.updated_at}'])


class Orders:
    """Plays the orders of requests.

    :param host: a :class:`nova_meta_lab.host.Host`
    :param target: a :class:`nova_meta_lab.target.Target`, whose owner all of
        them have to do with
    :param name: the ID of the server or flavor
    :param app_factory: what serves it
    :param count: how many requests there are at a time
    :param is_whole: whether to play orders that differ only in steps that
        commute, too
    """

    def __init__(self, host, target, name, app_factory, count=2,
                 is_whole=False):
        self._host, self._target, self._name = host, target, name
        self._is_whole = is_whole
        host.write_api_paste(app_factory)
        self._engines = host.engines[target.database]
        self._nodes = [number % len(self._engines) for number in range(count)]
        self._steppers = [steppers.Stepper(host, node) for node in self._nodes]
        self._locks = [steppers.Locks(self._engines[node])
                       for node in self._nodes]

    def close(self):
        for stepper in self._steppers:
            stepper.close()

    def all_of(self, calls):
        """Play each order of some requests.

        :param calls: a :class:`nova_meta_lab.calls.Call` for each
        :returns: an iterator of :class:`Played`
        """
        # A first rebuild saves more, of the image, than those that follow.
        self.play(calls, [])
        choices = []
        while choices is not None:
            played = self.play(calls, choices)
            if played.is_new:
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
        found = dict.fromkeys(call.target for call in calls)
        self._prepare(found)
        taken, steps, asleep, is_new = [], [], set(), True
        for me, call in enumerate(calls):
            self._steppers[me].ask(self._requests(me, call))
        # The numbers of the steps of each operation.
        spans = [collections.defaultdict(list) for _ in calls]
        while ready := self._ready():
            awake = [me for me in ready if me not in asleep]
            if not awake:
                is_new, awake = False, ready[:1]
            chosen = choices[len(taken)] if len(taken) < len(choices) else (
                rng.randrange(len(awake)) if rng else 0)
            if chosen >= len(awake):
                raise private.HostError('an order cannot be repeated')
            taken.append((chosen, len(awake)))
            me = awake[chosen]
            stepper = self._steppers[me]
            spans[me][len(stepper.operations)].append(len(steps))
            steps.append((me, stepper.step))
            self._take(me)
            if not (rng or self._is_whole):
                asleep = {other for other in asleep.union(awake[:chosen])
                          if other != me and
                          self._commutes(other, me, steps[-1][1])}
        return Played(taken, steps, [
            Map(kinds.before(target), [
                op._replace(begun=spans[me][n][0], ended=spans[me][n][-1],
                            writer=me)
                for me, call in enumerate(calls) if call.target is target
                for n, op in enumerate(self._steppers[me].operations)],
                self._read(target.rows))
            for target in found], self._read(self._target.column), is_new)

    def _requests(self, me, call):
        tag = None
        while call:
            yield {**call.request(VALUE[me], tag), 'name': self._name}
            tag, call = self._steppers[me].operations[-1].etag, call.then

    def _take(self, me):
        """Let one take its step, until all have come to one, or wait."""
        step = self._steppers[me].step
        self._steppers[me].go_on()
        self._ready()
        if step == 'COMMIT':
            self._settle()

    def _commutes(self, other, me, step):
        """Whether the next step of one might as well have come before mine.

        Not if it is its first and mine was my last. They have come one after
        the other then, and the judge makes more of that.
        """
        its = self._steppers[other]
        return not (self._steppers[me].is_done and its.taken is None
                    ) and commute(step, its.step,
                                  self._nodes[me] != self._nodes[other])

    def _ready(self):
        """Wait until nobody can go on by himself.

        :returns: the numbers of those that have come to a step
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            looks = [stepper.look() for stepper in self._steppers]
            held = [one for one in self._steppers if one.is_held]
            waiting = [number for number, here in enumerate(looks)
                       if not here and self._steppers[number] not in held]
            ready = [number for number, stepper in enumerate(self._steppers)
                     if stepper.step is not None]
            if not waiting or (ready or held) and all(
                    self._waits(number) for number in waiting):
                if not held:
                    return ready
                held[0].release()
            if time.monotonic() > deadline:
                raise private.HostError('it hangs')

    def _waits(self, number):
        stepper = self._steppers[number]
        others = [one for one in self._steppers if one is not stepper]
        if self._host.database.dialect.name == 'sqlite':
            # Only one can write. And a COMMIT waits for those who read, and
            # lets nobody begin to.
            may_wait = (
                stepper.is_committing or
                any(one.is_committing for one in others) or
                stepper.is_writing and any(one.is_changing for one in others))
        else:
            # The first step is come to without leave.
            may_wait = stepper.taken is not None
        return may_wait and self._locks[number].waits(stepper)

    def _settle(self):
        """Wait until each node of a cluster has what was committed."""
        if len(self._engines) > 1:
            for engine in self._engines:
                # It waits by itself.
                with engine.connect() as connection:
                    self._target.column(connection, self._name)

    def _prepare(self, found):
        with self._engines[0].begin() as connection:
            for target in found:
                target.prepare(connection, self._name,
                               kinds.before(target).items())
            self._target.touch(connection, self._name, TOUCHED,
                               **self._target.idle)
        self._settle()

    def _read(self, read):
        with self._engines[0].connect() as connection:
            return read(connection, self._name)


def commute(one, other, apart):
    """Whether two steps lead to the same, whichever comes first.

    Then one of the two orders is played: sleep sets (Godefroid, Partial-Order
    Methods for the Verification of Concurrent Systems, 1996, chapter 5).

    A plain read takes no lock that another step waits for, but a COMMIT of
    SQLite, and sees what was committed only: it commutes with all but COMMIT.
    What is done on different nodes of a cluster does, too: nodes do not know
    each other's locks, and apply what was committed only.

    :param apart: whether they are taken on different nodes
    """
    steps = (one, other)
    return 'COMMIT' not in steps and (apart or any(map(is_plain_read, steps)))


def is_plain_read(step):
    return step.startswith('SELECT') and not step.endswith('UPDATE')


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
    """What came of the orders of some requests.

    :param orders: how many were played
    :param wrong: how many of them are not explained
    :param behind: in how many the updated_at has not gone on
    :param refused: in how many a request was answered 409, or 5xx, which
        explains anything
    :param first: the first that is not explained, in words
    """

    orders: int = 0
    wrong: int = 0
    behind: int = 0
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
            total += cls(
                1, wrong, played.is_behind,
                any(op.status == 409 or op.status >= 500
                    for op in played.operations),
                str(played) if wrong or played.is_behind else '')
        return total

    def __add__(self, other):
        return Count(*map(sum, zip(self[:-1], other[:-1])),
                     self.first or other.first)


class Found(NamedTuple):
    """What came of all that was played with a contestant on a database.

    :param counts: {names of calls: Count}
    """

    counts: dict
    minutes: float

    @property
    def total(self):
        return sum(self.counts.values(), Count())


def play(host, kind, app_factory, number=None, seed=0, told=print,
         conditional=True):
    """Play orders of all requests of a kind.

    :param kind: a key of :data:`calls.KINDS` or :data:`calls.SAMPLED`
    :param number: how many orders, by chance; None for all
    :param told: called with the names of some requests, and their Count
    :param conditional: whether what serves it knows conditions
    :returns: {names: Count}
    """
    counts, rng = {}, random.Random(seed)
    played = {**kinds.KINDS, **kinds.SAMPLED}[kind]
    if not conditional:
        played = ([tuple(call.unconditional() for call in calls)
                   for calls in played] if kind in kinds.SAMPLED else
                  [calls for calls in played
                   if not any(one.conditional for one in calls)])
    target = played[0][0].target
    with contextlib.closing(Orders(
            host, target, host.names(target)[0], app_factory,
            max(map(len, played)))) as orders:
        for calls in played:
            names = tuple(map(str, calls))
            counts[names] = Count.of(
                orders.all_of(calls) if number is None else
                orders.some_of(calls, number, rng))
            told(names, counts[names])
    return counts


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='orders', description=__doc__.split('\n\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    databases.add_argument(parser)
    parser.add_argument('--target', choices=[*kinds.KINDS, *kinds.SAMPLED],
                        action='append',
                        help='what is written; all if not given')
    parser.add_argument('--stock', type=int, default=40, metavar='N',
                        help='play so many orders of each pair, by chance, '
                             'with stock Nova')
    parser.add_argument('--each', type=int, metavar='N',
                        help='play so many orders of each pair, by chance; '
                             'all if not given')
    parser.add_argument('--some', type=int, default=200, metavar='N',
                        help='play so many orders, by chance, of requests '
                             'that have too many')
    parser.add_argument('--seed', type=int, default=0)
    evidence.add_argument(parser)
    return parser.parse_args(argv)


class Progress:
    """Shows how far it is: in place on a terminal, else line by line."""

    def __init__(self, out, what):
        self._out, self._what = out, what
        self._status = out.status(what)
        self._done = 0

    def __enter__(self):
        if self._out.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *exc_info):
        self._status.stop()

    def __call__(self, names, count):
        self._done += 1
        if self._out.is_terminal:
            self._status.update(f'{self._what}: {self._done} done')
        else:
            self.say(f'{" and ".join(names)}: {in_words(count)}')

    def say(self, text):
        self._out.print(f'{self._what}: {text}', markup=False,
                        highlight=False, soft_wrap=True)


def in_words(count):
    return (f'{count.orders} orders, {count.wrong} not explained, '
            f'{count.behind} with updated_at behind, '
            f'{count.refused} with 409 or 5xx')


def run(host, name, options, out):
    """Play what options say on a database.

    :returns: {(database, kind, contestant): Found}
    """
    found = {}
    for kind in options.target or [*kinds.KINDS, *kinds.SAMPLED]:
        number = options.some if kind in kinds.SAMPLED else options.each
        contestants = [(private.NAME, private.OURS, number)]
        if private.OURS != private.STOCK:
            contestants.append((STOCK, private.STOCK, number or options.stock))
        for contestant, app_factory, number in contestants:
            begun = time.monotonic()
            with Progress(out, f'{name}, {kind}, {contestant}') as progress:
                counts = play(host, kind, app_factory, number, options.seed,
                              progress, contestant != STOCK)
                one = found[name, kind, contestant] = Found(
                    counts, (time.monotonic() - begun) / 60)
                progress.say(f'{in_words(one.total)}, '
                             f'{one.minutes:.1f} minutes')
                for names, count in counts.items():
                    if contestant != STOCK and count.first:
                        progress.say(f'{" and ".join(names)}:\n{count.first}')
    return found


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    options, out = parse(argv), console.Console()
    servers.end_on_sigterm()
    found, begun = {}, time.monotonic()
    with services.Services().running() as beside:
        for name in options.database:
            with databases.started(name) as server, private.Host(
                    server.url, options=beside.nova_options) as host:
                found |= run(host, databases.with_version(
                    name, host.database), options, out)
    out.print(evidence.view('Orders of requests', COLUMNS, rows(found)))
    minutes = (time.monotonic() - begun) / 60
    out.print(f'{minutes:.1f} minutes')
    if options.evidence:
        options.evidence.write_text(page(found, argv, minutes, options.each))
    return int(any(one.total.first for (_, _, contestant), one in found.items()
                   if contestant != STOCK))


COLUMNS = ('database', 'written', 'kinds', 'orders', 'not explained',
           'updated_at behind', '409, 5xx', 'minutes', 'stock: kinds',
           'orders', 'not explained')


def rows(found):
    """Yield the rows of a table with COLUMNS."""
    for name, kind in dict.fromkeys(key[:2] for key in found):
        ours = found[name, kind, private.NAME]
        stock = found.get((name, kind, STOCK))
        yield (name, kind, len(ours.counts), *ours.total[:-1],
               f'{ours.minutes:.1f}', *((
                   len(stock.counts), stock.total.orders, stock.total.wrong)
                   if stock else [''] * 3))


def details(found):
    """Yield a row for all kinds of requests that were played."""
    for (name, kind, contestant), ours in found.items():
        if contestant != STOCK:
            stock = found.get((name, kind, STOCK))
            for names, count in ours.counts.items():
                plain = tuple(one.replace(' if', '') for one in names)
                other = stock and stock.counts.get(
                    plain if kind in kinds.SAMPLED else names)
                yield (name, ' and '.join(names), count.orders, count.wrong,
                       *((other.orders, other.wrong) if other else ('', '')))


def page(found, argv, minutes, each=None):
    """Return a page of documentation, with what was found."""
    which = ('some orders of each pair are played, by chance' if each else
             'all orders are played, of those that differ only in steps that '
             'commute one')
    names = ', '.join(dict.fromkeys(key[0] for key in found))
    return evidence.page(
        f'Orders of requests: {names}', 'nova_meta_lab.orders', argv, minutes,
        textwrap.wrap(
            f'Requests go on one step at a time. Of {private.NAME} {which}; '
            'of what is written "by chance", and of stock Nova, some. Not '
            'explained: no order of the requests as a whole leads to those '
            'answers and those rows.', 79),
        evidence.table(COLUMNS, *rows(found)),
        evidence.table(('database', 'requests', 'orders', 'not explained',
                        'stock: orders', 'not explained'), *details(found)))


if __name__ == '__main__':
    sys.exit(main())
