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

"""A rebuild that gives a server its metadata, while others change it.

To the user it replaces the map, as PUT does. Each round has one rebuild and
some other requests, and has to be explained by one of their orders.
"""

import os

import sqlalchemy as sa
from testtools import content

from nova_meta.race import judge
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import target

ROUNDS = int(os.environ.get('NOVA_META_TEST_ROUNDS', 1))
WRITERS = 4
# Stock needs a few, of those calls that it loses to.
STOCK_ROUNDS = 60

SERVERS = sa.table('instances', sa.column('uuid'), sa.column('task_state'))

BEFORE = {'a': 'old', 'b': 'old'}
OTHERS = {
    'replace': lambda me: ('replace', {'a': str(me), str(me): 'new'}),
    'merge': lambda me: ('merge', {'a': str(me), str(me): 'new'}),
    'set': lambda me: ('set', str(me), 'new'),
    'delete': lambda me: ('delete', 'ab'[me % 2]),
}


class Subject(target.InDatabase):
    """The metadata of a server that can be rebuilt."""

    def client(self, number):
        # One of them, the others do something else.
        if number:
            return super().client(number)
        return target.ActionClient(self._urls[0], self._name)

    def prepare(self, pairs):
        super().prepare(pairs)
        with self._database.begin() as connection:
            connection.execute(
                sa.update(SERVERS).where(SERVERS.c.uuid == self._name)
                .values(task_state=None))


def rebuild_and(other):
    """Return a workload: one rebuild, and other requests at the same time."""
    def requests(me, writers, room, rng):
        return [OTHERS[other](me) if me else (
            'rebuild', {'a': 'rebuilt', 'r': 'new'})]

    return workload.Workload(
        f'rebuild and {other}', lambda writers, room: BEFORE, requests,
        WRITERS, whole=True)


class RebuildTests(base.WithServices):

    servers_made = 4

    def play(self, app_factory, other, rounds):
        """Play rounds.

        :returns: a :class:`judge.Result`
        """
        self.serve(app_factory)
        player = workload.Player(Subject(self.host, self.server))
        result = judge.Result()
        for _ in range(rounds):
            one = player.play(rebuild_and(other), WRITERS)
            # It has been rebuilt, or this says nothing.
            self.assertEqual(202, player.played.operations[0].status,
                             self.host.log())
            if +one.faults:
                self.addDetail('round', content.text_content(
                    '\n'.join(map(str, player.played))))
            result += one
        return result

    def test_rebuild(self):
        for other in OTHERS:
            result = self.play(host.OURS, other, 10 * ROUNDS)
            self.assertEqual({}, dict(+result.faults), other)
            self.assertLessEqual(set(result.statuses), {200, 202, 204, 404,
                                                        409}, other)

    def test_rebuild_on_stock(self):
        # It does merge and delete by what it has read.
        for _ in range(STOCK_ROUNDS):
            for other in 'merge', 'delete':
                if self.play(host.STOCK, other, 1).faults[
                        'impossible rounds']:
                    return
        self.fail('the fault is not seen')


@base.periodic_class
class RebuildSQLiteTestCase(RebuildTests, base.DatabaseTestCase):
    database = base.SQLITE


class RebuildMariaDBTestCase(RebuildTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class RebuildPostgreSQLTestCase(RebuildTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
