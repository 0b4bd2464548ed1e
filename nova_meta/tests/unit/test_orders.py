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

import datetime
import itertools
import time
from unittest import mock

import sqlalchemy as sa
import testtools

from nova_meta import etag
from nova_meta.race import history
from nova_meta_lab import calls
from nova_meta_lab import orders
from nova_meta_lab import stepper


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


class LocksTestCase(testtools.TestCase):

    def test_looking_changes_no_connection_of_the_pool(self):
        engine = sa.create_engine('sqlite://')
        since = time.monotonic() - 2 * stepper.LONG_COMMIT
        self.assertFalse(stepper.Locks(engine).waits(
            mock.Mock(is_committing=True, since=since)))
        with engine.connect() as connection:
            self.assertEqual(5000, connection.exec_driver_sql(
                'PRAGMA busy_timeout').scalar_one())


class CommuteTestCase(testtools.TestCase):

    READ = 'SELECT instance_metadata'
    LOCK = 'SELECT instances FOR UPDATE'
    WRITE = 'UPDATE instances'

    def test_on_one_server(self):
        for one in self.READ, self.LOCK, self.WRITE, 'COMMIT':
            for other in self.READ, self.LOCK, self.WRITE, 'COMMIT':
                self.assertEqual(
                    self.READ in (one, other) and 'COMMIT' not in (one, other),
                    orders.commute(one, other, apart=False))

    def test_on_two_nodes(self):
        self.assertTrue(orders.commute(self.LOCK, self.LOCK, apart=True))
        self.assertTrue(orders.commute(self.WRITE, self.READ, apart=True))
        self.assertFalse(orders.commute('COMMIT', self.READ, apart=True))
        self.assertFalse(orders.commute(self.LOCK, 'COMMIT', apart=True))


class CallTestCase(testtools.TestCase):

    def test_condition(self):
        # Of what there was, or of what the one before was answered.
        one = calls.REPLACE._replace(conditional=True)
        tag = f'"{etag.of_map(calls.BEFORE)}"'
        self.assertEqual({'If-Match': tag}, one.request('A')['headers'])
        self.assertEqual({'If-Match': '"x"'},
                         one.request('A', '"x"')['headers'])
        self.assertEqual({}, one.unconditional().request('A')['headers'])

    def test_names(self):
        self.assertEqual(['merge', 'merge', 'list, replace if'],
                         [*map(str, calls.THREE)])
        self.assertEqual('list, replace', str(calls.THREE[-1].unconditional()))


class CountTestCase(testtools.TestCase):

    ROWS = [*calls.BEFORE.items()]

    def played(self, answer, final, status=200, updated_at=None):
        return orders.Played([], [(0, 'COMMIT')], [orders.Map(
            calls.BEFORE, [history.Operation(
                history.MERGE, None, {'a': 'A'}, status, answer, 0, 1,
                writer=0)], final)],
            updated_at or orders.TOUCHED + datetime.timedelta(seconds=1))

    def test_count(self):
        after = {**calls.BEFORE, 'a': 'A'}
        rows = [*after.items()]
        count = orders.Count.of([
            self.played(after, rows),
            self.played(after, self.ROWS),
            self.played(after, [*rows, ('b', '0')]),
            self.played(None, self.ROWS, 409),
            self.played(None, self.ROWS, 500)])
        self.assertEqual((5, 2, 0, 2), count[:-1])
        self.assertIn('A: COMMIT;', count.first)
        self.assertIn("merge {'a': 'A'}: 200", count.first)

    def test_updated_at(self):
        after = {**calls.BEFORE, 'a': 'A'}
        rows = [*after.items()]
        old = orders.TOUCHED - datetime.timedelta(seconds=1)
        for behind, one in (
                (1, self.played(after, rows, 200, orders.TOUCHED)),
                (0, self.played(None, self.ROWS, 409, orders.TOUCHED)),
                (1, self.played(None, self.ROWS, 409, old))):
            count = orders.Count.of([one])
            self.assertEqual((0, behind), (count.wrong, count.behind))
            self.assertEqual(bool(behind), bool(count.first))

    def test_maps_are_judged_apart(self):
        after = {**calls.BEFORE, 'a': 'A'}
        right = self.played(after, [*after.items()])
        wrong = self.played(after, self.ROWS)
        both = right._replace(maps=right.maps + wrong.maps)
        self.assertFalse(both.is_explained)
        self.assertTrue(right._replace(maps=right.maps * 2).is_explained)

    def test_evidence(self):
        names = 'merge', 'set'
        page = orders.page(
            {('sqlite', 'metadata', 'nova-meta'): orders.Found(
                {names: orders.Count(12)}, .5),
             ('sqlite', 'metadata', 'stock'): orders.Found(
                {names: orders.Count(20, 7, 0, 0, 'lost')}, .5)},
            ['sqlite'], 1.5)
        self.assertIn('orders sqlite``', page)
        self.assertIn('   * - sqlite\n     - merge and set\n     - 12\n'
                      '     - 0\n     - 20\n     - 7\n', page)
