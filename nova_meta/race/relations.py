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

"""What operations have to do with the map, and by that with each other."""

import collections
from typing import NamedTuple
from typing import Optional

from nova_meta.race import history


class Facts(NamedTuple):
    """What an operation has to do with the map.

    :param writes: the keys that it changes
    :param reads: the keys that its answer depends on
    :param told: what its answer says of those, if it does
    :param is_unknown: whether it may have happened or not
    :param is_replace: whether it changes all other keys, too
    :param is_whole: whether its answer depends on all other keys, too
    :param is_conditional: whether it depends on what it changes
    """

    writes: frozenset
    reads: frozenset
    told: Optional[dict]
    is_unknown: bool
    is_replace: bool
    is_whole: bool
    is_conditional: bool

    @classmethod
    def of(cls, op, is_unknown, is_full):
        """Tell them.

        :param is_full: whether the quota may have been used up
        """
        writes = op.keys if is_unknown or op.changes else frozenset()
        is_replace = op.call == history.REPLACE and (is_unknown or op.changes)
        if is_unknown or (op.call in (history.SET, history.REPLACE) and
                          op.status != 404 and
                          not (op.condition or is_full) and
                          op.answer == op.pairs):
            return cls(writes, frozenset(), None, is_unknown, is_replace,
                       False, False)
        is_list = op.call in (history.LIST, history.MERGE)
        is_item = op.key is not None and (
            not is_full or op.call in (history.DELETE, history.SHOW))
        told = None
        if is_list and op.status == 200:
            told = op.answer
        elif op.call == history.SHOW and op.status in (200, 404):
            told = op.answer if op.status == 200 else {}
        return cls(writes, op.keys if is_item else frozenset(), told, False,
                   is_replace, not is_item, bool(op.condition))

    @property
    def is_read(self):
        return not self.writes and not self.is_replace

    @property
    def is_blind(self):
        """Whether any map would have given the same answer."""
        return not self.reads and not self.is_whole

    def covers(self, other):
        """Whether the other can have come just before, and nobody knows."""
        return not self.is_conditional and (
            self.is_replace or
            not other.is_replace and other.writes <= self.writes)


class Pending:
    """The operations that are under way, by what they have to do with."""

    def __init__(self):
        self.reads = set()
        self.blind = set()
        self.replaces = set()
        self.whole = set()
        self._readers = collections.defaultdict(set)
        self._writers = collections.defaultdict(set)

    def _places(self, facts):
        if facts.is_read:
            yield self.reads
        if facts.is_blind and not facts.is_unknown:
            yield self.blind
        if facts.is_replace:
            yield self.replaces
        else:
            for key in facts.writes:
                yield self._writers[key]
        if facts.is_whole:
            yield self.whole
        for key in facts.reads:
            yield self._readers[key]

    def put(self, number, facts, is_pending):
        """Say whether an operation is under way."""
        for place in self._places(facts):
            if is_pending:
                place.add(number)
            else:
                place.discard(number)

    def readers(self, keys):
        """Return those whose answers depend on some of the keys."""
        return self.whole.union(*(
            self._readers[key] for key in keys if key in self._readers))

    def writers(self, key):
        """Return those that change a key."""
        return self.replaces | self._writers.get(key, set())


class Seen:
    """What anybody has seen of the map, at any time."""

    def __init__(self, operations, facts):
        self._pairs, self._keys, self._changed = set(), set(), set()
        self._all = False
        for op, fact in zip(operations, facts):
            if fact.told is not None:
                self._pairs.update(fact.told.items())
            elif fact.is_whole:
                self._all = True
            if fact.told is None or op.status == 404:
                self._keys |= fact.reads
            if not fact.is_replace:
                self._changed |= fact.writes

    def any_of(self, op, fact):
        """Whether somebody may have seen what an update has left."""
        pairs = op.pairs
        if self._all or not pairs or not self._pairs.isdisjoint(pairs.items()):
            return True
        if fact.is_replace:
            # It touches each key, and what it leaves may change afterwards.
            return bool(self._keys) or not self._changed.isdisjoint(pairs)
        # Of several keys each can have been overwritten by another update.
        return len(pairs) > 1 or not self._keys.isdisjoint(pairs)
