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

"""The search finds an order if there is one, and only then."""

import itertools
import math
import random

import hypothesis
from hypothesis import strategies as st
import testtools

from nova_meta import etag
from nova_meta.race import history
from nova_meta.race.history import Operation
from nova_meta.race import order


def op(call, key=None, pairs=None, status=200, answer=None, begun=0, ended=1):
    return Operation(call, key, pairs, status, answer, begun, ended)


def merge(pairs, answer, **kwargs):
    return op(history.MERGE, pairs=pairs, answer=answer, **kwargs)


def replace(pairs, **kwargs):
    return op(history.REPLACE, pairs=pairs, answer=pairs, **kwargs)


def delete(key, status=204, **kwargs):
    return op(history.DELETE, key=key, status=status, **kwargs)


class OrderTestCase(testtools.TestCase):

    def assertPossible(self, initial, operations, final, **kwargs):
        self.assertTrue(order.exists(
            initial, operations, final, **kwargs))

    def assertImpossible(self, initial, operations, final, **kwargs):
        self.assertFalse(order.exists(
            initial, operations, final, **kwargs))

    def test_nothing(self):
        self.assertPossible({'a': '1'}, [], {'a': '1'})
        self.assertImpossible({'a': '1'}, [], {})

    def test_two_merges_in_either_order(self):
        self.assertPossible({}, [
            merge({'a': '1'}, {'a': '1'}),
            merge({'b': '2'}, {'a': '1', 'b': '2'})], {'a': '1', 'b': '2'})

    def test_lost_update(self):
        # What bug 1650188 is about: both were told 200.
        self.assertImpossible({}, [
            merge({'a': '1'}, {'a': '1'}),
            merge({'b': '2'}, {'b': '2'})], {'b': '2'})

    def test_answer_that_lacks_what_was_there(self):
        self.assertImpossible({}, [
            merge({'a': '1'}, {'a': '1'}),
            merge({'b': '2'}, {'b': '2'})], {'a': '1', 'b': '2'})

    def test_order_of_time_is_kept(self):
        early = replace({'a': 'early'}, begun=0, ended=1)
        late = replace({'a': 'late'}, begun=2, ended=3)
        self.assertPossible({}, [late, early], {'a': 'late'})
        self.assertImpossible({}, [late, early], {'a': 'early'})

    def test_mixture_of_two_replaces(self):
        both = [replace({'a': '1', 'b': '1'}), replace({'a': '2', 'c': '2'})]
        self.assertPossible({}, both, {'a': '1', 'b': '1'})
        self.assertImpossible({}, both, {'a': '2', 'b': '1', 'c': '2'})

    def test_key_is_deleted_once(self):
        self.assertPossible(
            {'a': '1'}, [delete('a'), delete('a', status=404)], {})
        self.assertImpossible({'a': '1'}, [delete('a'), delete('a')], {})

    def test_delete_that_does_not_hold(self):
        self.assertImpossible(
            {'a': '1'}, [delete('a'),
                         merge({'b': '2'}, {'a': '1', 'b': '2'})],
            {'a': '1', 'b': '2'})

    def test_unknown_outcome_may_be_either(self):
        for status in (None, 500):
            for final in ({}, {'a': '1'}):
                self.assertPossible(
                    {}, [merge({'a': '1'}, None, status=status)], final)

    def test_unknown_outcome_may_come_late(self):
        lost = merge({'a': '1'}, None, status=None, begun=0, ended=1)
        read = op(history.LIST, answer={}, begun=2, ended=3)
        self.assertPossible({}, [lost, read], {'a': '1'})

    def test_refused_has_changed_nothing(self):
        for status in (401, 409, 412, 429):
            refused = merge({'a': '1'}, None, status=status)
            self.assertPossible({}, [refused], {})
            self.assertImpossible({}, [refused], {'a': '1'})

    def test_quota(self):
        added = merge({'a': '1'}, {'a': '1'})
        refused = merge({'b': '1'}, None, status=403)
        self.assertPossible({}, [added, refused], {'a': '1'}, quota=1)
        self.assertImpossible({}, [added, refused], {'a': '1'}, quota=2)
        self.assertImpossible({}, [added], {'a': '1'}, quota=0)

    def test_reads(self):
        def show(status=200, answer=None):
            return op(history.SHOW, key='a', status=status, answer=answer)

        self.assertPossible({'a': '1'}, [show(answer={'a': '1'})], {'a': '1'})
        self.assertImpossible({}, [show(answer={'a': '1'})], {})
        self.assertPossible({}, [show(status=404)], {})
        self.assertImpossible({'a': '1'}, [show(status=404)], {'a': '1'})

    def test_read_without_an_answer(self):
        for status in 500, None:
            self.assertPossible({'a': '1'}, [
                op(history.LIST, status=status, answer={}),
                op(history.SHOW, key='a', status=status)], {'a': '1'})

    def test_conditions(self):
        tag = etag.of_map({'a': '1'})
        condition = etag.Condition.of(etag.of_map, f'"{tag}"', None)
        early = {'begun': 0, 'ended': 1}
        changed = merge({'a': '2'}, {'a': '2'}, **early)
        conditional = merge({'b': '1'}, {'a': '1', 'b': '1'}, begun=2,
                            ended=3)._replace(condition=condition)
        self.assertPossible({'a': '1'}, [conditional], {'a': '1', 'b': '1'})
        self.assertImpossible(
            {'a': '1'}, [changed, conditional], {'a': '2', 'b': '1'})
        refused = conditional._replace(status=412, answer=None)
        self.assertPossible({'a': '1'}, [changed, refused], {'a': '2'})
        self.assertImpossible({'a': '1'}, [refused], {'a': '1'})

    def test_replace_between_what_others_have_seen(self):
        # The merge is acknowledged and gone, and no replace explains that.
        merged = merge({'b': '1'}, {'a': '0', 'b': '1'}, begun=2, ended=3)
        for begun, possible in (1, True), (4, True), (-2, False):
            replaced = replace({'a': '1'}, begun=begun, ended=begun + 1)
            self.assertEqual(possible, order.exists(
                {'a': '0'}, [merged, replaced], {'a': '1'}), begun)

    def test_undone_by_a_change_made_again(self):
        # It is there in the end, and has undone what somebody did who saw it.
        again = op(history.SET, 'k', {'k': 'A'}, answer={'k': 'A'}, ended=9)
        seen = op(history.SHOW, 'k', answer={'k': 'A'}, begun=2, ended=3)
        after = op(history.SET, 'k', {'k': 'B'}, answer={'k': 'B'}, begun=4,
                   ended=5)
        self.assertPossible({}, [again, seen, after], {'k': 'B'})
        self.assertImpossible({}, [again, seen, after], {'k': 'A'})
        self.assertPossible({}, [again, after], {'k': 'A'})

    def test_gives_up_in_the_end(self):
        self.patch(order, 'MOST_TRIED', 100)
        self.patch(order, 'MOST_TRIED_AT_FIRST', 100)
        operations = [replace({'a': str(n), 'b': str(n)}) for n in range(9)]
        operations += [op(history.SET, pairs=one, answer=one) for one in (
            {'a': str(n), 'c': str(n)} for n in range(9))]
        self.assertRaises(
            order.Undecided, order.exists, {}, operations,
            {'a': '1', 'b': '2', 'c': '3'})


KEYS = st.sampled_from('abc')
VALUES = st.sampled_from('12')
PAIRS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=2)
TIMES = st.integers(min_value=0, max_value=12)
READS = (history.LIST, history.SHOW)

# What is written lasts long enough, but for how times are rounded.
ROUNDED = ({}, [
    op(history.LIST, answer={'a': '2'}, begun=1, ended=1),
    op(history.MERGE, None, {'a': '1', 'b': '1'}, 500, begun=2, ended=2),
    merge({'a': '2'}, {'a': '2', 'b': '1'}, begun=.02, ended=3.02)],
    {'a': '2', 'b': '1'}, math.inf)


@st.composite
def histories(draw):
    """Make a history that took place, and perhaps change an answer."""
    state = initial = draw(st.dictionaries(KEYS, st.just('0'), max_size=3))
    quota = draw(st.sampled_from([math.inf, math.inf, 2]))
    states, operations = [state], []
    for begun, length, late in draw(st.lists(
            st.tuples(TIMES, TIMES, TIMES), max_size=6)):
        state, one = draw(asked(state, states, quota))
        # It took place when the one before had, so it ended after that.
        operations.append(one._replace(
            begun=max(0, len(operations) - length) + begun / 100,
            ended=len(operations) + late / 3 + begun / 100))
        states.append(state)
    final = state
    if operations and draw(st.booleans()):
        number = draw(st.integers(0, len(operations) - 1))
        one = operations[number]
        operations[number] = draw(st.sampled_from([
            one._replace(begun=one.begun + 2, ended=one.ended + 2),
            one._replace(answer=one.answer and {**one.answer, 'a': '1'}),
            one._replace(status=404 if one.key else one.status),
            one]))
        final = draw(st.sampled_from([*states, {**final, 'a': '2'}]))
    return initial, operations, final, quota


@st.composite
def asked(draw, state, states, quota):
    """Ask for something.

    :returns: the map afterwards, and the operation
    """
    call = draw(st.sampled_from([
        history.LIST, history.SHOW, history.MERGE, history.REPLACE,
        history.SET, history.DELETE]))
    key = draw(KEYS) if call in (history.SHOW, history.DELETE) or (
        call == history.SET and draw(st.booleans())) else None
    pairs = None
    if call in (history.MERGE, history.REPLACE, history.SET):
        pairs = {key: draw(VALUES)} if key else draw(PAIRS)
    one = op(call, key, pairs)
    if draw(st.integers(0, 3)) == 0:
        tag = etag.of(key)(draw(st.sampled_from(states)))
        headers = (None, '*') if tag is None else draw(st.sampled_from(
            [(f'"{tag}"', None), (None, f'"{tag}"')]))
        one = one._replace(condition=etag.Condition.of(
            etag.of(key), *headers))
    after = history.effect(state, one)
    if one.call in history.WRITES and draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from([state, after])), one._replace(status=500)
    if one.condition and not one.condition.holds(one.condition.tag(state)):
        tag = one.condition.tag(state)
        return state, one._replace(
            status=304 if call in READS and one.condition.if_none_match
            else 412, etag=tag and f'"{tag}"')
    if key and key not in state and call in (history.SHOW, history.DELETE):
        return state, one._replace(status=404)
    if len(after) > quota and pairs is not None:
        return state, one._replace(status=403)
    return after, one._replace(
        status=204 if call == history.DELETE else 200,
        etag=f'"{etag.of(key)(state if call in READS else after)}"',
        answer={history.LIST: state, history.MERGE: after,
                history.SHOW: history.part(state, [key]),
                history.DELETE: None}.get(call, pairs))


def by_trying_all(initial, operations, final, quota):
    """Tell whether there is an order, in the simplest way."""
    unknown = [one for one in operations if one.unknown]
    known = [one for one in operations if not one.unknown]
    return any(
        respects_time(sequence) and
        replay(initial, sequence, quota) == final
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for sequence in itertools.permutations([*known, *some]))


def respects_time(sequence):
    return not any(not after.unknown and after.ended < before.begun
                   for number, before in enumerate(sequence)
                   for after in sequence[number + 1:])


def replay(state, sequence, quota):
    for one in sequence:
        if not history.explains(state, one, quota):
            return None
        if one.changes or one.unknown:
            state = history.effect(state, one)
    return state


class AnyHistoryTestCase(testtools.TestCase):

    @hypothesis.settings(max_examples=500, deadline=None)
    @hypothesis.given(histories())
    @hypothesis.example(ROUNDED)
    def test_agrees_with_trying_all(self, played):
        expected = by_trying_all(*played)
        hypothesis.event(f'possible: {expected}')
        self.assertEqual(expected, order.exists(*played))
        # Whatever the first try says.
        self.assertEqual(expected, order._Search(*played).run() is None)
        found = order.contradiction(*played)
        self.assertEqual(expected, found is None)
        if found:
            self.assertIn('No order explains', str(found))
            self.assertTrue(found.operations)


def long_history(count, clients, rng, unknown=lambda when: .01):
    """Make a history of clients that go on and on; none is ever idle.

    :param unknown: a function of the time: returns the share of the requests
        without an answer
    """
    ends, moments = [0.0] * clients, []
    for number in range(count):
        me = number % clients
        begun = ends[me] + rng.random() / 5
        moment = begun + rng.random()
        ends[me] = moment + rng.random() / 2
        moments.append((moment, begun, ends[me], me))
    state, operations, seen = {}, [], {}
    for number, (moment, begun, ended, me) in enumerate(sorted(moments)):
        key = f'k{rng.randrange(20)}'
        pairs = {key: str(number)}
        call = rng.choice([history.SET, history.MERGE, history.LIST,
                           history.DELETE, history.REPLACE])
        one = op(call, key if call in (history.SET, history.DELETE) else None,
                 None if call in (history.LIST, history.DELETE) else pairs,
                 begun=begun, ended=ended)._replace(writer=me)
        if call == history.DELETE and key not in state:
            operations.append(one._replace(status=404))
            continue
        if call == history.REPLACE and me % 2:
            # As it was when somebody has looked.
            one = one._replace(condition=etag.Condition.of(
                etag.of_map, f'"{etag.of_map(seen)}"', None))
        after = history.effect(state, one)
        if call != history.LIST and rng.random() < unknown(moment):
            state = rng.choice([state, after])
            operations.append(one._replace(status=500))
            continue
        if one.condition and seen != state:
            operations.append(one._replace(status=412))
            continue
        state = after
        if call in (history.LIST, history.MERGE):
            seen = state
        operations.append(one._replace(
            status=204 if call == history.DELETE else 200,
            etag=f'"{etag.of_map(state)}"',
            answer=state if call in (history.LIST, history.MERGE) else pairs))
    return operations, state


class LongTestCase(testtools.TestCase):

    def make(self, count, **kwargs):
        self.operations, self.final = long_history(
            count, 6, random.Random(1650188), **kwargs)

    def test_possible(self):
        self.make(5000)
        self.assertIsNone(order.contradiction({}, self.operations, self.final))

    def test_many_unknown_outcomes(self):
        # As if a server was killed now and then.
        self.make(2000, unknown=lambda when: .5 if when % 50 < 4 else 0)
        self.assertGreater(sum(one.unknown for one in self.operations), 50)
        self.assertIsNone(order.contradiction({}, self.operations, self.final))

    def test_merge_that_was_lost(self):
        self.make(400)
        # That of nobody else: what was told later knows nothing of it.
        number = next(n for n, one in enumerate(self.operations)
                      if n > 200 and one.call == history.MERGE and
                      one.acknowledged)
        lost = self.operations[number]._replace(
            pairs={'lost': '1'},
            answer={**self.operations[number].answer, 'lost': '1'})
        self.operations[number] = lost
        found = order.contradiction({}, self.operations, self.final)
        self.assertIn(lost, found.operations)
        self.assertLess(len(found.operations), 6)
        self.assertIn("'lost': '1'", str(found))
