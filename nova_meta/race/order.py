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

"""Is there an order in which all of this could have happened, one by one?

That is linearizability (Herlihy and Wing, 1990), of one map and of histories
of any length. The search goes through the answers in the order of their times:
Wing and Gong (Testing and Verifying Concurrent Objects, 1993), with each
operation placed as late as it may be (Lowe, Testing for Linearizability,
2017). First it follows one position at a time and turns back where that leads
nowhere. If that is hard, or fails, it keeps all positions that explain the
answers so far, those that are the same taken for one. How many there are
depends on how much is under way at once, not on the length.

What keeps them few:

* A read takes place as soon as the map is what it was told. That rules out
  nothing that would be possible otherwise.
* A write that was told nothing about the map need not be placed if another one
  overwrites it while it is under way: it can have come just before that.
* Nothing is placed early that nobody is known to have seen.
* No value goes that is still to be seen, unless it can come again.
"""

import bisect
import collections
import contextlib
import dataclasses
import math
from typing import NamedTuple

from nova_meta.race import history
from nova_meta.race import relations

# Steps that it may take to get past an answer: with all positions, and with
# the first that is found.
MOST_TRIED = 200_000
MOST_TRIED_AT_FIRST = 100_000

# Events before a contradiction that are looked at for its reasons.
RECENT = 500


class Undecided(Exception):
    """There are too many orders to try."""


@dataclasses.dataclass
class Contradiction:
    """Why there is no order.

    :param operations: a smallest set of them that cannot all be true, in the
        order of their ends; the last one is where it shows
    :param before: the map before them, one that is possible
    """

    operations: list
    before: dict

    def __str__(self):
        last = self.operations[-1]
        keys = history.differences(self.before, last).union(*(
            op.keys for op in self.operations))
        return '\n'.join([
            'No order explains these:',
            f'  before: {history.part(self.before, keys)}',
            *(f'  {op.told(keys)}' for op in self.operations)])


class Position(NamedTuple):
    """What may be, between two answers.

    :param state: the map
    :param done: the numbers of the operations that are under way and have
        taken place
    :param used: likewise, of those whose outcome is unknown
    :param covered: those under way that may have been overwritten at once
    """

    state: dict
    done: frozenset = frozenset()
    used: frozenset = frozenset()
    covered: frozenset = frozenset()


def contradiction(initial, operations, final, quota=math.inf):
    """Find what no order of the operations explains.

    Operations that did not overlap keep their order. One whose outcome is
    unknown may take place at any later time, or never.

    :param initial: the map before the first one
    :param operations: :class:`history.Operation` objects, in any order
    :param final: the map when all had ended
    :param quota: how many items the map may have
    :returns: a :class:`Contradiction`; None if there is an order
    :raises: Undecided after MOST_TRIED steps between two answers
    """
    search = _Search(initial, operations, final, quota)
    with contextlib.suppress(Undecided):
        if search.is_explained():
            return None
    failed = search.run()
    return None if failed is None else search.smallest(failed)


def exists(initial, operations, final, quota=math.inf):
    """Tell whether there is an order; see :func:`contradiction`."""
    search = _Search(initial, operations, final, quota)
    try:
        return search.is_explained()
    except Undecided:
        return search.run() is None


class _Search:
    """Operations are numbers here."""

    def __init__(self, initial, operations, final, quota):
        # A read without an answer says nothing.
        operations = [op for op in operations
                      if op.unknown or not op.unanswered]
        self._operations = [*operations, history.Operation(
            history.LIST, None, None, 200, final, math.inf, math.inf)]
        self._initial = dict(initial)
        self._keys = frozenset(initial).union(*(
            op.keys for op in operations))
        # With fewer keys than that it cannot bind.
        self._quota = quota if len(self._keys) > quota else math.inf
        self._events = sorted(
            (when, is_end, number)
            for number, op in enumerate(self._operations)
            for is_end, when in ((False, op.begun), (True, op.ended)))
        # The end of all is no later than the last answer.
        last = max((op.ended for op in operations), default=0)
        self._times = [min(when, last) for when, _, _ in self._events]
        # A little more, since differences are rounded.
        self._longest = 0.001 + max((op.ended - op.begun for op in operations
                                     if not op.unknown), default=0)
        self._tried = 0
        self._known = relations.known(initial, operations)
        self._weaken(frozenset())
        self._seen = relations.Seen(self._operations, self._facts)

    def _weaken(self, weak):
        """Take the answers of some operations for unknown."""
        self._weak = weak
        self._facts = [
            relations.Facts.of(
                op, op.unknown or number in weak and op.changes,
                self._quota != math.inf, self._known)
            for number, op in enumerate(self._operations)]

        self._last_told = {
            pair: number for _, is_end, number in self._events if not is_end
            for pair in (self._facts[number].told or {}).items()
            if pair[0] not in self._facts[number].silent}
        self._sources = collections.defaultdict(lambda: ([], []))
        self._unknown = collections.defaultdict(list)
        for begun, is_end, number in self._events:
            facts = self._facts[number]
            for source in () if is_end else (
                    *((key, self._left(number, key)) for key in facts.writes),
                    *[None] * facts.is_replace):
                if facts.is_unknown:
                    self._unknown[source].append(number)
                else:
                    self._sources[source][0].append(begun)
                    self._sources[source][1].append(number)

    def _left(self, number, key):
        """Return the value that an update leaves, None if there is none."""
        return (self._operations[number].pairs or {}).get(key)

    def _ignored(self, number):
        return number in self._weak and self._facts[number].is_read

    def is_explained(self):
        """Tell whether there is an order, the first that is found.

        :raises: Undecided if it is hard to find
        """
        self._start(0)
        furthest = 0
        tried = [[] for _ in range(len(self._events) + 1)]
        # For each event, what has not been tried of the positions before it.
        levels = [iter([Position(self._initial)])]
        while levels:
            index = len(levels) - 1
            if index > furthest:
                furthest = index
                self._tried = MOST_TRIED - MOST_TRIED_AT_FIRST
            # Events go on where they were left.
            self._now = self._times[max(index - 1, 0)]
            position = next(levels[index], None)
            if position is None:
                levels.pop()
                if index >= 2:
                    self._take_back(index - 2)
            elif index == len(self._events):
                return True
            elif not any(self._is_as_good(other, position)
                         for other in tried[index]):
                tried[index].append(position)
                if index >= 1:
                    self._note(index - 1)
                levels.append(self._after(position, index))
        return False

    def run(self, first=0, positions=None, until=None):
        """Go through the events with all positions at once.

        :param first: the number of the first event
        :param positions: those before it
        :param until: go no further than this event
        :returns: the number of the event that cannot be; None if all can
        """
        self._start(first)
        self.positions = positions or [Position(self._initial)]
        self._recent = collections.deque([(first, self.positions)], RECENT)
        for index in range(first, len(self._events)
                           if until is None else until + 1):
            self._tried, self._now = 0, self._times[index]
            self.positions = self._distinct(
                after for position in self.positions
                for after in self._after(position, index))
            if not self.positions:
                return index
            self._recent.append((index + 1, self.positions))
            self._note(index)
        return None

    def _after(self, position, index):
        """Yield the positions after an event."""
        _, is_end, number = self._events[index]
        facts = self._facts[number]
        if self._ignored(number) or not (
                facts.is_read or is_end and not facts.is_unknown):
            yield position
        elif is_end:
            for one in self._explained(position, number):
                yield self._forget(one, number)
        else:
            one = self._read(position, [number])
            if self._is_alive(one, [number]):
                yield one

    def _start(self, first):
        """Be before an event."""
        self._pending, self._ended = relations.Pending(), set()
        for index in range(first):
            self._note(index)

    def _note(self, index, taken_back=False):
        """Go past an event, or back."""
        _, is_end, number = self._events[index]
        facts = self._facts[number]
        if not self._ignored(number) and not (is_end and facts.is_unknown):
            self._pending.put(number, facts, is_end == taken_back)
            (self._ended.add if is_end and not taken_back
             else self._ended.discard)(number)

    def _take_back(self, index):
        self._note(index, True)

    @staticmethod
    def _forget(position, number):
        if number in position.done or number in position.covered:
            return position._replace(done=position.done - {number},
                                     covered=position.covered - {number})
        return position

    def _distinct(self, positions):
        """Leave out what leaves no more open than another one."""
        found = {}
        for one in positions:
            others = found.setdefault(frozenset(one.state.items()), [])
            if not any(self._is_as_good(other, one) for other in others):
                others[:] = [other for other in others
                             if not self._is_as_good(one, other)] + [one]
        return [one for others in found.values() for one in others]

    def _is_as_good(self, one, other):
        """Whether whatever can follow the other can follow the one."""
        return (one.state == other.state and
                one.used <= other.used and other.covered <= one.covered and
                other.done - one.done <= one.covered and
                one.done - other.done <= self._pending.reads)

    def _is_possible(self, state, number):
        return self._facts[number].is_unknown or history.explains(
            state, self._operations[number], self._quota)

    def _wrong(self, state, number):
        """Return the keys that have to change before it is possible."""
        facts, keys = self._facts[number], self._operations[number].keys
        if facts.told is None:
            return self._keys if facts.is_whole else keys
        return facts.wrong(state) or keys

    def _read(self, position, numbers):
        """Let reads take place that are possible."""
        done = {number for number in {*numbers} - position.done
                if self._is_possible(position.state, number)}
        return position._replace(done=position.done | done) if done else (
            position)

    def _is_alive(self, position, numbers):
        """Whether each answer can still come about."""
        for number in numbers:
            facts = self._facts[number]
            if facts.told is not None and number not in position.done:
                for key in facts.wrong(position.state):
                    if not self._has_source(position, number, key,
                                            facts.told.get(key)):
                        return False
        return True

    def _has_source(self, position, number, key, value):
        """Whether a key can still come to a value that an answer has."""
        op = self._operations[number]
        sources = [(key, value), *[None] * (value is None)]
        for source in sources:
            if source in self._sources:
                begins, numbers = self._sources[source]
                # What began earlier has ended.
                for place in range(
                        bisect.bisect_left(begins, self._now - self._longest),
                        bisect.bisect_right(begins, op.ended)):
                    if self._is_source(position, numbers[place], number,
                                       source or key):
                        return True
        return any(self._is_source(position, other, number, source or key)
                   for source in sources
                   for other in self._unknown.get(source, ()))

    def _is_source(self, position, other, number, source):
        op = self._operations[other]
        return (op.begun <= self._operations[number].ended and
                other not in {number, *position.done, *position.used} and
                other not in self._ended and
                (isinstance(source, tuple) or source not in op.pairs))

    def _place(self, position, number):
        """Let an operation take place now.

        :returns: a list of the position after it, empty if that leads nowhere
        """
        self._tried += 1
        if self._tried > MOST_TRIED:
            raise Undecided()
        op, facts = self._operations[number], self._facts[number]
        state = history.effect(position.state, op)
        if facts.is_unknown and state == position.state:
            # It might as well come never, or later.
            return []
        gone = [(key, position.state[key])
                for key in (position.state if facts.is_replace
                            else facts.writes)
                if key in position.state and
                state.get(key) != position.state[key]]
        covered = {
            other for other in self._pending.blind
            if other != number and other not in position.done and
            facts.covers(self._facts[other])}
        after = self._read(Position(
            state,
            position.done if facts.is_unknown else position.done | {number},
            position.used | {number} if facts.is_unknown else position.used,
            position.covered | covered), self._pending.reads)
        return [after] if self._is_alive(
            after, self._pending.readers(facts.writes)) and all(
                self._may_go(after, *pair) for pair in gone) else []

    def _may_go(self, position, key, value):
        """Whether all that were told a value of a key can have been."""
        last = self._last_told.get((key, value))
        return (last is None or last in position.done or last in self._ended or
                last in self._weak or
                self._has_source(position, last, key, value))

    def _explained(self, position, number):
        """Yield the positions in which an operation may end."""
        facts = self._facts[number]
        if number in position.done:
            yield position
            return
        if number in position.covered:
            yield position
        # With what has been placed last, and that nobody has seen.
        queue, seen = [(position, ())], set()
        while queue:
            before, unseen = queue.pop()
            mark = (before.done, before.used, before.covered,
                    frozenset(before.state.items()))
            if mark in seen:
                continue
            seen.add(mark)
            if number in before.done:
                yield before
                continue
            if not self._hides(number, unseen):
                yield from self._reached(before, number)
            # Or others come first: those that would be answered otherwise,
            # and those of which something is left to be seen.
            for other in self._earlier(before, number):
                if not self._facts[other].is_blind:
                    queue += [(after, ()) for after in
                              self._reached(before, other)]
                elif not self._hides(other, unseen):
                    for after in self._place(before, other):
                        queue.append((after, (*unseen, other) if (
                            after.done - before.done <= {other}) else ()))
                        if facts.is_blind and self._facts[other].covers(facts):
                            yield after

    def _hides(self, number, others):
        facts = self._facts[number]
        return not facts.reads and any(
            facts.covers(self._facts[other]) for other in others)

    def _earlier(self, position, number):
        """Return those whose order with an operation may matter."""
        keys, found, new = set(), set(), {number}
        while new:
            found |= new
            for one in new:
                facts = self._facts[one]
                keys = self._keys if facts.is_replace else keys.union(
                    facts.writes, () if facts.is_blind else
                    self._wrong(position.state, one))
            produced = [other for one in new if not self._facts[one].is_blind
                        for other in self._producers(position, one)]
            new = set().union(
                self._pending.readers(keys) if keys else (),
                *map(self._remaining, [*new, *produced]))
            new -= found | position.done | position.used
        return found - {number}

    def _remaining(self, number):
        """Return the blind updates that may be seen in part, or cover it."""
        facts = self._facts[number]
        if facts.is_read:
            return ()
        near = self._pending.replaces.union(*map(self._pending.writers,
                                                 facts.writes))
        return [other for other in near
                if self._may_be_left(self._facts[other], facts) and
                self._seen.any_of(self._operations[other],
                                  self._facts[other], self._now)]

    @staticmethod
    def _may_be_left(facts, later):
        return facts.is_blind and (
            not later.covers(facts) or later.is_blind and facts.covers(later))

    def _reached(self, position, number, wanting=frozenset()):
        """Yield the positions after an operation, and what it needs, only.

        :param wanting: the operations that need it
        """
        wanting |= {number}
        queue, seen = [position], set()
        while queue:
            before = queue.pop()
            mark = before.done, before.used, frozenset(before.state.items())
            if mark in seen:
                continue
            seen.add(mark)
            if number in before.done:
                yield before
            elif self._is_possible(before.state, number):
                yield from self._place(before, number)
            else:
                for other in self._producers(before, number) - wanting:
                    if self._is_possible(before.state, other):
                        queue += self._place(before, other)
                    else:
                        queue += self._reached(before, other, wanting)

    def _producers(self, position, number):
        """Return what can change the map to what an operation needs."""
        facts, found = self._facts[number], set()
        for key in self._wrong(position.state, number):
            writers = self._pending.writers(key)
            if facts.told is not None and key not in facts.silent:
                writers = {other for other in writers if self._left(
                    other, key) == facts.told.get(key)}
            found |= writers
        found -= position.done | position.used
        if facts.told is not None and all(
                len(self._facts[other].writes) == 1 and
                not self._facts[other].is_replace for other in found):
            # Their order does not matter: one key after the other.
            first = min((key for other in found
                         for key in self._facts[other].writes), default=None)
            return {other for other in found
                    if first in self._facts[other].writes}
        return found

    def smallest(self, failed):
        """Return the :class:`Contradiction` that an event shows."""
        number = self._events[failed][2]
        begins = {n: index for index, (_, is_end, n)
                  in enumerate(self._events[:failed + 1]) if not is_end}
        ended = {n for _, is_end, n in self._events[:failed] if is_end}
        first = min(begins[n] for n in begins if n not in ended)
        recent = [(index, positions) for index, positions in self._recent
                  if index <= first] or [self._recent[0]]
        first, positions = next((one for one in reversed(recent)
                                 if len(one[1]) == 1), recent[-1])
        window = {n for _, is_end, n in self._events[first:failed]} | {
            n for n in begins if n not in ended}
        weak = set()
        for one in sorted(window - {number}, key=begins.get):
            self._weaken(frozenset(weak | {one}))
            if self.run(first, positions, failed) is not None:
                weak.add(one)
        self._weaken(frozenset())
        before = positions[0].state
        core = sorted(window - weak - {number}, key=lambda n: (
            self._operations[n].ended))
        last = self._operations[number]
        return Contradiction(
            [*self._origins(history.differences(before, last), first),
             *(self._operations[n] for n in core
               if not self._facts[n].is_unknown), last], before)

    def _origins(self, keys, first):
        """Return what has written keys last, before an event."""
        left, found = set(keys), []
        for _, is_end, number in reversed(self._events[:first]):
            op = self._operations[number]
            if is_end and op.changes and (
                    op.call == history.REPLACE or left & op.keys):
                found.insert(0, op)
                left -= op.keys
            if not left or op.call == history.REPLACE and is_end:
                break
        return found
