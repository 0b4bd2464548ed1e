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

"""What went wrong in a round: the answers held against the database."""

import collections
import dataclasses
import math
from typing import NamedTuple

from nova_meta.race import history
from nova_meta.race import order

UNDECIDED = 'undecided rounds'

# Each of them must not happen, however many clients there are.
FAULTS = (
    'lost updates',         # acknowledged, and not there
    'resurrected deletes',  # acknowledged, and the key is back
    'mixed replaces',       # a map that nobody has sent
    'double deletes',       # of one key, both acknowledged
    'over quota',           # rounds that left more items than allowed
    'impossible rounds',    # that no order of the requests explains
    UNDECIDED,              # that have too many orders to try them all
    'duplicate rows',       # live rows of a key beyond the first
)


class Round(NamedTuple):
    """What was there, what was answered, what is there now."""

    initial: dict
    operations: list
    final: dict
    quota: float = math.inf


@dataclasses.dataclass
class Result:
    """What came of some rounds."""

    acknowledged: int = 0
    seconds: float = 0
    faults: collections.Counter = dataclasses.field(
        default_factory=collections.Counter)
    statuses: collections.Counter = dataclasses.field(
        default_factory=collections.Counter)
    latencies: list = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, operations, seconds, faults):
        writes = [op for op in operations if op.call in history.WRITES]
        return cls(
            acknowledged=sum(op.acknowledged for op in writes),
            seconds=seconds, faults=faults,
            statuses=collections.Counter(
                op.status or 'no answer' for op in operations),
            latencies=[op.ended - op.begun for op in writes])

    def __add__(self, other):
        return Result(*(getattr(self, field.name) + getattr(other, field.name)
                        for field in dataclasses.fields(self)))

    @property
    def rate(self):
        """Acknowledged updates a second."""
        return self.acknowledged / self.seconds if self.seconds else 0

    def latency(self, share):
        """The latency in seconds that this share of the writes stays below."""
        ordered = sorted(self.latencies)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0

    @property
    def errors(self):
        """Answers that nobody asked for: conflicts and server errors."""
        return sum(count for status, count in self.statuses.items()
                   if not isinstance(status, int) or status == 409 or
                   status >= 500)

    def as_dict(self, faults=FAULTS):
        return {
            'acknowledged': self.acknowledged,
            'seconds': round(self.seconds, 3),
            'updates per second': round(self.rate, 1),
            'latency p50 ms': round(1000 * self.latency(.5), 1),
            'latency p95 ms': round(1000 * self.latency(.95), 1),
            'answers': {str(k): v for k, v in sorted(
                self.statuses.items(), key=lambda item: str(item[0]))},
            **{name: self.faults[name] for name in faults},
        }


class Verdict(NamedTuple):
    """What is wrong with a round.

    :param faults: a Counter of some of :data:`FAULTS`
    :param marks: {index in the round's operations: what is wrong with it}
    :param words: a sentence or more, empty if nothing is wrong
    """

    faults: collections.Counter
    marks: dict
    words: str


def judge(played):
    """Judge a round.

    Updates of which the end shows that they were undone are named one by one.
    If there are none, the answers may still contradict each other.

    :param played: a :class:`Round`
    :returns: a :class:`Verdict`
    """
    marks = undone(played)
    over = ['over quota'] * (len(played.final) > played.quota)
    if marks:
        words = '\n'.join(f'{fault}: {played.operations[n].told()}'
                          for n, fault in marks.items())
        return Verdict(collections.Counter(
            [*marks.values(), *over, 'impossible rounds']), marks, words)
    try:
        wrong = order.contradiction(played.initial, played.operations,
                                    played.final, played.quota)
    except order.Undecided:
        return Verdict(collections.Counter([UNDECIDED]), {}, '')
    if wrong is None:
        return Verdict(collections.Counter(), {}, '')
    marks = {n: 'impossible rounds'
             for n, op in enumerate(played.operations)
             if any(op is one for one in wrong.operations)}
    return Verdict(collections.Counter([*over, 'impossible rounds']), marks,
                   str(wrong))


def undone(played):
    """Find the updates that were acknowledged in vain, whatever was played.

    The last update of a key has to be one that no other had to follow. An
    update that is gone, and that none of those explains, was undone. Of
    replaces that have mixed those are named of which something is there.

    :returns: {index in played.operations: one of :data:`FAULTS`}
    """
    writes = [(n, op) for n, op in enumerate(played.operations)
              if op.call in history.WRITES and (op.acknowledged or op.unknown)]
    found = dict(_one_too_many(played.initial, writes))
    if all(op.call == history.REPLACE for _, op in writes) and (
            _sent_by_nobody(played)):
        found.update((n, 'mixed replaces') for n, op in writes
                     if op.pairs.items() & played.final.items())
    for n, op in writes:
        if op.acknowledged:
            later = [other for _, other in writes
                     if other.unknown or other.ended >= op.begun]
            if any(played.final.get(key) not in
                   [_left(other, key) for other in later
                    if _writes(other, key)]
                   for key in {*played.final, *(op.pairs or [op.key])}
                   if _writes(op, key)):
                found[n] = ('resurrected deletes' if op.call == history.DELETE
                            else 'lost updates')
    return found


def _sent_by_nobody(played):
    possible = [op.pairs for op in played.operations
                if op.acknowledged or op.unknown]
    if not any(op.acknowledged for op in played.operations):
        possible.append(played.initial)
    return played.final not in possible


def _one_too_many(initial, writes):
    """Find the deletes of a key that nobody can have written again."""
    deletes = collections.defaultdict(list)
    for n, op in writes:
        if op.call == history.DELETE and op.acknowledged:
            deletes[op.key].append((op.ended, n))
    for key, ends in deletes.items():
        written = sum(_left(op, key) is not None for _, op in writes)
        for _, n in sorted(ends)[written + (key in initial):]:
            yield n, 'double deletes'


def _writes(operation, key):
    return operation.call == history.REPLACE or key in (
        operation.pairs or [operation.key])


def _left(operation, key):
    """The value that a key has after an update, None if it has none."""
    return history.effect({}, operation).get(key)
