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

"""What nova-meta-status says of the combination that is used."""

import platform

from nova import version as nova_version
import testtools

from nova_meta.cmd import status
from nova_meta import support
from nova_meta.tests.unit import test_galera
from nova_meta.tests.unit import test_support

MODE, CONSISTENCY = ('group_replication_single_primary_mode',
                     'group_replication_consistency')


class TestedTestCase(test_support.SupportTestCase):

    def setUp(self):
        super().setUp()
        # Whatever the tests are run with.
        self.patch(nova_version, 'version_string', lambda: '31.0.1')
        self.patch(platform, 'python_version', lambda: '3.11.7')
        self.use_results(
            test_support.result(nova='31.3.1'),
            test_support.result(nova='31.3.1', server=support.EVENTLET,
                                acknowledged=77))

    def check(self, *version, is_mariadb=True, **variables):
        connection = test_galera.connection('mysql', **variables)
        connection.dialect.is_mariadb = is_mariadb
        connection.dialect.server_version_info = version
        result = status._tested(connection)
        return result.code, result.details

    def test_tested(self):
        self.assertEqual((
            status.SUCCESS, 'Nova 31, Python 3.11, MariaDB 10.11: '
            'threads: tested on 2026-11-01 with Nova 31.3.1, MariaDB 10.11.14,'
            ' 1234 acknowledged writes; '
            'eventlet: tested on 2026-11-01 with Nova 31.3.1, MariaDB '
            '10.11.14, 77 acknowledged writes; '
            'nova-api: expected, not tested'), self.check(10, 11, 6))

    def test_failed(self):
        self.use_results(test_support.result(
            nova='31.3.1', faults={'lost updates': 2}))
        code, details = self.check(10, 11, 6)
        self.assertEqual(status.WARNING, code)
        self.assertIn('threads: failed on 2026-11-01', details)

    def test_expected(self):
        code, details = self.check(11, 8, 9)
        self.assertEqual(status.SUCCESS, code)
        self.assertIn('MariaDB 11.8: threads: expected, not tested', details)

    def test_not_supported(self):
        self.patch(platform, 'python_version', lambda: '3.13.0')
        self.assertEqual(
            (status.WARNING,
             'Nova 31, Python 3.13, MariaDB 10.11: not supported'),
            self.check(10, 11, 6))

    def test_cluster_that_is_not_tested(self):
        self.assertEqual(
            (status.WARNING, 'Nova 31, Python 3.11, Percona XtraDB Cluster '
             '8.0: not tested'),
            self.check(8, 0, 42, is_mariadb=False, wsrep_on='ON'))

    def test_group_replication(self):
        code, details = self.check(
            9, 7, 4, is_mariadb=False,
            group_replication_single_primary_mode='OFF')
        self.assertEqual(status.SUCCESS, code)
        self.assertIn('MySQL Group Replication 9.7: threads: expected',
                      details)


class ClusterTestCase(testtools.TestCase):

    def check(self, **variables):
        connection = test_galera.connection('mysql', **variables)
        # Rows, as SHOW VARIABLES returns them.
        connection.execute.return_value.__iter__ = lambda result: iter(
            variables.items())
        result = status._galera(connection)
        return result.code, result.details

    def test_none(self):
        self.assertEqual((status.SUCCESS, 'no Galera cluster'), self.check())

    def test_galera(self):
        variables = {'wsrep_on': 'ON', 'wsrep_sync_wait': '0',
                     'binlog_format': 'ROW', 'innodb_autoinc_lock_mode': '2'}
        self.assertEqual(
            (status.SUCCESS, 'Galera, and reads may be behind '
             '([database]/mysql_wsrep_sync_wait)'), self.check(**variables))
        self.assertEqual(
            (status.SUCCESS, 'Galera, and reads wait until the node has '
             'caught up'), self.check(**variables | {'wsrep_sync_wait': '1'}))
        self.assertEqual(
            (status.FAILURE, 'binlog_format is MIXED'),
            self.check(**variables | {'binlog_format': 'MIXED'}))

    def test_group_replication(self):
        for consistency, found in (
                ('EVENTUAL', 'may be behind (group_replication_consistency)'),
                ('BEFORE', 'wait until the node has caught up')):
            self.assertEqual(
                (status.SUCCESS, f'MySQL Group Replication, and reads {found}'
                 ), self.check(**{MODE: 'OFF', CONSISTENCY: consistency}))
