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

"""Every fault is seen, and counted as what it is."""

import collections

import testtools

from nova_meta.race import history
from nova_meta.race.history import Operation
from nova_meta.race import judge


def op(call, key=None, pairs=None, status=200):
    return Operation(call, key, pairs, status, pairs, 0, 1)


def merged(**pairs):
    return op(history.MERGE, pairs=pairs)


class JudgeTestCase(testtools.TestCase):

    def judged(self, judgement, operations, final, initial=None, quota=128):
        faults = judgement(judge.Round(initial or {}, operations, final,
                                       quota))
        self.assertLessEqual(set(faults), set(judge.FAULTS))
        return {name: count for name, count in faults.items() if count}

    def test_own_keys(self):
        operations = [merged(a='1'), merged(b='1'),
                      op(history.DELETE, key='c', status=204),
                      op(history.MERGE, pairs={'d': '1'}, status=500)]
        initial = {'c': '0', 'e': '0'}
        self.assertEqual({}, self.judged(
            judge.own_keys, operations, {'a': '1', 'b': '1', 'e': '0'},
            initial))
        self.assertEqual(
            {'lost updates': 1, 'resurrected deletes': 1},
            self.judged(judge.own_keys, operations,
                        {'b': '1', 'c': '0', 'e': '0'}, initial))
        self.assertEqual({'lost updates': 1}, self.judged(
            judge.own_keys, operations, {'a': '1', 'b': '1'}, initial))

    def test_replaces(self):
        operations = [op(history.REPLACE, pairs={'a': '1', 'b': '1'}),
                      op(history.REPLACE, pairs={'a': '2', 'c': '2'}),
                      op(history.REPLACE, pairs={'d': '3'}, status=409)]
        for final, expected in (({'a': '2', 'c': '2'}, {}),
                                ({'a': '2', 'b': '1'}, {'mixed replaces': 1}),
                                ({'d': '3'}, {'mixed replaces': 1})):
            self.assertEqual(expected, self.judged(
                judge.replaces, operations, final))

    def test_same_key(self):
        operations = [op(history.SET, 'k', {'k': '1'}),
                      op(history.SET, 'k', {'k': '2'})]
        for final, expected in (({'k': '1'}, {}), ({}, {'lost updates': 1}),
                                ({'k': '0'}, {'lost updates': 1})):
            self.assertEqual(expected, self.judged(
                judge.same_key, operations, final))

    def test_nothing_acknowledged(self):
        for status in (429, 500):
            operations = [op(history.MERGE, pairs={'k': '1'}, status=status)]
            for judgement, fault in ((judge.same_key, 'lost updates'),
                                     (judge.replaces, 'mixed replaces')):
                self.assertEqual({}, self.judged(
                    judgement, operations, {'old': '0'}, {'old': '0'}))
                self.assertEqual({fault: 1}, self.judged(
                    judgement, operations, {}, {'old': '0'}))

    def test_delete_same_key(self):
        granted = op(history.DELETE, 'k', status=204)
        refused = op(history.DELETE, 'k', status=404)
        for operations, final, expected in (
                ([granted, refused], {}, {}),
                ([granted, granted], {}, {'double deletes': 1}),
                ([granted, refused], {'k': '0'}, {'resurrected deletes': 1})):
            self.assertEqual(expected, self.judged(
                judge.delete_same_key, operations, final, {'k': '0'}))

    def test_fills(self):
        operations = [merged(a='1'), merged(b='1')]
        self.assertEqual({}, self.judged(
            judge.fills, operations, {'a': '1', 'b': '1'}, quota=2))
        self.assertEqual({'over quota': 1}, self.judged(
            judge.fills, operations, {'a': '1', 'b': '1'}, quota=1))
        # Two were let in and one of them was lost: both are faults.
        self.assertEqual(
            {'over quota': 1, 'lost updates': 1},
            self.judged(judge.fills, operations, {'a': '1'}, quota=1))

    def test_any_order(self):
        operations = [merged(a='1')]
        self.assertEqual({}, self.judged(
            judge.any_order, operations, {'a': '1'}))
        self.assertEqual({'impossible rounds': 1}, self.judged(
            judge.any_order, operations, {}))

    def test_undone(self):
        # Begun and ended, one after the other where it matters.
        early, late = {'begun': 0, 'ended': 1}, {'begun': 2, 'ended': 3}
        delete = op(history.DELETE, 'a', status=204)._replace(pairs=None)
        for operations, final, expected, initial in (
                ([merged(a='1')], {'a': '1'}, {}, {}),
                ([merged(a='1'), merged(b='1')], {'b': '1'},
                 {0: 'lost updates'}, {}),
                ([merged(a='1')], {'a': '0'}, {0: 'lost updates'}, {}),
                # Either may have been the last one.
                ([merged(a='1'), merged(a='2')], {'a': '1'}, {}, {}),
                # The second one was, and it is the one that is gone.
                ([merged(a='1')._replace(**early),
                  merged(a='2')._replace(**late)], {'a': '1'},
                 {1: 'lost updates'}, {}),
                # A refused one explains nothing, one without answer may.
                ([merged(a='1'), op(history.MERGE, pairs={'a': '2'},
                                    status=409)], {'a': '2'},
                 {0: 'lost updates'}, {}),
                ([op(history.MERGE, pairs={'a': '2'},
                     status=None)._replace(**early),
                  merged(a='1')._replace(**late)], {'a': '2'}, {}, {}),
                ([op(history.REPLACE, pairs={'b': '1'}), merged(a='1')],
                 {'b': '1'}, {}, {}),
                ([op(history.REPLACE, pairs={'b': '1'})],
                 {'a': '0', 'b': '1'}, {0: 'lost updates'}, {'a': '0'}),
                # Both are there in part.
                ([op(history.REPLACE, pairs={'a': '1', 'b': '1'}),
                  op(history.REPLACE, pairs={'a': '2', 'c': '2'}),
                  op(history.REPLACE, pairs={'d': '3'})],
                 {'a': '2', 'b': '1', 'c': '2'},
                 {0: 'mixed replaces', 1: 'mixed replaces'}, {}),
                ([delete], {}, {}, {'a': '0'}),
                ([delete], {'a': '0'}, {0: 'resurrected deletes'},
                 {'a': '0'}),
                ([delete._replace(ended=2), delete], {},
                 {0: 'double deletes'}, {'a': '0'}),
                ([delete, delete, merged(a='1')], {}, {}, {'a': '0'}),
                ([op(history.LIST)], {}, {}, {})):
            self.assertEqual(expected, judge.undone(
                judge.Round(initial, operations, final)), (operations, final))

    def test_counted(self):
        # Each fault is counted by a judgement, but the one that is not
        # judged by answers.
        self.assertEqual(
            set(judge.FAULTS) - {'duplicate rows'},
            {fault for faults in judge.COUNTED.values() for fault in faults})

    def test_results_add_up(self):
        one = judge.Result.of([merged(a='1'), op(history.LIST)], 1.0,
                              collections.Counter({'lost updates': 1}))
        other = judge.Result.of(
            [merged(a='1'), op(history.MERGE, pairs={}, status=500),
             op(history.MERGE, pairs={}, status=None)], 1.0,
            collections.Counter())
        total = one + other
        self.assertEqual(2, total.acknowledged)
        self.assertEqual(1.0, total.rate)
        self.assertEqual(2, total.errors)
        self.assertEqual({'200': 3, '500': 1, 'no answer': 1},
                         total.as_dict()['answers'])
        self.assertEqual(1, total.as_dict()['lost updates'])
