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

``python -m nova_meta_lab.servers [mariadb] [mysql] [postgresql] -- COMMAND``

By default they are MariaDB and PostgreSQL. The servers are those of Debian's
packages, started on data directories, ports and sockets of their own, which
are gone afterwards. The command finds their URLs in
NOVA_META_TEST_MARIADB_URL, NOVA_META_TEST_MYSQL_URL and
NOVA_META_TEST_POSTGRESQL_URL.
"""

import atexit
import contextlib
import errno
import os
import pathlib
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

from nova_meta_lab import roots

START_TIMEOUT = 90

# Linux gives out those from 32768.
PORTS = 20000, 32768

# Sockets whose names say which ports are taken, until the process ends.
_claims = []


class ServerMissing(Exception):
    """A database server is not installed or does not start."""


def url_variable(name):
    return f'NOVA_META_TEST_{name.upper()}_URL'


def end_on_sigterm():
    """Let SIGTERM end this process as sys.exit does.

    Then nothing is left behind: what has been made is gone when the process
    ends, if not before.
    """
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))


class Made(contextlib.ExitStack):
    """What is made when the context begins, whole or not at all."""

    def __enter__(self):
        super().__enter__()
        atexit.register(self.close)
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self


class Server:
    """A database server on a directory of its own.

    A context manager: it runs within, and leaves nothing behind.
    """

    # Its program, the user that it runs as if we are root, and what Debian
    # calls it.
    name = user = package = None

    def __init__(self):
        self.root = roots.Root.of_environment()
        self.program = self._find(self.name)
        self.port = free_port()
        self.process = None
        self._running = contextlib.ExitStack()
        self._made = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as made:
            self.path = made.enter_context(_directory(self.root.temporary))
            self.inside = self.root.inside(self.path)
            if os.geteuid() == 0:
                self._run('chown', f'{self.user}:', self.inside)
            self._install()
            made.callback(self.stop)
            self.start()
            self._made = made.pop_all()
        atexit.register(self._made.close)
        return self

    def __exit__(self, *exc_info):
        self._made.close()

    def start(self):
        """Start it, or start it again, and wait until it answers."""
        self.stop()
        self.process = self._running.enter_context(
            _running(self.root.command(*self._command()), self.path,
                     self._answers))

    def _answers(self):
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', self.port)) == 0

    def stop(self):
        self._running.close()

    def kill(self):
        """Let it end as it would if the machine lost power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _find(self, name):
        """Return the path of a program, as its root has it."""
        found = self.root.find(name, *self._places())
        if not found:
            raise ServerMissing(
                f'{name} is not installed; on Debian and Ubuntu: '
                f'apt-get install {self.package}')
        return found

    def _places(self):
        """Return where programs are beside the PATH."""
        return ['/usr/sbin']

    def _run(self, *command):
        done = subprocess.run(
            self.root.command(*command), text=True, cwd='/',
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise ServerMissing(f'{command[0]} failed:\n{done.stdout}')


class MariaDB(Server):

    name, user, package = 'mariadbd', 'mysql', 'mariadb-server'

    @property
    def url(self):
        """SQLAlchemy URL; the user is root."""
        return f'mysql+pymysql://root@127.0.0.1:{self.port}/'

    def _install(self):
        # One that starts removes what others have in a common tmpdir.
        self._run(self._find('mariadb-install-db'), '--no-defaults',
                  f'--datadir={self.inside}/data', f'--tmpdir={self.inside}',
                  '--skip-test-db',
                  '--auth-root-authentication-method=normal', *self._become())

    def _command(self):
        return [
            self.program, '--no-defaults',
            f'--datadir={self.inside}/data', f'--tmpdir={self.inside}',
            f'--socket={self.inside}/socket',
            f'--pid-file={self.inside}/pid', '--bind-address=127.0.0.1',
            f'--port={self.port}', '--max-connections=500',
            # Green threads on a busy machine may take longer than 10 seconds.
            '--connect-timeout=60',
            '--character-set-server=utf8mb3', *self._become()]

    def _become(self):
        return [f'--user={self.user}'] if os.geteuid() == 0 else []


class MySQL(MariaDB):

    name, package = 'mysqld', 'mysql-server'

    def _install(self):
        self._run(*self._command(), '--initialize-insecure')

    def _command(self):
        # That protocol has a port of its own.
        return [*super()._command(), '--mysqlx=OFF']


class PostgreSQL(Server):

    name, user, package = 'postgres', 'postgres', 'postgresql'

    @property
    def url(self):
        """SQLAlchemy URL; the user is postgres."""
        return (f'postgresql+psycopg2://postgres@127.0.0.1:{self.port}'
                '/postgres')

    def _install(self):
        self._run(*self._become(), self._find('initdb'),
                  '-D', f'{self.inside}/data', '-U', 'postgres', '-A', 'trust')

    def _command(self):
        return [
            *self._become(), self.program, '-D', f'{self.inside}/data',
            '-k', self.inside, '-h', '127.0.0.1', '-p', str(self.port),
            '-c', 'max_connections=500']

    def _answers(self):
        # It listens before it has recovered what it has.
        return super()._answers() and not subprocess.call(
            self.root.command(self._find('pg_isready'), '--quiet',
                              '--host=127.0.0.1', f'--port={self.port}'))

    def kill(self):
        # Its processes have groups of their own. They would go on for a
        # moment, and as long as they do it cannot be started again.
        pid = self.process.pid
        # It makes no more of them, that nobody would know of.
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        children = list(map(int, pathlib.Path(
            f'/proc/{pid}/task/{pid}/children').read_text().split()))
        super().kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        while any(map(_lives, children)):
            time.sleep(0.01)

    def _places(self):
        return self.root.glob('/usr/lib/postgresql/*/bin')[-1:]

    def _become(self):
        # It refuses to run as root.
        return (['setpriv', f'--reuid={self.user}', f'--regid={self.user}',
                 '--clear-groups'] if os.geteuid() == 0 else [])


def _lives(pid):
    try:
        # Of a zombie it is empty.
        return bool(pathlib.Path(f'/proc/{pid}/cmdline').read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


SERVERS = {'mariadb': MariaDB, 'mysql': MySQL, 'postgresql': PostgreSQL}

# Those that Debian has in its releases.
USUAL = 'mariadb', 'postgresql'


@contextlib.contextmanager
def _directory(parent):
    path = pathlib.Path(tempfile.mkdtemp(prefix='nova-meta-db-', dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _running(command, path, answers, timeout=START_TIMEOUT):
    log = path / 'log'
    with log.open('wb') as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True, cwd='/')
    try:
        deadline = time.monotonic() + timeout
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                # Indented, so that it stays a part of the traceback.
                raise ServerMissing(
                    f'{shlex.join(command)} does not start:\n' +
                    textwrap.indent(log.read_text(), '    '))
            time.sleep(0.1)
        yield process
    finally:
        # To both an order to end at once, children included.
        process.send_signal(signal.SIGQUIT)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    """Return a TCP port of the loopback interface that nobody listens on.

    Not one that the kernel gives to clients: those come and go while a server
    is started again. Nor one that was returned before, to this or to any other
    process that still runs: its server may listen later.
    """
    while True:
        port = random.randrange(*PORTS)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as listener:
            try:
                claim.bind(f'\0nova-meta-port-{port}')
                listener.bind(('127.0.0.1', port))
            except OSError as exc:
                claim.close()
                if exc.errno != errno.EADDRINUSE:
                    raise
                continue
        _claims.append(claim)
        return port


def main(argv):
    split = argv.index('--') if '--' in argv else 0
    names, command = argv[:split] or USUAL, argv[split + 1:]
    if not command or not set(names) <= set(SERVERS):
        print(__doc__, file=sys.stderr)
        return 2
    end_on_sigterm()
    environment = dict(os.environ)
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                environment[url_variable(name)] = stack.enter_context(
                    SERVERS[name]()).url
        except ServerMissing as exc:
            print(exc, file=sys.stderr)
            return 1
        return subprocess.call(command, env=environment)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
