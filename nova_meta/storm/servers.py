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

"""Run a command with real database servers of its own.

``python -m nova_meta.storm.servers [mariadb] [postgresql] -- COMMAND...``

The servers are those of Debian's packages, started on data directories, ports
and sockets of their own, which are gone afterwards. The command finds their
URLs in NOVA_META_TEST_MARIADB_URL and NOVA_META_TEST_POSTGRESQL_URL.
"""

import contextlib
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

START_TIMEOUT = 60


class ServerMissing(Exception):
    """A database server is not installed or does not start."""


def url_variable(name):
    return f'NOVA_META_TEST_{name.upper()}_URL'


@contextlib.contextmanager
def mariadb(options=()):
    """Start a MariaDB server.

    :param options: further options of mariadbd
    :returns: a context manager of its SQLAlchemy URL; the user is root
    """
    port = free_port()
    with _directory('mysql') as path:
        socket_path, data = path / 'socket', path / 'data'
        _run(_program('mariadb-install-db'), '--no-defaults',
             f'--datadir={data}', '--skip-test-db',
             '--auth-root-authentication-method=normal', *_user('mysql'))
        command = [
            _program('mariadbd', '/usr/sbin'), '--no-defaults',
            f'--datadir={data}', f'--socket={socket_path}',
            f'--pid-file={path}/pid', '--bind-address=127.0.0.1',
            f'--port={port}', '--max-connections=500',
            '--character-set-server=utf8mb3', *_user('mysql'), *options]
        with _running(command, path, port):
            yield f'mysql+pymysql://root@127.0.0.1:{port}/'


@contextlib.contextmanager
def postgresql():
    """Start a PostgreSQL server.

    :returns: a context manager of its SQLAlchemy URL; the user is postgres
    """
    port = free_port()
    programs = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1:]
    # It refuses to run as root.
    become = (['setpriv', '--reuid=postgres', '--regid=postgres',
               '--clear-groups'] if os.geteuid() == 0 else [])
    with _directory('postgres') as path:
        _run(*become, _program('initdb', *programs), '-D', path / 'data',
             '-U', 'postgres', '-A', 'trust')
        command = [
            *become, _program('postgres', *programs), '-D', path / 'data',
            '-k', path, '-h', '127.0.0.1', '-p', str(port),
            '-c', 'max_connections=500']
        with _running(command, path, port):
            yield f'postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres'


SERVERS = {'mariadb': mariadb, 'postgresql': postgresql}


@contextlib.contextmanager
def _directory(owner):
    path = pathlib.Path(tempfile.mkdtemp(prefix='nova-meta-db-'))
    try:
        if os.geteuid() == 0:
            try:
                shutil.chown(path, owner, owner)
            except LookupError:
                raise ServerMissing(f'there is no user {owner} here: install '
                                    'the database server') from None
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _running(command, path, port):
    log = path / 'log'
    with log.open('wb') as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True, cwd='/')
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(
                    f'{command[0]} does not start:\n{log.read_text()}')
            time.sleep(0.1)
        yield process
    finally:
        # To both an order to end at once, children included.
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


def free_port():
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def _user(name):
    return [f'--user={name}'] if os.geteuid() == 0 else []


def _program(name, *places):
    found = shutil.which(name, path=os.pathsep.join(
        (*places, os.environ.get('PATH', os.defpath))))
    if not found:
        raise ServerMissing(
            f'{name} is not installed; on Debian and Ubuntu: '
            'apt-get install mariadb-server postgresql')
    return found


def _run(*command):
    done = subprocess.run([str(word) for word in command], text=True, cwd='/',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise ServerMissing(f'{command[0]} failed:\n{done.stdout}')


def main(argv):
    split = argv.index('--') if '--' in argv else 0
    names, command = argv[:split] or list(SERVERS), argv[split + 1:]
    if not command or not set(names) <= set(SERVERS):
        print(__doc__, file=sys.stderr)
        return 2
    # So that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))
    environment = dict(os.environ)
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                environment[url_variable(name)] = stack.enter_context(
                    SERVERS[name]())
        except ServerMissing as exc:
            print(exc, file=sys.stderr)
            return 1
        return subprocess.call(command, env=environment)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
