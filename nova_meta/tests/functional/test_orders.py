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

"""Every order of two requests, step by step.

Those of all kinds of requests on all databases: ``tox -e orders``.
"""

import contextlib
import itertools
import random

from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import host
from nova_meta_lab import orders

KINDS = {str(one): one for one in orders.CALLS['metadata']}
# Those that differ in what they lock, read and write.
PAIRS = list(itertools.combinations_with_replacement(
    [KINDS[name] for name in ('merge', 'replace', 'delete', 'merge if')], 2))


class Playing:

    def playing(self, app_factory):
        return contextlib.closing(orders.Orders(
            self.host, 'metadata', self.server, app_factory))


class OrdersTests(Playing):

    def test_orders(self):
        with self.playing(host.NOVA_META) as played:
            for pair in PAIRS:
                count = orders.Count.of(played.all_of(pair))
                self.assertEqual('', count.first, pair)
                self.assertGreater(count.orders, 8)
                self.assertEqual(0, count.refused)


class WrongTests(Playing):
    """What these orders show of other ways to do it."""

    def test_stock(self):
        pair = [KINDS['merge']] * 2
        with self.playing(host.STOCK) as played:
            count = orders.Count.of(
                played.some_of(pair, 20, random.Random(1650188)))
        self.assertGreater(count.wrong, 10)
        self.assertIn('UPDATE instance_metadata', count.first)

    def test_condition_checked_before(self):
        # Some orders show it, and those that have nothing between do not.
        with self.playing(mutants.path_of(mutants.checked_before)) as played:
            count = orders.Count.of(played.all_of(
                [KINDS['merge if'], KINDS['merge']]))
        self.assertGreater(count.wrong, 0)
        self.assertLess(count.wrong, count.orders)

    def test_replace_merged(self):
        with self.playing(mutants.path_of(mutants.merges_replace)) as played:
            count = orders.Count.of(played.all_of([KINDS['merge']] * 2))
        self.assertEqual(count.orders, count.wrong)


class OrdersSQLiteTestCase(OrdersTests, base.DatabaseTestCase):
    database = base.SQLITE


class OrdersMariaDBTestCase(OrdersTests, WrongTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class OrdersMariaDBSnapshotTestCase(OrdersTests, base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


@base.periodic_class
class OrdersPostgreSQLTestCase(OrdersTests, WrongTests,
                               base.DatabaseTestCase):
    database = base.POSTGRESQL
