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

The real nova-api of the installed package under uWSGI. There is no compute
host, no Keystone and no message bus; the metadata calls need none of them.
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

from nova_meta.storm import servers

SECTION, OPTION = 'app:osapi_compute_app_v21', 'paste.app_factory'
STOCK = 'nova.api.openstack.compute:APIRouterV21.factory'
NOVA_META = 'nova_meta.api.app:factory'

START_TIMEOUT = 120


class HostError(Exception):
    """The private Nova cannot be made; the message says why."""


class Host(contextlib.ExitStack):
    """A private Nova, gone without a trace when the context ends.

    :param database: SQLAlchemy URL of a server on which databases may be
        made and dropped; None for SQLite files
    :param servers: how many servers to make
    :param options: further options of nova.conf, {section: {option: value}}
    """

    def __init__(self, database=None, servers=1, options=None):
        super().__init__()
        self._server_url = database and sa.make_url(database)
        self._count = servers
        self._options = options or {}
        self._served = contextlib.ExitStack()
        self.servers = []

    def __enter__(self):
        super().__enter__()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def _make(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix='nova-meta-'))
        self.callback(shutil.rmtree, self.path, ignore_errors=True)
        self._urls = {name: self._make_database(name)
                      for name in ('api', 'cell0', 'cell1')}
        self.database = sa.create_engine(self._urls['cell1'])
        self.callback(self.database.dispose)
        self._write_nova_conf()
        self.servers = json.loads(self._run_seed())
        self.push(self._served)

    def _make_database(self, name):
        if self._server_url is None:
            return sa.make_url(f'sqlite:///{self.path}/{name}.sqlite')
        name = f'nova_meta_{name}_{uuid.uuid4().hex[:8]}'
        self._execute(f'CREATE DATABASE {name}')
        self.callback(self._execute, f'DROP DATABASE {name}')
        return self._server_url.set(database=name)

    def _execute(self, statement):
        engine = sa.create_engine(self._server_url,
                                  isolation_level='AUTOCOMMIT')
        try:
            with engine.connect() as connection:
                connection.execute(sa.text(statement))
        except sa.exc.OperationalError as exc:
            raise HostError(f'{self._server_url!r}: {exc.orig}') from None
        finally:
            engine.dispose()

    def url(self, name):
        """Return the database URL of 'api', 'cell0' or 'cell1' as text."""
        return self._urls[name].render_as_string(hide_password=False)

    def _write_nova_conf(self):
        sections = {
            'DEFAULT': {'transport_url': 'fake://', 'host': 'storm',
                        'log_file': self.path / 'nova.log',
                        'state_path': self.path},
            'api': {'auth_strategy': 'keystone'},
            'api_database': {'connection': self.url('api')},
            'database': {'connection': self.url('cell0')},
            'oslo_concurrency': {'lock_path': self.path},
        }
        for section, options in self._options.items():
            sections.setdefault(section, {}).update(options)
        ini = configparser.RawConfigParser(default_section=None)
        ini.read_dict(sections)
        with (self.path / 'nova.conf').open('w') as conf:
            ini.write(conf)

    def _run_seed(self):
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta.storm.seed',
             '--config-file', self.path / 'nova.conf',
             '--cell0', self.url('cell0'), '--cell1', self.url('cell1'),
             '--servers', str(self._count)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise HostError(f'Nova cannot be set up:\n{done.stderr}')
        return done.stdout

    def serve(self, app_factory, processes=2, threads=8):
        """Serve nova-api, in place of what was served before.

        :param app_factory: STOCK or NOVA_META, the line of api-paste.ini
        :returns: the base URL of the compute API
        """
        self.stop()
        write_api_paste(self.path / 'api-paste.ini', app_factory)
        port = servers.free_port()
        log = self._served.enter_context((self.path / 'uwsgi.log').open('ab'))
        process = subprocess.Popen(
            [_uwsgi(), '--http-socket', f'127.0.0.1:{port}',
             '--module', 'nova.wsgi.osapi_compute:application',
             '--master', '--processes', str(processes),
             '--threads', str(threads), '--lazy-apps', '--need-app',
             '--die-on-term', '--no-orphans', '--buffer-size', '65535',
             '--listen', '100', '--disable-logging',
             # uWSGI closes the connection anyway; this tells the client.
             '--add-header', 'Connection: close'],
            env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)
        self._served.callback(_kill, process)
        url = f'http://127.0.0.1:{port}/v2.1'
        self._wait(process, url)
        return url

    def environment(self):
        """Return what nova-api finds in its environment."""
        return {**os.environ, 'OS_NOVA_CONFIG_DIR': str(self.path),
                # The default since Nova 34. Before, eventlet patches what
                # uWSGI's threads need.
                'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'}

    def stop(self):
        """Stop serving."""
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
        text = ''.join((self.path / name).read_text()
                       for name in ('nova.log', 'uwsgi.log')
                       if (self.path / name).exists())
        return '\n'.join(text.splitlines()[-lines:])


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


def _uwsgi():
    beside = pathlib.Path(sys.executable).with_name('uwsgi')
    found = beside if beside.exists() else shutil.which('uwsgi')
    if not found:
        raise HostError('there is no uwsgi here: pip install pyuwsgi')
    return str(found)


def _kill(process):
    # At once: the threads that Nova keeps make an orderly end a slow one, and
    # nothing that they hold outlives the databases.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
