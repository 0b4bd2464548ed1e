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

"""The checker sees what is impossible, and only that."""

import itertools
import random

import testtools

from nova_meta.race import history
from nova_meta.race.history import Operation


def op(call, key=None, pairs=None, status=200, answer=None, begun=0, ended=1):
    return Operation(call, key, pairs, status, answer, begun, ended)


def merge(pairs, answer, **kwargs):
    return op(history.MERGE, pairs=pairs, answer=answer, **kwargs)


def replace(pairs, **kwargs):
    return op(history.REPLACE, pairs=pairs, answer=pairs, **kwargs)


def delete(key, status=204, **kwargs):
    return op(history.DELETE, key=key, status=status, **kwargs)


class LinearizableTestCase(testtools.TestCase):

    def assertPossible(self, initial, operations, final, **kwargs):
        self.assertTrue(history.linearizable(
            initial, operations, final, **kwargs))

    def assertImpossible(self, initial, operations, final, **kwargs):
        self.assertFalse(history.linearizable(
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

    def test_agrees_with_trying_every_order(self):
        rng = random.Random(1650188)
        seen = set()
        for _ in range(300):
            initial = {'a': '0'}
            operations = [self.random_operation(rng) for _ in range(4)]
            final = rng.choice([{}, {'a': '0'}, {'a': '1'}, {'b': '1'},
                                {'a': '1', 'b': '1'}])
            expected = any(
                self.replay(initial, order) == final
                for order in itertools.permutations(operations)
                if self.respects_time(order))
            seen.add(expected)
            self.assertEqual(expected, history.linearizable(
                initial, operations, final))
        self.assertEqual({True, False}, seen)

    @staticmethod
    def random_operation(rng):
        begun = rng.random()
        times = {'begun': begun, 'ended': begun + rng.random()}
        key = rng.choice('ab')
        return rng.choice([
            lambda: delete(key, status=rng.choice([204, 404]), **times),
            lambda: replace({key: '1'}, **times),
            lambda: merge({key: '1'}, rng.choice([
                {'a': '0', key: '1'}, {key: '1'}, {'a': '1', 'b': '1'}]),
                **times)])()

    @staticmethod
    def respects_time(order):
        return not any(after.ended < before.begun for i, before in
                       enumerate(order) for after in order[i + 1:])

    @staticmethod
    def replay(state, order):
        for operation in order:
            if not history.explains(state, operation):
                return None
            if operation.acknowledged:
                state = history.effect(state, operation)
        return state

    def test_gives_up_in_the_end(self):
        operations = [merge({str(n): '1'}, None, status=500)
                      for n in range(30)]
        self.patch(history, 'MOST_STATES', 100)
        self.assertRaises(history.Undecided, history.linearizable,
                          {}, operations, {'never': 'sent'})


class ContradictionsTestCase(testtools.TestCase):

    def wrote(self, value, begun, ended, status=200):
        return op(history.SET, 'k', {'k': value}, status, {'k': value},
                  begun, ended)

    def read(self, value, begun, ended):
        if value is None:
            return op(history.SHOW, 'k', status=404, begun=begun, ended=ended)
        return op(history.SHOW, 'k', answer={'k': value}, begun=begun,
                  ended=ended)

    def found(self, operations, final, initial='0'):
        return history.contradictions(
            {'k': initial} if initial else {}, operations,
            {'k': final} if final else {}, ['k'])

    def test_nothing(self):
        self.assertEqual([], self.found([], '0'))
        self.assertEqual([], self.found([], None, None))
        self.assertEqual(1, len(self.found([], '1')))

    def test_overwritten_after_it_was_seen(self):
        done = [self.wrote('a', 0, 9), self.read('a', 1, 2),
                self.wrote('b', 3, 4)]
        self.assertEqual([], self.found(done, 'b'))
        # That is what a change made again does.
        self.assertEqual(["k: 'a' and 'b' were there at the same time"],
                         self.found(done, 'a'))
        # Unseen it may have come last.
        self.assertEqual([], self.found([done[0], done[2]], 'a'))

    def test_lost(self):
        self.assertEqual(1, len(self.found([self.wrote('a', 0, 1)], '0')))

    def test_unknown(self):
        # It may take place much later, or never.
        unknown = self.wrote('a', 0, 1, status=500)
        later = [self.wrote('b', 2, 3), self.read('b', 4, 5)]
        for final in 'b', 'a':
            self.assertEqual([], self.found([unknown, *later], final))
        self.assertEqual(1, len(self.found(
            [unknown, self.read('a', 1, 2), *later], 'a')))

    def test_refused(self):
        refused = self.wrote('a', 0, 1, status=412)
        self.assertEqual([], self.found([refused], '0'))
        self.assertEqual(1, len(self.found([refused], 'a')))

    def test_read_before_it_was_written(self):
        self.assertEqual(
            ["k: 'a' was read before anybody wrote it"],
            self.found([self.read('a', 0, 1), self.wrote('a', 2, 3)], 'a'))

    def test_agrees_with_the_search(self):
        rng = random.Random(0)
        verdicts = set()
        for _ in range(3000):
            values, operations = ['0'], []
            for n in range(rng.randint(1, 5)):
                begun = rng.random() * 4
                ended = begun + rng.random() * 2
                if rng.random() < .5:
                    values.append(str(n + 1))
                    operations.append(self.wrote(
                        values[-1], begun, ended,
                        rng.choice((200, 200, 500))))
                else:
                    operations.append(self.read(rng.choice(values), begun,
                                                ended))
            final = rng.choice(values)
            possible = history.linearizable({'k': '0'}, operations,
                                            {'k': final})
            self.assertEqual(possible, not self.found(operations, final),
                             (operations, final))
            verdicts.add(possible)
        self.assertEqual({True, False}, verdicts)
