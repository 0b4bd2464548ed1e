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

"""What may be decided by a node that lags behind."""

from unittest import mock

import testtools

from nova_meta.db import galera
from nova_meta.db import swap


def connection(dialect, **variables):
    """Make a connection to a database that has these variables."""
    made = mock.Mock(info={})
    made.dialect.configure_mock(name=dialect, is_mariadb=True)
    made.execute.return_value.all.return_value = list(variables.items())
    return made


CLUSTER = {'wsrep_on': 'ON', 'wsrep_sync_wait': '0'}


class MayLagTestCase(testtools.TestCase):

    def test_node_of_a_cluster(self):
        self.assertTrue(galera.may_lag(connection('mysql', **CLUSTER)))
        self.assertTrue(galera.may_lag(connection('mariadb', **CLUSTER)))
        # It waits before other things than reads.
        self.assertTrue(galera.may_lag(connection(
            'mysql', wsrep_on='ON', wsrep_sync_wait='6')))

    def test_member_of_a_group(self):
        for mode, consistency, may_lag in (
                ('OFF', 'EVENTUAL', True),
                ('OFF', 'BEFORE_ON_PRIMARY_FAILOVER', True),
                ('OFF', 'BEFORE', False), ('OFF', 'AFTER', False),
                ('ON', 'EVENTUAL', True),
                ('ON', 'BEFORE_ON_PRIMARY_FAILOVER', False)):
            self.assertEqual(may_lag, galera.may_lag(connection(
                'mysql', group_replication_single_primary_mode=mode,
                group_replication_consistency=consistency)))

    def test_no_cluster(self):
        for variables in ({}, {'wsrep_on': 'OFF', 'wsrep_sync_wait': '0'}):
            self.assertFalse(galera.may_lag(connection('mysql', **variables)))

    def test_single_server_of_mysql(self):
        # It has the variable although it has not the plugin.
        self.assertFalse(galera.may_lag(connection(
            'mysql', group_replication_consistency='EVENTUAL')))

    def test_other_databases_are_not_asked(self):
        for dialect in 'postgresql', 'sqlite':
            asked = connection(dialect)
            self.assertFalse(galera.may_lag(asked))
            asked.execute.assert_not_called()

    def test_reads_that_wait(self):
        for bits in '1', '7', '15':
            self.assertFalse(galera.may_lag(connection(
                'mysql', wsrep_on='ON', wsrep_sync_wait=bits)))

    def test_asked_once(self):
        asked = connection('mysql', **CLUSTER)
        galera.may_lag(asked)
        galera.may_lag(asked)
        asked.execute.assert_called_once()

    def test_group_is_asked_each_time(self):
        # It can be given several primary servers while a connection lives.
        asked = connection('mysql', group_replication_consistency='EVENTUAL',
                           group_replication_single_primary_mode='ON')
        galera.may_lag(asked)
        galera.may_lag(asked)
        self.assertEqual(2, asked.execute.call_count)


class CertifiesTestCase(testtools.TestCase):

    def test_node_of_a_cluster(self):
        for wait in '0', '1':
            self.assertTrue(galera.certifies(connection(
                'mysql', wsrep_on='ON', wsrep_sync_wait=wait)))

    def test_group_of_mysql_servers(self):
        name = 'group_replication_single_primary_mode'
        self.assertTrue(galera.certifies(connection(
            'mysql', **{name: 'OFF'})))
        self.assertFalse(galera.certifies(connection(
            'mysql', **{name: 'ON'})))

    def test_single_server(self):
        self.assertFalse(galera.certifies(connection('mysql')))
        self.assertFalse(galera.certifies(connection('postgresql')))


class ClusterTestCase(testtools.TestCase):

    def test_kinds(self):
        node = connection('mysql', **CLUSTER)
        self.assertEqual(galera.GALERA, galera.cluster(node))
        node.dialect.is_mariadb = False
        self.assertEqual(galera.XTRADB_CLUSTER, galera.cluster(node))
        for mode in 'ON', 'OFF':
            self.assertEqual(galera.GROUP_REPLICATION, galera.cluster(
                connection('mysql',
                           group_replication_single_primary_mode=mode)))

    def test_single_server(self):
        for dialect in 'mysql', 'sqlite':
            self.assertIsNone(galera.cluster(connection(dialect)))


class ConfirmedTestCase(testtools.TestCase):

    def check(self, before, after, check=swap.refuse_nothing, **variables):
        galera.confirmed(
            connection('mysql', **(variables or CLUSTER)),
            check)(None, before, after)

    def refuse(self, parent, before, after):
        raise ValueError()

    def test_writes(self):
        self.check({}, {'a': '1'})

    def test_changes_nothing(self):
        self.assertRaises(galera.Unconfirmed, self.check, {'a': '1'},
                          {'a': '1'})

    def test_refuses(self):
        self.assertRaises(galera.Unconfirmed, self.check, {}, {'a': '1'},
                          self.refuse)

    def test_single_server_is_sure(self):
        self.assertRaises(ValueError, self.check, {}, {'a': '1'}, self.refuse,
                          wsrep_on='OFF')
        self.check({}, {}, wsrep_on='OFF')


class CatchUpTestCase(testtools.TestCase):

    def statements(self, **variables):
        asked = connection('mysql', **variables)
        galera.catch_up(asked)
        return [str(call.args[0]) for call in asked.execute.call_args_list]

    def test_waits_on_a_node(self):
        self.assertIn('wsrep_sync_wait', self.statements(**CLUSTER)[-1])

    def test_waits_in_a_group(self):
        found = self.statements(group_replication_single_primary_mode='OFF',
                                group_replication_consistency='EVENTUAL')
        self.assertEqual('BEGIN', found[-3])
        self.assertIn("'BEFORE'", found[-4])
        self.assertIn('DEFAULT', found[-1])

    def test_connection_that_has_failed_is_not_used_again(self):
        asked = connection('mysql', **CLUSTER)
        galera.may_lag(asked)
        asked.execute.side_effect = ValueError
        self.assertRaises(ValueError, galera.catch_up, asked)
        asked.invalidate.assert_called_once_with()

    def test_does_nothing_elsewhere(self):
        self.assertEqual(1, len(self.statements(wsrep_on='OFF')))
