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

"""Many HTTP clients at one server, on every database.

Everything that they are told is held against what is in the database. The same
workloads have to show what is wrong with stock Nova, or they prove nothing.
"""

import os

from nova_meta.race import judge
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import target as targets

ROUNDS = int(os.environ.get('NOVA_META_TEST_ROUNDS', 1))
# Stock loses in the first round, nearly always.
MOST_ROUNDS = 5


class Play:
    """What a test case needs to play workloads."""

    target = targets.METADATA

    @property
    def name(self):
        """The ID of the server or flavor that the clients write to."""
        return self.server

    def play(self, one, writers, rounds, room=workload.QUOTA):
        """Play a workload.

        :param room: how many items the clients may write together
        """
        player = workload.Player(targets.InDatabase(
            self.host, self.name, self.target), room)
        return sum((player.play(one, writers) for _ in range(rounds)),
                   judge.Result())

    def assertNothingWrong(self, result, what):
        self.assertEqual({}, dict(+result.faults), what)
        self.assertEqual(0, result.errors,
                         f'{what}: {result.statuses}\n{self.host.log()}')


class WorkloadTests(Play):

    workloads = workload.WORKLOADS
    writers, many_writers = 16, 64
    stock_faults = [('merge', 'lost updates'),
                    ('set', 'lost updates'),
                    ('delete and merge', 'resurrected deletes'),
                    ('delete same key', 'double deletes')]

    def test_workloads(self):
        self.serve(host.OURS)
        for one in self.workloads:
            result = self.play(one, self.writers, ROUNDS)
            self.assertNothingWrong(result, one.name)
            self.assertGreater(result.acknowledged, 0, one.name)

    @base.periodic()
    def test_many_writers(self):
        self.serve(host.OURS)
        for one in self.workloads:
            self.assertNothingWrong(self.play(one, self.many_writers, 1),
                                    one.name)

    @base.periodic(base.MARIADB)
    def test_stock(self):
        self.serve(host.STOCK)
        for name, fault in self.stock_faults:
            one = workload.named(name, self.target.workloads)
            for _ in range(MOST_ROUNDS):
                # More of them take long, and say no more.
                result = self.play(one, self.writers, 1, 2 * self.writers)
                if result.faults[fault]:
                    break
            else:
                self.fail(f'stock Nova shows no {fault}')


class WorkloadsSQLiteTestCase(WorkloadTests, base.DatabaseTestCase):
    database = base.SQLITE


class WorkloadsMariaDBTestCase(WorkloadTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class WorkloadsMariaDBSnapshotTestCase(WorkloadTests, base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


class WorkloadsPostgreSQLTestCase(WorkloadTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
