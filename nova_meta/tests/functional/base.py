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

"""Test cases on real databases with Nova's own schema.

A test that is to run on every database is written once, in a class that is no
test case, and inherited by one class for each database. What is tested on
MariaDB is tested on MySQL, too, if there is one.
"""

import contextlib
import functools
import os
import subprocess
import sys
import threading
from unittest import mock

import fixtures
from nova import context as nova_context
from nova.db.api import api as api_db_api
from nova.db.main import api as main_db_api
from nova import objects
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade
from oslo_utils import uuidutils
import sqlalchemy as sa
import testtools

from nova_meta.cmd import status
from nova_meta.db import api as db_api
from nova_meta.db import swap
from nova_meta.db import transaction
from nova_meta.race import client
from nova_meta import support
from nova_meta_lab import galera
from nova_meta_lab import host
from nova_meta_lab import servers
from nova_meta_lab import services
from nova_meta_lab import target

INSTANCES = sa.table(
    'instances', *map(sa.column, ('id', 'uuid', 'deleted', 'vm_state')),
    sa.column('updated_at', sa.DateTime))

# More than all tests on one database use.
SHARED_SERVERS = 300
# Seconds that something may take which does happen.
PATIENCE = 60
# Seconds for something to happen that must not.
GRACE = 0.3

# Whether to run what takes long, and repeats on further databases what others
# show.
PERIODIC = bool(os.environ.get('NOVA_META_TEST_PERIODIC'))

# Or servers would be left behind.
servers.end_on_sigterm()

# Decorates a class of such tests.
periodic_class = testtools.skipUnless(
    PERIODIC, 'NOVA_META_TEST_PERIODIC is not set')


def periodic(*databases):
    """Decorate such a test.

    :param databases: where it is always run
    """
    def decorate(test):
        @functools.wraps(test)
        def call(self):
            if not PERIODIC and self.database not in databases:
                self.skipTest('NOVA_META_TEST_PERIODIC is not set')
            test(self)

        return call

    return decorate


class Database:
    """A kind of database.

    :param server: which of :data:`nova_meta_lab.servers.SERVERS`; None for
        SQLite
    :param query: of the URL that the code under test connects with
    :param impatient: the same, with a lock wait time-out of a second or less
    """

    def __init__(self, server=None, query=None, impatient=None):
        self.server = server
        self.query = query or {}
        self.impatient = impatient

    @property
    def missing(self):
        """Which environment variable should be set and is not, or None."""
        if self.server is None:
            return None
        variable = servers.url_variable(self.server)
        return None if variable in os.environ else variable

    def url(self):
        """Return the URL of the server, or None for SQLite."""
        if self.missing:
            raise AssertionError(f'{self.missing} is not set')
        if self.server is None:
            return None
        url = sa.engine.make_url(os.environ[servers.url_variable(self.server)])
        return url.update_query_dict(self.query).render_as_string(
            hide_password=False)


SQLITE = Database(impatient={'timeout': '0.2'})
MARIADB = Database('mariadb', impatient={
    'init_command': 'SET SESSION innodb_lock_wait_timeout = 1'})
# The default since MariaDB 11.6.2.
MARIADB_SNAPSHOT = Database(
    'mariadb',
    {'init_command': 'SET SESSION innodb_snapshot_isolation = ON'},
    {'init_command': 'SET SESSION innodb_snapshot_isolation = ON, '
                     'innodb_lock_wait_timeout = 1'})
# Debian has none in its releases: tested if it is there, in CI too.
MYSQL = Database('mysql', impatient=MARIADB.impatient)
POSTGRESQL = Database('postgresql', impatient={
    'options': '-c lock_timeout=200'})


def enter_class_context(cls, manager):
    """Enter a context for a test case, as unittest can since Python 3.11."""
    entered = manager.__enter__()
    cls.addClassCleanup(manager.__exit__, None, None, None)
    return entered


@functools.cache
def shared_host(url):
    """Return what most test cases of this process share.

    :returns: a :class:`host.Host`, and an iterator of the servers that no test
        has used
    """
    shared = host.Host(url, SHARED_SERVERS)
    shared.__enter__()
    return shared, iter(shared.servers)


class DatabaseTestCase(testtools.TestCase):
    """Has servers in a database, and contexts that are targeted there."""

    database = SQLITE
    # Of a private Nova that this class does not share; None if it does.
    servers_made = None
    nova_options = {}
    # What connections to a cluster are told, so that they wait.
    causal = galera.Cluster.causal
    # What serves its nova-api, and in how many processes.
    served_by = support.THREADS
    processes = 2

    def __init_subclass__(cls, **kwargs):
        """Make a class for MySQL of one for MariaDB."""
        super().__init_subclass__(**kwargs)
        if vars(cls).get('database') is MARIADB and not MYSQL.missing:
            name = cls.__name__.replace('MariaDB', 'MySQL')
            setattr(sys.modules[cls.__module__], name, type(name, (cls,), {
                '__module__': cls.__module__, 'database': MYSQL}))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        url = cls.database_url()
        if cls.servers_made is None:
            cls.host, cls.unused = shared_host(url)
        else:
            cls.host = enter_class_context(cls, cls.make_host(url))
            cls.unused = iter(cls.host.servers)

    @classmethod
    def make_host(cls, url):
        """Make a private Nova that this class does not share.

        :param url: of the database server, None for SQLite
        """
        return host.Host(url, cls.servers_made, cls.nova_options,
                         causal=cls.causal)

    @classmethod
    def database_url(cls):
        """Return the URL of the database server, None for SQLite."""
        # In CI it fails: there it would go unnoticed that a server is missing.
        if cls.database.missing and not os.environ.get('CI'):
            raise cls.skipException(f'{cls.database.missing} is not set')
        return cls.database.url()

    @classmethod
    def start(cls, server):
        """Start a database server, or a cluster, for this class alone.

        :param server: makes a context manager of it
        """
        try:
            return enter_class_context(cls, server())
        except servers.ServerMissing as exc:
            if os.environ.get('CI'):
                raise
            raise cls.skipException(str(exc))

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.FakeLogger())
        # As a service that has read no configuration file.
        cfg.CONF([], project='nova', default_config_files=[],
                 default_config_dirs=[])
        self.addCleanup(cfg.CONF.reset)
        objects.register_all()
        self.server = next(self.unused)

    def serve(self, app_factory):
        """Serve nova-api; the one of the test before, if it is the same.

        :param app_factory: host.STOCK, host.OURS, or that of a mutant
        """
        if getattr(self.host, 'serves', None) != (app_factory, self.processes):
            self.host.serve(app_factory, self.processes,
                            server=self.served_by)
            self.host.serves = app_factory, self.processes
        self.url = self.host.urls[0]

    def need_old_reads(self):
        """Skip the test where no change may follow what has become old.

        The default of MariaDB since 11.6.2.
        """
        with self.host.database.connect() as connection:
            found = status.variables(connection, 'innodb_snapshot_isolation')
        if 'ON' in found.values():
            self.skipTest('with snapshot isolation the server refuses it')

    def flags(self, **kwargs):
        for option, value in kwargs.items():
            cfg.CONF.set_override(option, value, 'nova_meta')
            self.addCleanup(cfg.CONF.clear_override, option, 'nova_meta')

    def context(self, query=None, node=0, port=None):
        """Make a request context, targeted at the cell with its own pool.

        :param query: of the URL, if not the database's own
        :param node: the number of the node, if there are several
        :param port: of the URL, if not the node's own
        """
        url = sa.engine.make_url(
            self.host.url('cell1', node)).update_query_dict(
                self.database.query if query is None else query)
        url = url.set(port=port or url.port)
        context = nova_context.RequestContext(client.USER, client.PROJECT)
        nova_context.set_target_cell(context, objects.CellMapping(
            uuid=uuidutils.generate_uuid(), transport_url='none:///',
            database_connection=url.render_as_string(hide_password=False)))
        self.addCleanup(
            lambda: context.db_connection.writer.get_engine().dispose())
        return context

    def use_api_database(self):
        """Let what reads the API database in this process find the host's."""
        api = enginefacade.transaction_context()
        api.configure(connection=self.host.url('api'))
        self.addCleanup(lambda: api.writer.get_engine().dispose())
        self.addCleanup(api_db_api.context_manager.patch_factory(api))

    def rows(self, server=None, node=0):
        """Return the live metadata rows of a server as (key, value)."""
        with self.host.databases[node].connect() as connection:
            return target.METADATA.rows(connection, server or self.server)

    def add_rows(self, *pairs, server=None):
        """Add live metadata rows, as earlier requests or races left them."""
        with self.host.database.begin() as connection:
            target.METADATA.insert(connection, server or self.server, pairs)

    def duplicates(self, *options):
        """Run nova-meta-manage metadata duplicates.

        :returns: a tuple of its exit status and its output
        """
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta.cmd.manage', '--config-file',
             self.host.nova_conf(), 'metadata', 'duplicates', *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def update(self, metadata, delete=False, context=None):
        """Set metadata of the server, as a request of its own."""
        return db_api.instance_metadata_update(
            context or self.context(), self.server, metadata, delete).after

    @contextlib.contextmanager
    def row_locked(self):
        """Lock the row of the server; commits in the end."""
        with self.host.database.begin() as connection:
            connection.execute(sa.update(INSTANCES).where(
                INSTANCES.c.uuid == self.server).values(
                    updated_at=INSTANCES.c.updated_at))
            yield connection

    def version(self):
        """Return the updated_at of the server."""
        with self.host.database.connect() as connection:
            return connection.execute(
                sa.select(INSTANCES.c.updated_at).where(
                    INSTANCES.c.uuid == self.server)).scalar_one()

    def set_version(self, version):
        """Set the updated_at of the server, as other code of Nova does."""
        with self.host.database.begin() as connection:
            connection.execute(sa.update(INSTANCES).where(
                INSTANCES.c.uuid == self.server).values(updated_at=version))

    def change(self, change, check=swap.refuse_nothing, context=None,
               **kwargs):
        """Change the metadata by a Delta, as a request of its own."""
        context = context or self.context()
        return transaction.change_map(
            main_db_api.get_context_manager(context).writer, context,
            self.server, 'a server', db_api.INSTANCE_METADATA, change, check,
            **kwargs)

    def answer_of_commit_lost(self, context, then=lambda: None):
        """Let the next COMMIT be done and its answer be lost.

        :param then: what happens before that is noticed
        """
        engine = main_db_api.get_context_manager(
            context).writer.get_engine()
        commit, lost = engine.dialect.do_commit, []

        def do_commit(connection):
            commit(connection)
            if not lost:
                lost.append(True)
                then()
                raise engine.dialect.dbapi.OperationalError('lost')

        self.patch(engine.dialect, 'do_commit', do_commit)
        self.patch(engine.dialect, 'is_disconnect', lambda *args: True)

    def in_thread(self, function, *args, **kwargs):
        """Call a function in a thread; see :class:`Running`."""
        running = Running(function, args, kwargs)
        self.addCleanup(running.thread.join, PATIENCE)
        return running


class WithKilledServer:
    """Mixed into a test case whose database server can be killed."""

    @classmethod
    def database_url(cls):
        cls.killed = cls.start(servers.SERVERS[cls.database.server])
        return cls.killed.url


class WithServices:
    """Mixed into a test case whose private Nova asks other services."""

    @classmethod
    def setUpClass(cls):
        cls.services = enter_class_context(
            cls, services.Services().running())
        cls.nova_options = cls.services.nova_options
        super().setUpClass()


@contextlib.contextmanager
def mismatch_once():
    """Make the first compare-and-swap match no row, which no race can.

    :returns: a context manager of a list with an entry for each of them
    """
    real, calls = swap._compare_and_swap, []

    def compare_and_swap(*args):
        calls.append(args)
        if len(calls) == 1:
            raise swap.VersionMismatch()
        real(*args)

    with mock.patch.object(swap, '_compare_and_swap', compare_and_swap):
        yield calls


class Running:
    """A function that runs in a thread."""

    def __init__(self, function, args, kwargs):
        self._outcome = None
        self._call = (function, args, kwargs)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        function, args, kwargs = self._call
        try:
            value = function(*args, **kwargs)
            self._outcome = lambda: value
        except BaseException as exc:
            error = exc

            def reraise():
                raise error

            self._outcome = reraise

    @property
    def waits(self):
        """Whether it is still not done after a short while."""
        self.thread.join(GRACE)
        return self.thread.is_alive()

    def wait(self):
        """Wait for the function."""
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            raise AssertionError('it hangs')

    def result(self):
        """Wait for the function, and return or raise what it did."""
        self.wait()
        return self._outcome()
