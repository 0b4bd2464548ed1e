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
import math
from typing import NamedTuple
from typing import Optional

from nova_meta import etag
from nova_meta.race import history


def known(initial, operations):
    """Return what has the entity tags on which changes depend.

    :param initial: the map before the first one
    :param operations: :class:`history.Operation` objects
    :returns: {entity tag: the map, or {key: value} of an item}
    """
    expected = set(map(_expected, operations))
    maps = [initial, *(
        op.answer for op in operations
        # An answer of 304 or 412 tells the tag alone.
        if op.etag and op.etag.strip('"') in expected and op.key is None and
        op.answer is not None)]
    items = {pair for op in operations if op.key is None and op.answer
             for pair in op.answer.items()
             } if any(op.key for op in operations if op.condition) else {}
    found = {etag.of_map(one): one for one in maps}
    found.update((etag.of_item(key, {key: value}), {key: value})
                 for key, value in items)
    return found


def _expected(op):
    """Return the only entity tag that an operation may have met, if any."""
    tags = getattr(op.condition and op.condition.if_match, 'etags', ())
    return tags[0] if len(tags) == 1 else None


class Facts(NamedTuple):
    """What an operation has to do with the map.

    :param writes: the keys that it changes
    :param reads: the keys that its answer depends on
    :param told: the map as it must have been before, or an item of it, if
        that is known
    :param silent: keys that say nothing of that
    :param is_unknown: whether it may have happened or not
    :param is_replace: whether it changes all other keys, too
    :param is_whole: whether its answer depends on all other keys, too
    :param is_conditional: whether it depends on what it changes
    """

    writes: frozenset
    reads: frozenset
    told: Optional[dict]
    silent: frozenset
    is_unknown: bool
    is_replace: bool
    is_whole: bool
    is_conditional: bool

    @classmethod
    def of(cls, op, is_unknown, is_full, known):
        """Tell them.

        :param is_full: whether the quota may have been used up
        :param known: {entity tag: the map, or the item, that has it}
        """
        writes = op.keys if is_unknown or op.changes else frozenset()
        is_replace = op.call == history.REPLACE and (is_unknown or op.changes)
        if is_unknown or (op.call in (history.SET, history.REPLACE) and
                          op.status != 404 and
                          not (op.condition or is_full) and
                          op.answer == op.pairs):
            return cls(writes, frozenset(), None, frozenset(), is_unknown,
                       is_replace, False, False)
        is_item = op.key is not None and (
            not is_full or op.call in (history.DELETE, history.SHOW))
        told, silent = None, frozenset()
        if op.call in (history.LIST, history.MERGE) and op.status == 200:
            told, silent = op.answer, op.keys
        elif op.call == history.SHOW and op.status in (200, 404):
            told = op.answer if op.status == 200 else {}
        elif op.changes and is_item == (op.key is not None):
            told = known.get(_expected(op))
        return cls(writes, op.keys if is_item else frozenset(), told, silent,
                   False, is_replace, not is_item, bool(op.condition))

    def wrong(self, state):
        """Return the keys in which a map is not what was told."""
        if self.is_whole:
            return {key for key, _ in state.items() ^ self.told.items()
                    } - self.silent
        return {key for key in self.reads
                if state.get(key) != self.told.get(key)}

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
    """What is seen of the map, and until when."""

    def __init__(self, operations, facts):
        self._pairs, self._keys, self._changed = {}, {}, {}
        self._all = -math.inf
        for op, fact in sorted(zip(operations, facts),
                               key=lambda one: one[0].ended):
            if fact.told is not None:
                self._pairs.update(
                    ((key, value), op.ended)
                    for key, value in fact.told.items()
                    if key not in fact.silent)
            elif fact.is_whole:
                self._all = op.ended
            if fact.told is None or op.status == 404:
                self._keys.update(dict.fromkeys(fact.reads, op.ended))
            if not fact.is_replace:
                last = math.inf if fact.is_unknown else op.ended
                for key in fact.writes:
                    self._changed[key] = max(
                        last, self._changed.get(key, last))

    def any_of(self, op, fact, now):
        """Whether somebody may yet see what an update leaves.

        :param now: the time from which on
        """
        pairs = op.pairs
        if self._all >= now or not pairs or _any_since(
                now, self._pairs, pairs.items()):
            return True
        if fact.is_replace:
            # It touches each key, and what it leaves may change afterwards.
            return _any_since(now, self._keys, self._keys) or _any_since(
                now, self._changed, pairs)
        # Of several keys each can have been overwritten by another update.
        return len(pairs) > 1 or _any_since(now, self._keys, pairs)


def _any_since(time, last, names):
    return any(last.get(name, -math.inf) >= time for name in names)
