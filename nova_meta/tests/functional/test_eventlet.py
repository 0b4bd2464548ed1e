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

"""nova-api, nova-conductor and nova-compute in green threads, up to Nova 32.

A green thread that waits for the database lets others of its process go on, if
the driver waits the way of eventlet: PyMySQL does, and psycopg2 does, which
eventlet patches.
"""

import collections
import importlib.metadata
import json
import subprocess
import sys

import sqlalchemy as sa

from nova_meta.race import client
from nova_meta import release
from nova_meta import support
from nova_meta.tests.functional import base
from nova_meta.tests.functional import test_workloads as workloads
from nova_meta_lab import host
from nova_meta_lab import target as targets

NOVA = release.major(importlib.metadata.version('nova'))
# Clients that wait for one lock.
WAITING = 8
# Counts them, in the database of the server, or on all of MariaDB.
COUNT = {
    'mysql': 'SELECT count(*) FROM information_schema.innodb_trx '
             "WHERE trx_state = 'LOCK WAIT'",
    'postgresql': 'SELECT count(*) FROM pg_stat_activity '
                  'WHERE datname = current_database() '
                  'AND cardinality(pg_blocking_pids(pid)) > 0',
}


class Greened(workloads.Play):
    """What test cases need whose nova-api is in green threads."""

    servers_made = 12
    served_by = support.NOVA_API

    @classmethod
    def make_host(cls, url):
        if NOVA not in support.SERVERS[cls.served_by]:
            raise cls.skipException(
                f'Nova {NOVA} does not run that in green threads')
        return super().make_host(url)

    def merge(self, number):
        """Send a request with a key of its own.

        :returns: its status
        """
        return client.MetadataClient(self.url, self.server).merge(
            {str(number): 'new'}).status

    def clients(self):
        """Let clients begin requests at once.

        :returns: a list of :class:`base.Running`
        """
        return [self.in_thread(self.merge, number)
                for number in range(WAITING)]

    def assertThere(self, statuses):
        """See that there is what was acknowledged, and nothing else."""
        self.assertEqual(
            [(str(number), 'new') for number, status in enumerate(statuses)
             if status == 200], sorted(self.rows()))


class NovaAPITests(Greened, workloads.WorkloadTests):
    """Its own server: Nova 29 to 31."""


class UWSGITests(Greened, workloads.WorkloadTests):
    """A process for each request: Nova 29 to 32."""

    served_by = support.EVENTLET
    processes = 4


class LockTests(Greened):
    """All clients have one process, and somebody else has the lock."""

    processes = 1

    def wait(self, app_factory):
        """Have clients wait for the lock, and another one look elsewhere.

        :returns: the statuses of the former
        """
        self.serve(app_factory)
        self.server = next(self.unused)
        other = client.MetadataClient(self.url, next(self.unused))
        with self.row_locked():
            waiting = self.clients()
            while self.count() < WAITING:
                self.assertTrue(all(one.waits for one in waiting))
            self.assertEqual(200, self.in_thread(other.list).result().status)
        return [one.result() for one in waiting]

    def count(self):
        with self.host.database.connect() as connection:
            return connection.execute(sa.text(
                COUNT[connection.dialect.name])).scalar_one()

    def test_lock(self):
        statuses = self.wait(host.NOVA_META)
        self.assertEqual([200] * WAITING, statuses, self.host.log())
        self.assertThere(statuses)

    def test_lock_stock(self):
        self.assertEqual([200] * WAITING, self.wait(host.STOCK))


class TimeoutTests(Greened):
    """The lock is held for longer than a request is tried."""

    processes = 1
    nova_options = {'nova_meta': {'retry_timeout': 1}}

    @classmethod
    def database_url(cls):
        cls.database = base.Database(cls.database.server,
                                     cls.database.impatient)
        return super().database_url()

    def test_timeout(self):
        self.serve(host.NOVA_META)
        with self.row_locked():
            statuses = [one.result() for one in self.clients()]
        self.assertEqual([409] * WAITING, statuses, self.host.log())
        self.assertEqual([], self.rows())
        self.assertEqual(200, self.merge('later'))


class PoolTests(Greened):
    """More clients wait for the lock than there are connections."""

    processes = 1
    connections = 2
    nova_options = {'database': {'max_pool_size': connections,
                                 'max_overflow': 0, 'pool_timeout': 1}}

    def exhaust(self, app_factory):
        """Count the answers to requests while the lock is held, and after."""
        self.serve(app_factory)
        self.server = next(self.unused)
        with self.row_locked():
            running = self.clients()
            refused = WAITING - self.connections
            while sum(not one.thread.is_alive() for one in running) < refused:
                running[0].thread.join(base.GRACE)
        statuses = [one.result() for one in running]
        self.assertIn('QueuePool limit', self.host.log(1000))
        self.assertEqual({200: self.connections, 500: refused},
                         collections.Counter(statuses))
        return statuses

    def test_pool(self):
        self.assertThere(self.exhaust(host.NOVA_META))
        self.assertEqual(200, self.merge('later'))

    def test_pool_stock(self):
        self.exhaust(host.STOCK)


class ConductorTests(Greened):
    """Services that save a server, through nova-conductor, and clients."""

    # nova-api does not matter.
    served_by = support.EVENTLET

    def save(self, *options):
        """Let services save the server.

        :returns: how many values are lost, and the errors that they met
        """
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta_lab.savers', self.server,
             '--config-file', self.host.nova_conf(), *options],
            env={**self.host.environment(),
                 host.PATCHING_DISABLED: 'false',
                 'OS_DATABASE__CONNECTION': self.host.url('cell1'),
                 # What schedules servers wants one.
                 'OS_PLACEMENT__AUTH_TYPE': 'none',
                 'OS_PLACEMENT__ENDPOINT_OVERRIDE': 'http://127.0.0.1:9'},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=client.TIMEOUT)
        self.assertEqual(0, done.returncode, done.stderr)
        told = json.loads(done.stdout)
        self.assertTrue(told['greened'])
        self.assertTrue(told['kept'], done.stderr)
        with self.host.database.connect() as connection:
            found = targets.SYSTEM_METADATA.rows(connection, self.server)
        return len(told['kept'].items() - found), told['errors']

    def test_saves(self):
        self.serve(host.NOVA_META)
        clients = self.clients()
        self.assertEqual((0, []), self.save())
        self.assertThere([one.result() for one in clients])

    def test_stock_loses_saves(self):
        lost, _ = self.save('--stock')
        self.assertGreater(lost, 0)


@base.periodic_class
class NovaAPIMariaDBTestCase(NovaAPITests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class NovaAPIPostgreSQLTestCase(NovaAPITests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class UWSGIMariaDBTestCase(UWSGITests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class UWSGIPostgreSQLTestCase(UWSGITests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class LockMariaDBTestCase(LockTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class LockPostgreSQLTestCase(LockTests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class TimeoutMariaDBTestCase(TimeoutTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class TimeoutPostgreSQLTestCase(TimeoutTests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class PoolMariaDBTestCase(PoolTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class PoolPostgreSQLTestCase(PoolTests, base.DatabaseTestCase):
    database = base.POSTGRESQL


@base.periodic_class
class ConductorMariaDBTestCase(ConductorTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class ConductorPostgreSQLTestCase(ConductorTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
