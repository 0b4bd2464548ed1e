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
from unittest import mock

import testtools

from nova_meta.race import history
from nova_meta.race.history import Operation
from nova_meta.race import judge
from nova_meta.race import order


def op(call, key=None, pairs=None, status=200):
    return Operation(call, key, pairs, status, pairs, 0, 1)


def merged(**pairs):
    return op(history.MERGE, pairs=pairs)


class JudgeTestCase(testtools.TestCase):

    def judged(self, operations, final, initial=None, quota=128):
        return judge.judge(judge.Round(initial or {}, operations, final,
                                       quota))

    def test_nothing_wrong(self):
        verdict = self.judged([merged(a='1')], {'a': '1'})
        self.assertEqual((collections.Counter(), {}, ''), verdict)

    def test_what_is_gone_is_named(self):
        verdict = self.judged([merged(a='1'), merged(b='1')], {'b': '1'})
        self.assertEqual({'lost updates': 1, 'impossible rounds': 1},
                         dict(verdict.faults))
        self.assertEqual({0: 'lost updates'}, verdict.marks)
        self.assertIn("lost updates: 0.000000 to 1.000000 s: merge "
                      "{'a': '1'}: 200", verdict.words)

    def test_what_contradicts_is_named(self):
        # Everything is there, but the answers cannot both be true.
        operations = [merged(a='1'), merged(b='1'), op(history.LIST)._replace(
            answer={'a': '1', 'b': '1'}, begun=2, ended=3)]
        verdict = self.judged(operations, {'a': '1', 'b': '1'})
        self.assertEqual({'impossible rounds': 1}, dict(verdict.faults))
        self.assertLessEqual({*verdict.marks.values()}, {'impossible rounds'})
        self.assertIn(0, verdict.marks)
        self.assertIn('No order explains these', verdict.words)

    def test_too_many_orders(self):
        self.patch(order, 'contradiction', mock.Mock(
            side_effect=order.Undecided))
        verdict = self.judged([merged(a='1')], {'a': '1'})
        self.assertEqual({judge.UNDECIDED: 1}, dict(verdict.faults))

    def test_over_quota(self):
        # Two were let in where there was room for one.
        operations = [merged(a='1'), merged(b='1')._replace(
            answer={'a': '1', 'b': '1'})]
        final = {'a': '1', 'b': '1'}
        self.assertEqual({}, dict(self.judged(operations, final).faults))
        self.assertEqual(
            {'impossible rounds': 1, 'over quota': 1},
            dict(self.judged(operations, final, quota=1).faults))

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
