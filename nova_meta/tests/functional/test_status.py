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

"""nova-meta-status upgrade check, on a private Nova."""

import importlib.util
import json
import subprocess
import sys

import sqlalchemy as sa

from nova_meta import support
from nova_meta.tests.functional import base
from nova_meta_lab import host


class StatusTests:

    def run_command(self, node=0):
        """Run nova-meta-status upgrade check.

        :returns: a tuple of its exit status, and for each check a tuple of its
            code and details
        """
        directory = self.host.environment(node)['OS_NOVA_CONFIG_DIR']
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta.cmd.status', '--config-file',
             f'{directory}/nova.conf', 'upgrade', 'check', '--json'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual('{"name"', done.stdout[:7], done.stderr)
        self.assertNotIn('Eventlet', done.stderr)
        return done.returncode, {
            one['check']: (one['result'], one['details'])
            for one in json.loads(done.stdout)['checks']}


class SingleTests(StatusTests):

    def test_in_place(self):
        host.write_api_paste(self.api_paste(), host.NOVA_META)
        status, found = self.run_command()
        self.assertEqual(0, found['Release of Nova'][0])
        self.assertEqual(0, found['Compute API'][0])
        # The Nova that tests are run with is not patched.
        self.assertEqual(1, found['Objects'][0])
        self.assertIn('nova-meta-patch apply', found['Objects'][1])
        code, details = found['Databases']
        self.assertEqual(0, code, details)
        for name in ('API', 'cell0', 'cell1'):
            self.assertIn(name, details)
        self.assertIn({base.MARIADB: 'MariaDB'}.get(
            self.database, self.host.database.dialect.name), details)
        self.assertEqual(0, found['Galera'][0])
        code, details = found['Tested']
        self.assertEqual(0, code, details)
        with self.host.database.connect() as connection:
            database = support.Database.of(connection)
        for server in support.SERVERS:
            one = support.Combination.here(database, server)
            verdict = one.verdict()
            self.assertEqual(verdict != support.NOT_SUPPORTED,
                             f'{server}: {verdict}' in details, details)
            if one.result:
                self.assertIn(f'{one.result["acknowledged"]} acknowledged',
                              details)
        self.assertEqual(3, details.count(f'{database.release}: '))
        self.assertEqual(1, status)

    def test_stock(self):
        host.write_api_paste(self.api_paste(), host.STOCK)
        status, found = self.run_command()
        self.assertEqual(2, status)
        self.assertEqual(2, found['Compute API'][0])
        self.assertIn('nova_meta.api.app:factory', found['Compute API'][1])

    def api_paste(self):
        return self.host.path / 'nova-api-0' / 'api-paste.ini'


class ProfilerTests:

    def test_osprofiler_is_installed(self):
        # Glance and Neutron bring it, and upstream's databases look for its
        # options where it is there.
        self.assertTrue(importlib.util.find_spec('osprofiler'))
        self.assertEqual(0, self.run_command()[1]['Databases'][0])


class OtherIsolationTests:

    def test_isolation_that_is_not_tested(self):
        self.set_isolation('SERIALIZABLE')
        self.addCleanup(self.set_isolation, self.isolation)
        status, found = self.run_command()
        self.assertEqual(1, found['Databases'][0])
        self.assertIn('SERIALIZABLE', found['Databases'][1])

    def set_isolation(self, level):
        with self.host.database.connect().execution_options(
                isolation_level='AUTOCOMMIT') as connection:
            connection.execute(sa.text(self.statement.format(
                level=level, database=self.host.database.url.database)))


class StatusSQLiteTestCase(SingleTests, ProfilerTests, base.DatabaseTestCase):
    database = base.SQLITE
    servers_made = 3


class StatusMariaDBTestCase(SingleTests, base.DatabaseTestCase):
    database = base.MARIADB
    servers_made = 3


class StatusPostgreSQLTestCase(SingleTests, OtherIsolationTests,
                               base.DatabaseTestCase):
    database = base.POSTGRESQL
    servers_made = 3
    isolation = 'read committed'
    statement = ('ALTER DATABASE {database} '
                 "SET default_transaction_isolation = '{level}'")
