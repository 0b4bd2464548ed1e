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

"""A private Nova: its databases, some servers, and its API over HTTP.

The real nova-api of the installed package, under uWSGI if it is not asked for
otherwise. There is no compute host, no Keystone and no message bus; the
metadata calls need none of them.
"""

import configparser
import contextlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

import sqlalchemy as sa

from nova_meta.race import client
from nova_meta import support
from nova_meta_lab import galera
from nova_meta_lab import series
from nova_meta_lab import servers
from nova_meta_lab import target as targets

SECTION, OPTION = 'app:osapi_compute_app_v21', 'paste.app_factory'
STOCK = 'nova.api.openstack.compute:APIRouterV21.factory'
NOVA_META = 'nova_meta.api.app:factory'
# What is to lose nothing, and its name.
OURS, NAME = ((STOCK, 'the series') if series.is_imported()
              else (NOVA_META, 'nova-meta'))

PATCHING_DISABLED = 'OS_NOVA_DISABLE_EVENTLET_PATCHING'

START_TIMEOUT = 120


class HostError(Exception):
    """The private Nova cannot be made; the message says why."""


class Host(servers.Made):
    """A private Nova, gone without a trace when the context ends.

    :param database: SQLAlchemy URL of a server on which databases may be
        made and dropped; None for SQLite files. Several separated by spaces
        are the nodes of a Galera cluster, with a nova-api for each.
    :param servers: how many servers to make
    :param options: further options of nova.conf, {section: {option: value}}
    :param tree: the path of another source tree of nova-meta, to serve that
    :param causal: what a connection to a cluster is told, so that it waits for
        what others have committed
    :param cells: such URLs of one database server each, of further cells,
        which are called cell2 and so on
    :ivar servers: the UUIDs of the servers in cell1
    :ivar servers_of: those in each cell, by its name
    """

    def __init__(self, database=None, servers=1, options=None, tree=None,
                 causal=galera.Cluster.causal, cells=()):
        super().__init__()
        self._nodes = [*map(sa.engine.make_url, (database or '').split())]
        # Where each database is made.
        self._places = dict.fromkeys(('api', 'cell0', 'cell1'), self._nodes)
        self._places |= {f'cell{number}': [sa.engine.make_url(url)]
                         for number, url in enumerate(cells, 2)}
        self._count = servers
        self._options = options or {}
        self._tree = tree
        self._nova = None
        self._causal = causal
        self._served = contextlib.ExitStack()
        self.servers = []
        self.urls = []

    def _make(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='nova-meta-'))
        self.callback(shutil.rmtree, self.path, ignore_errors=True)
        self._urls = {name: self._make_database(name)
                      for name in self._places}
        self._numbers = range(len(self._nodes) or 1)
        self.engines = {
            name: [self._connect(name, number) for number in self._numbers]
            for name in self._places if name != 'cell0'}
        self.databases = self.engines['cell1']
        self.database = self.databases[0]
        for number in self._numbers:
            self._directory(number).mkdir()
        self.configure(self._options)
        if self._tree:
            # The package alone: what serves it is of this tree.
            (self.path / 'tree').mkdir()
            (self.path / 'tree' / 'nova_meta').symlink_to(
                pathlib.Path(self._tree, 'nova_meta').resolve(strict=True))
        self.servers_of = json.loads(self._run_seed())
        self.servers = self.servers_of['cell1']
        self.push(self._served)

    def _make_database(self, name):
        if not self._places[name]:
            return sa.engine.make_url(f'sqlite:///{self.path}/{name}.sqlite')
        place = self._places[name][0]
        name = f'nova_meta_{name}_{uuid.uuid4().hex[:8]}'
        self._execute(place, f'CREATE DATABASE {name}')
        # PostgreSQL would refuse while somebody is connected, who may be there
        # because of an error, which would be hidden then.
        force = ' WITH (FORCE)' * (
            place.get_backend_name() == 'postgresql')
        self.callback(self._execute, place, f'DROP DATABASE {name}{force}')
        return place.set(database=name)

    def _connect(self, name, number):
        """Make an engine for a database, on one of the nodes."""
        # Whoever looks at what the clients have left wants all of it.
        engine = sa.create_engine(
            self._at(name, number), connect_args={} if self._single else {
                'init_command': self._causal})
        self.callback(engine.dispose)
        return engine

    @property
    def _single(self):
        return len(self._nodes) < 2

    @staticmethod
    def _execute(place, statement):
        engine = sa.create_engine(place, isolation_level='AUTOCOMMIT')
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(statement))
        except sa.exc.OperationalError as exc:
            raise HostError(f'{place!r}: {exc.orig}') from None
        finally:
            engine.dispose()

    def names(self, target):
        """Return the IDs of the servers, or flavors, that there are.

        :param target: a :class:`nova_meta_lab.target.Target`
        """
        return ([client.FLAVOR] if target is targets.EXTRA_SPECS
                else self.servers)

    def url(self, name, node=0):
        """Return the database URL of 'api' or a cell as text.

        :param node: the number of the node, if there are several
        """
        return self._at(name, node).render_as_string(hide_password=False)

    def _at(self, name, node):
        url, nodes = self._urls[name], self._places[name]
        if len(nodes) > 1:
            url = url.set(host=nodes[node].host, port=nodes[node].port)
        return url

    def _directory(self, number):
        """Return where a nova-api has its configuration and log."""
        return self.path / f'nova-api-{number}'

    def nova_conf(self, number=0):
        """Return the path of the configuration of a nova-api."""
        return self._directory(number) / 'nova.conf'

    def configure(self, options):
        """Write nova.conf, for what is served next.

        :param options: as for the class, in place of those
        """
        for number in self._numbers:
            self._write_nova_conf(number, options)

    def _write_nova_conf(self, number, options):
        path = self._directory(number)
        sections = {
            # A host of its own: nova-apis that start at once would meet in the
            # row of their service, and upstream does not try again.
            'DEFAULT': {'transport_url': 'fake://', 'host': f'lab-{number}',
                        'log_file': path / 'nova.log',
                        'state_path': self.path},
            'api': {'auth_strategy': 'keystone'},
            'api_database': {'connection': self.url('api', number)},
            'database': {'connection': self.url('cell0', number)},
            'oslo_concurrency': {'lock_path': self.path},
        }
        for section, values in options.items():
            sections.setdefault(section, {}).update(values)
        ini = configparser.RawConfigParser(default_section=None)
        ini.read_dict(sections)
        with self.nova_conf(number).open('w') as conf:
            ini.write(conf)

    def _run_seed(self):
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta_lab.seed',
             '--config-file', self.nova_conf(),
             '--cell', self.url('cell0'), '--cell', self._mapped(),
             *(argument for name in self._places
               if name not in ('api', 'cell0', 'cell1')
               for argument in ('--cell', self.url(name))),
             '--servers', str(self._count)],
            env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        if done.returncode:
            raise HostError(f'Nova cannot be set up:\n{done.stderr}')
        return done.stdout

    def _mapped(self):
        """Return the URL that the mapping of cell1 has."""
        url = self.url('cell1')
        # A template, which each nova-api fills in from its own nova.conf.
        return url if self._single else url.replace(
            f':{self._nodes[0].port}/', ':{port}/')

    def serve(self, app_factory, processes=2, threads=8,
              server=support.THREADS, nova=None):
        """Serve nova-api, in place of what was served before.

        :param app_factory: STOCK or NOVA_META, the line of api-paste.ini
        :param threads: of each process; with eventlet uWSGI has one, and
            nova-api as many green ones as there are requests
        :param server: one of :data:`nova_meta.support.SERVERS`
        :param nova: the path of a source tree of Nova, to serve that in place
            of the installed one
        :returns: the base URL of the compute API; with several nodes that of
            the first, all are in :attr:`urls`
        """
        self.stop()
        self.write_api_paste(app_factory)
        self._nova = nova
        started = [
            self._start_nova_api(number, processes)
            if server == support.NOVA_API else
            self._start_uwsgi(number, processes, threads,
                              server == support.EVENTLET)
            for number in self._numbers]
        for process, url in started:
            self._wait(process, url)
        self.urls = [url for process, url in started]
        return self.urls[0]

    def write_api_paste(self, app_factory):
        """Say what is served next; as for :meth:`serve`."""
        for number in self._numbers:
            write_api_paste(self._directory(number) / 'api-paste.ini',
                            app_factory)

    def _start_uwsgi(self, number, processes, threads, eventlet):
        port = servers.free_port()
        return self._start(
            number, port,
            [_program('uwsgi', 'pyuwsgi'),
             '--http-socket', f'127.0.0.1:{port}',
             '--module', 'nova_meta_lab.wsgi:application',
             '--master', '--processes', str(processes),
             '--threads', str(1 if eventlet else threads), '--need-app',
             # It is faster to load it once, but eventlet is not to be forked.
             # Python is, if it is told: locks of other threads stayed locked.
             '--lazy-apps' if eventlet else '--py-call-uwsgi-fork-hooks',
             '--die-on-term', '--no-orphans', '--buffer-size', '65535',
             '--listen', '100', '--disable-logging',
             # uWSGI closes the connection anyway; this tells the client.
             '--add-header', 'Connection: close'], eventlet)

    def _start_nova_api(self, number, processes):
        port = servers.free_port()
        (self._directory(number) / 'listen.conf').write_text(
            '[DEFAULT]\nosapi_compute_listen = 127.0.0.1\n'
            f'osapi_compute_listen_port = {port}\n'
            f'osapi_compute_workers = {processes}\n')
        return self._start(
            number, port,
            [_program('nova-api-os-compute', 'nova<32'),
             '--config-dir', self._directory(number)], True)

    def _start(self, number, port, command, eventlet):
        log = self._served.enter_context(
            (self._directory(number) / 'server.log').open('ab'))
        process = subprocess.Popen(
            command, env={
                **self.environment(number),
                PATCHING_DISABLED: str(not eventlet).lower()},
            # uWSGI looks there first, which may be a source tree.
            cwd=self.path,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        self._served.callback(_kill, process)
        return process, f'http://127.0.0.1:{port}/v2.1'

    def environment(self, number=0):
        """Return what nova-api, the first or another one, finds there."""
        return {**_environment(*[self.path / 'tree'] * bool(self._tree),
                               *[self._nova] * bool(self._nova)),
                'OS_NOVA_CONFIG_DIR': str(self._directory(number)),
                # The default since Nova 34. Before, eventlet patches what
                # uWSGI's threads need.
                PATCHING_DISABLED: 'true'}

    def stop(self):
        """Stop serving, as if the machine lost power."""
        self.urls = []
        self._served.close()

    def _wait(self, process, url):
        deadline = time.monotonic() + START_TIMEOUT
        while process.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(url, timeout=START_TIMEOUT)
            except urllib.error.HTTPError:
                return  # 401: it answers.
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise HostError('nova-api does not start:\n' + self.log())

    def log(self, lines=30):
        """Return the last lines that nova-api has logged."""
        return '\n'.join(
            line for log in sorted(self.path.glob('nova-api-*/*.log'))
            for line in log.read_text().splitlines()[-lines:])


def _environment(*first):
    """Return the environment, with this source tree on the path of Python.

    :param first: what is before it
    """
    path = os.environ.get('PYTHONPATH')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, [
        *first, pathlib.Path(__file__).parents[1], *[path] * bool(path)]))}


def write_api_paste(path, app_factory):
    """Write the installed Nova's api-paste.ini with one line changed.

    And without Keystone's token check: the next filter takes user, project and
    roles from the headers that the check would have set.
    """
    ini = configparser.RawConfigParser(default_section=None)
    ini.optionxform = str
    ini.read_string(_installed_api_paste())
    ini.set(SECTION, OPTION, app_factory)
    for section in ini.sections():
        if ini.has_option(section, 'oslo_config_project'):
            # Or it would read the nova.conf of this machine.
            ini.set(section, 'oslo_config_file',
                    str(path.with_name('nova.conf')))
        for option, value in ini.items(section):
            if ' authtoken ' in value:
                ini.set(section, option, value.replace(' authtoken ', ' '))
    with path.open('w') as target:
        ini.write(target)


def _installed_api_paste():
    for file in importlib.metadata.files('nova') or ():
        if file.name == 'api-paste.ini':
            return file.read_text()
    system = pathlib.Path('/etc/nova/api-paste.ini')
    if system.exists():
        return system.read_text()
    raise HostError('the installed Nova brings no api-paste.ini')


def _program(name, package):
    """Return the path of a program of this Python environment.

    :param package: that has it
    """
    beside = pathlib.Path(sys.executable).with_name(name)
    found = beside if beside.exists() else shutil.which(name)
    if not found:
        raise HostError(f"there is no {name} here: pip install '{package}'")
    return str(found)


def _kill(process):
    # At once: the threads that Nova keeps make an orderly end a slow one, and
    # nothing that they hold outlives the databases.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
