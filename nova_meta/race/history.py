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

A search over every order of the operations that their times allow, in the
manner of Wing and Gong (Testing and Verifying Concurrent Objects, 1993), with
what has been tried already remembered. It is exhaustive, so histories must be
short, or the answers telling: a POST answers the whole merged map, which
leaves few orders to try.
"""

import bisect
import math
from typing import Any
from typing import NamedTuple
from typing import Optional

LIST, SHOW, MERGE, REPLACE, SET, DELETE = (
    'list', 'show', 'merge', 'replace', 'set', 'delete')
WRITES = frozenset((MERGE, REPLACE, SET, DELETE))

# States of the search; a history that needs more has too many unknown outcomes
# to be worth the wait.
MOST_STATES = 200_000


class Undecided(Exception):
    """There are too many orders to try."""


class Operation(NamedTuple):
    """A call, and what its client was told.

    :param key: of the item calls
    :param pairs: what was sent
    :param status: the HTTP status; None if no answer came
    :param answer: the map or item of a 200
    :param begun: when it was sent, on any one clock
    :param ended: when the answer was there
    :param etag: the entity tag of the answer, with its quotes
    :param writer: the number of the client among those of a round
    """

    call: str
    key: Optional[str]
    pairs: Optional[dict]
    status: Optional[int]
    answer: Any
    begun: float
    ended: float
    etag: Optional[str] = None
    writer: Optional[int] = None

    @property
    def acknowledged(self):
        return self.status in (200, 202, 204)

    @property
    def unknown(self):
        """Whether it may have happened, or not, or may happen yet."""
        return self.call in WRITES and (
            self.status is None or self.status >= 500)


def effect(state, operation):
    """Return what a call makes of a map."""
    if operation.call == REPLACE:
        return dict(operation.pairs)
    if operation.call == DELETE:
        return {k: v for k, v in state.items() if k != operation.key}
    return {**state, **(operation.pairs or {})}


def explains(state, operation, quota=math.inf):
    """Tell whether a call on this map would have had this answer."""
    after = effect(state, operation)
    if operation.unknown:
        return True
    if operation.status == 403:
        return len(after) > quota
    if operation.status == 404:
        return operation.key is not None and operation.key not in state
    if operation.status in (401, 409, 412, 429):
        return True
    if operation.call == DELETE:
        return operation.key in state
    if operation.call == SHOW:
        return operation.answer == {
            key: state[key] for key in [operation.key] if key in state}
    if operation.call == SET:
        return operation.answer == operation.pairs and len(after) <= quota
    return operation.answer == after and len(after) <= quota


def linearizable(initial, operations, final, quota=math.inf):
    """Tell whether some order of the operations explains every answer.

    Operations that did not overlap keep their order. One whose outcome is
    unknown may take place at any later time, or never.

    :param initial: the map before the first one
    :param operations: :class:`Operation` objects
    :param final: the map when all had ended
    :param quota: how many items the map may have
    :returns: bool
    :raises: Undecided after MOST_STATES states
    """
    operations = list(operations)
    ends = [math.inf if op.unknown else op.ended for op in operations]
    certain = {i for i, op in enumerate(operations) if not op.unknown}
    tried = set()
    stack = [(frozenset(range(len(operations))), dict(initial))]
    while stack:
        left, state = stack.pop()
        mark = (left, frozenset(state.items()))
        if mark in tried:
            continue
        if len(tried) == MOST_STATES:
            raise Undecided()
        tried.add(mark)
        if not left & certain and state == final:
            return True
        earliest_end = min((ends[i] for i in left), default=math.inf)
        for i in left:
            operation = operations[i]
            if operation.begun <= earliest_end and explains(
                    state, operation, quota):
                changes = operation.acknowledged or operation.unknown
                stack.append((left - {i}, effect(state, operation)
                              if changes else state))
    return False


class _Zone(NamedTuple):
    """When a key must, or might, have had a value.

    :param value: the value
    :param known: the first time that it was known to have been there
    :param wanted: the last time that it had still to be there, or to come
    """

    value: Any
    known: float
    wanted: float


def contradictions(initial, operations, final, keys):
    """Find out of order what was read and written of single keys.

    For keys that nobody deletes, and that get no value twice, histories of any
    length. A value that was seen after it had been written holds until it is
    seen last; two values cannot hold at once, and one that comes and goes
    while another one holds can never have been there (Gibbons and Korach,
    Testing Shared Memories, 1997).

    :param initial: the map before the first operation
    :param operations: :class:`Operation` objects; those whose outcome is
        unknown may take place at any later time, or never
    :param final: the map when all had ended
    :param keys: those to look at
    :returns: a list of sentences, empty if there is nothing wrong
    """
    found = []
    for key in sorted(keys):
        written, times = {initial.get(key): -math.inf}, []
        for operation in operations:
            times += _seen_of(key, operation, written)
        times.append((final.get(key), math.inf, math.inf))
        times.append((initial.get(key), -math.inf, -math.inf))
        found += [f'{key}: {value!r} was read before anybody wrote it'
                  for value, _begun, ended in times
                  if value not in written or ended < written[value]]
        found += [f'{key}: {one!r} and {other!r} were there at the same time'
                  for one, other in _clashes(_zones(times))]
    return found


def _seen_of(key, operation, written):
    """Return when a key had which value, and note when it was written."""
    begun, ended = operation.begun, operation.ended
    if key in (operation.pairs or ()):
        value = operation.pairs[key]
        if operation.acknowledged or operation.unknown:
            written[value] = begun
            return [(value, begun, math.inf if operation.unknown else ended)]
    elif operation.status == 200 and (
            operation.call in (LIST, MERGE) or operation.key == key):
        return [(operation.answer.get(key), begun, ended)]
    elif operation.call == SHOW and operation.status == 404 and (
            operation.key == key):
        return [(None, begun, ended)]
    return []


def _zones(times):
    by_value = {}
    for value, begun, ended in times:
        zone = by_value.get(value, _Zone(value, math.inf, -math.inf))
        by_value[value] = _Zone(value, min(zone.known, ended),
                                max(zone.wanted, begun))
    return by_value.values()


def _clashes(zones):
    """Yield pairs of values that cannot both have been there."""
    held = sorted((zone for zone in zones if zone.known < zone.wanted),
                  key=lambda zone: zone.known)
    longest = None
    for zone in held:
        if longest and zone.known < longest.wanted:
            yield longest.value, zone.value
        if not longest or zone.wanted > longest.wanted:
            longest = zone
    begins = [zone.known for zone in held]
    for zone in zones:
        if zone.known >= zone.wanted:
            before = bisect.bisect_left(begins, zone.wanted) - 1
            if before >= 0 and zone.known < held[before].wanted:
                yield held[before].value, zone.value
