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

import itertools

import testtools

from nova_meta.race import history
from nova_meta_lab import orders


class ChoicesTestCase(testtools.TestCase):

    def test_all_orders_are_chosen_once(self):
        # As many as there are ways to mix three steps with two.
        seen, choices = [], []
        while choices is not None:
            taken, left = [], [3, 2]
            order = []
            while any(left):
                ready = [one for one in (0, 1) if left[one]]
                place = len(taken)
                chosen = choices[place] if place < len(choices) else 0
                taken.append((chosen, len(ready)))
                order.append(ready[chosen])
                left[ready[chosen]] -= 1
            seen.append(tuple(order))
            choices = orders.next_choices(taken)
        self.assertEqual({*itertools.permutations([0, 0, 0, 1, 1])}, {*seen})
        self.assertEqual(10, len(seen))


class CountTestCase(testtools.TestCase):

    def played(self, answer, final, status=200):
        return orders.Played([], [(0, 'COMMIT')], [history.Operation(
            history.MERGE, None, {'a': 'A'}, status, answer, 0, 1, writer=0)],
            final)

    def test_count(self):
        after = {**orders.BEFORE, 'a': 'A'}
        rows = [*after.items()]
        count = orders.Count.of([
            self.played(after, rows),
            self.played(after, [*orders.BEFORE.items()]),
            self.played(after, [*rows, ('b', '0')]),
            self.played(None, [*orders.BEFORE.items()], 409)])
        self.assertEqual((4, 2, 1), count[:3])
        self.assertIn('A: COMMIT;', count.first)
        self.assertIn("merge {'a': 'A'}: 200", count.first)

    def test_evidence(self):
        counts = {('merge', 'set'): orders.Count(12, 0, 0, '')}
        page = orders.page(
            {('sqlite', 'metadata', 'nova-meta'): counts,
             ('sqlite', 'metadata', 'stock'): {
                 ('merge', 'set'): orders.Count(20, 7, 0, 'lost')}},
            ['sqlite'], 1.5)
        self.assertIn('orders sqlite``', page)
        self.assertIn('   * - sqlite\n     - merge and set\n     - 12\n'
                      '     - 0\n     - 20\n     - 7\n', page)
