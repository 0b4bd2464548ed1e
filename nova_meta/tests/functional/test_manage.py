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

"""nova-meta-manage: duplicate rows, as stock Nova leaves them under load."""


from nova.db.main import api as main_db_api
import sqlalchemy as sa

from nova_meta.db import api as db_api
from nova_meta.db import duplicates
from nova_meta.race import client
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import load

SYSTEM_METADATA = sa.table('instance_system_metadata', *map(sa.column, (
    'id', 'key', 'value', 'instance_uuid', 'deleted')))


class DuplicatesTests:

    servers_made = 16
    # The clients of a load add keys all the time.
    nova_options = {'quota': {'metadata_items': -1}}

    def assertClean(self):
        status, output = self.duplicates('--fix')
        self.assertEqual(0, status, output)
        self.assertIn(': metadata: 0 duplicate rows of 0 servers\n', output)
        self.assertIn(': system_metadata: 0 duplicate rows of 0 servers\n',
                      output)

    def add_system_metadata(self, *pairs):
        with self.host.database.begin() as connection:
            for key, value in pairs:
                connection.execute(sa.insert(SYSTEM_METADATA).values(
                    key=key, value=value, instance_uuid=self.server,
                    deleted=0))

    def system_metadata(self):
        with self.host.database.connect() as connection:
            return list(map(tuple, connection.execute(
                sa.select(SYSTEM_METADATA.c.key, SYSTEM_METADATA.c.value)
                .where(SYSTEM_METADATA.c.instance_uuid == self.server)
                .order_by(SYSTEM_METADATA.c.id))))

    def test_duplicates(self):
        self.add_rows(('a', '1'), ('b', '1'), ('a', '2'), ('a', '3'))
        # To some collations these are one key.
        self.add_rows(('B', '1'))
        self.add_system_metadata(('k', '1'), ('k', '2'), ('l', '1'))
        before = self.rows(), self.system_metadata()

        status, output = self.duplicates()
        self.assertEqual(1, status, output)
        self.assertIn(f'metadata: server {self.server}: 2 found', output)
        self.assertIn(f'system_metadata: server {self.server}: 1 found',
                      output)
        self.assertEqual(before, (self.rows(), self.system_metadata()))

        version = self.version()
        status, output = self.duplicates('--fix')
        self.assertEqual(0, status, output)
        self.assertEqual([('b', '1'), ('a', '3'), ('B', '1')], self.rows())
        self.assertEqual([('k', '2'), ('l', '1')], self.system_metadata())
        self.assertNotEqual(version, self.version())
        self.assertClean()

    @base.periodic(base.MARIADB)
    def test_max_count(self):
        servers = [next(self.unused) for _ in range(3)]
        for server in servers:
            self.add_rows(('a', '1'), ('a', '2'), server=server)
        status, output = self.duplicates('--fix', '--max-count', '2')
        self.assertEqual(1, status, output)
        self.assertEqual(2, sum(
            self.rows(server) == [('a', '2')] for server in servers))
        self.assertEqual(0, self.duplicates('--fix')[0])
        self.assertClean()
        self.assertEqual(127, self.duplicates('--max-count', '0')[0])

    def test_steps_of_any_size(self):
        self.addCleanup(self.duplicates, '--fix')
        servers = sorted(next(self.unused) for _ in range(3))
        for server, surplus in zip(servers, (2, 0, 1)):
            self.add_rows(('a', '1'), *[('b', '1')] * (1 + surplus),
                          server=server)
        context = self.context()
        reader = main_db_api.get_context_manager(context).reader
        for size in range(1, 12):
            seen, after, ends = {}, '', []
            while after is not None:
                with reader.connection.using(context) as connection:
                    found, after = duplicates.find(
                        connection, db_api.INSTANCE_METADATA, after, size)
                self.assertFalse({*seen} & {*found})
                seen.update(found)
                ends.append(after)
            self.assertEqual({servers[0]: 2, servers[2]: 1}, seen)
            if size == 1:
                # A step for each server.
                self.assertLessEqual({*servers}, {*ends})
                self.assertEqual(ends[:-1], sorted({*ends[:-1]}))

    def test_deleted_server(self):
        self.add_rows(('a', '1'), ('a', '2'))
        with self.host.database.begin() as connection:
            connection.execute(
                sa.update(base.INSTANCES)
                .where(base.INSTANCES.c.uuid == self.server)
                .values(deleted=base.INSTANCES.c.id))
        self.assertClean()
        self.assertEqual([('a', '1'), ('a', '2')], self.rows())


class LoadTests:

    @base.periodic()
    def test_under_load(self):
        servers = [next(self.unused) for _ in range(2)]
        for server in servers:
            # As stock Nova leaves them where clients set the same key.
            self.add_rows(*[('key', f'{n}') for n in range(16)], server=server)
        shown = [dict(self.rows(server)) for server in servers]

        self.serve(host.NOVA_META)
        with load.Load(load.clients_of(
                self.host, client.MetadataClient, servers[0],
                *[load.write] * 8, *[load.observe] * 4)) as clients:
            clients.go_on()
            status, output = self.duplicates('--fix')
            clients.go_on()
        self.assertEqual(0, status, output)
        # The load itself has removed those of the first server.
        for server in servers[1:]:
            self.assertIn(f'metadata: server {server}: ', output)
        # No client writes the key that had duplicates.
        self.assertEqual('', clients.contradiction(dict(self.rows(servers[0])),
                                                   shown[0]))
        self.assertLessEqual(set(clients.statuses), {200, 204, 412})
        for server, before in zip(servers[1:], shown[1:]):
            self.assertEqual(list(before.items()), self.rows(server))
        self.assertClean()


class ManageSQLiteTestCase(DuplicatesTests, base.DatabaseTestCase):
    database = base.SQLITE


class ManageMariaDBTestCase(DuplicatesTests, LoadTests,
                            base.DatabaseTestCase):
    database = base.MARIADB


class ManagePostgreSQLTestCase(DuplicatesTests, LoadTests,
                               base.DatabaseTestCase):
    database = base.POSTGRESQL
