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
import random

from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import calls
from nova_meta_lab import host
from nova_meta_lab import orders

KINDS = {str(one): one for one in (*calls.PLAIN, *calls.CONDITIONAL)}
MERGES = [calls.MERGE] * 2
# Those that differ in what they lock, read and write.
PAIRS = calls.pairs(
    [KINDS[name] for name in ('merge', 'replace', 'delete', 'merge if')])


class Playing:

    def playing(self, app_factory=host.OURS, **kwargs):
        return contextlib.closing(orders.Orders(
            self.host, calls.METADATA, self.server, app_factory, **kwargs))

    def assertExplained(self, played, pair):
        count = orders.Count.of(played)
        self.assertEqual('', count.first, pair)
        self.assertEqual(0, count.refused, pair)
        return count


class OrdersTests(Playing):

    def test_orders(self):
        with self.playing(count=3) as played:
            for pair in PAIRS:
                count = self.assertExplained(played.all_of(pair), pair)
                self.assertGreater(count.orders, 3)
            for some in [calls.SAVE, calls.MERGE], calls.THREE:
                self.assertExplained(played.some_of(
                    some, 5, random.Random(1650188)), some)


class CommuteTests(Playing):
    """Orders that differ only in steps that commute."""

    def outcomes(self, pair, is_whole):
        with self.playing(is_whole=is_whole) as playing:
            played = list(playing.all_of(pair))
        return {one.outcome for one in played}, len(played)

    def test_same_outcomes(self):
        for pair in [calls.SAVE, calls.LIST], [KINDS['merge if'], calls.MERGE]:
            whole, many = self.outcomes(pair, True)
            less, few = self.outcomes(pair, False)
            self.assertEqual(whole, less)
            self.assertLess(few, many)


class WrongTests(Playing):
    """What these orders show of other ways to do it."""

    def test_stock(self):
        with self.playing(host.STOCK) as played:
            count = orders.Count.of(
                played.some_of(MERGES, 20, random.Random(1650188)))
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
            count = orders.Count.of(played.all_of(MERGES))
        self.assertEqual(count.orders, count.wrong)

    def test_replace_saved_as_difference(self):
        with self.playing(mutants.path_of(mutants.saves_replace)) as played:
            count = orders.Count.of(played.all_of(
                [calls.REPLACE, calls.MERGE]))
        self.assertGreater(count.wrong, 0)
        self.assertLess(count.wrong, count.orders)
        self.assertIn("replace {'a': 'A', 'new A': 'A'}: 200", count.first)


class SwapAloneTests(Playing):

    def test_swap_alone(self):
        # The column keeps whole seconds here: if the server was changed in the
        # same second before, a version is swapped for itself, and matches
        # although the rows were read before another one has committed.
        # PostgreSQL keeps microseconds, and shows it only if the clock goes
        # back. SQLite takes no write that follows an older read.
        self.need_old_reads()
        with self.playing(mutants.path_of(mutants.swap_alone)) as played:
            wrong = [str(one) for one in played.all_of(MERGES)
                     if not one.is_explained]
        self.assertIn("merge {'a': 'B', 'new B': 'B'}: "
                      "200 {'a': 'B', 'b': '0', 'new B': 'B'}", wrong[0])


class OrdersSQLiteTestCase(OrdersTests, base.DatabaseTestCase):
    database = base.SQLITE

    def test_commit_waits_for_reader(self):
        # And another one who writes, for that COMMIT. A service reads a server
        # in several statements, and holds what they share until the last.
        some = *MERGES, calls.SAVE
        with self.playing(count=3, is_whole=True) as played:
            alone = [step for _, step in played.play(some[:1], []).steps]
            to_lock = alone.index('UPDATE instances') + 1
            order = played.play(some, [2] + [0] * to_lock + [1] * to_lock)
        self.assertExplained([order], some)
        commit = order.steps.index((0, 'COMMIT'))
        self.assertIn((1, 'UPDATE instances'), order.steps[:commit])
        self.assertIn((2, 'UPDATE instances'), order.steps[commit:])


class OrdersMariaDBTestCase(OrdersTests, WrongTests, SwapAloneTests,
                            base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class CommuteMariaDBTestCase(CommuteTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class CommutePostgreSQLTestCase(CommuteTests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class CommuteSQLiteTestCase(CommuteTests, base.DatabaseTestCase):
    database = base.SQLITE


class RebuildTests(base.WithServices, Playing):

    servers_made = 4

    def test_rebuild(self):
        with self.playing() as played:
            for other in calls.MERGE, calls.REPLACE, calls.SAVE:
                pair = [calls.REBUILD, other]
                self.assertExplained(played.some_of(
                    pair, 10, random.Random(1650188)), pair)


@base.periodic_class
class OrdersRebuildMariaDBTestCase(RebuildTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class OrdersMariaDBSnapshotTestCase(OrdersTests, base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


@base.periodic_class
class OrdersPostgreSQLTestCase(OrdersTests, WrongTests,
                               base.DatabaseTestCase):
    database = base.POSTGRESQL
