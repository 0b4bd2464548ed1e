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

from nova_meta.cmd import status
from nova_meta.db import galera
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
        for mode, consistency, wanted in (
                ('OFF', 'EVENTUAL', 'BEFORE'),
                ('OFF', 'BEFORE_ON_PRIMARY_FAILOVER', 'BEFORE'),
                ('OFF', 'BEFORE', None), ('OFF', 'AFTER', None),
                ('ON', 'EVENTUAL', 'BEFORE_ON_PRIMARY_FAILOVER'),
                ('ON', 'BEFORE_ON_PRIMARY_FAILOVER', None)):
            code, details = self.check(
                8, 4, 3, is_mariadb=False,
                **{MODE: mode, CONSISTENCY: consistency})
            self.assertEqual(status.WARNING, code)
            self.assertIn(f'{galera.GROUP_REPLICATION} 8.4: not tested',
                          details)
            self.assertEqual(wanted is not None, 'can be lost' in details,
                             details)
            if wanted:
                self.assertTrue(details.endswith(f'set it to {wanted}'))
