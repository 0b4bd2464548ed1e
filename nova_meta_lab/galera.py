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

"""A private Galera cluster, and what can happen to its nodes."""

import contextlib
import select
import signal
import socket
import threading
import time

import pymysql

from nova_meta_lab import servers

# Seconds that a state transfer, or the rest of the cluster, may take.
PATIENCE = 90

# How soon the others give up a node that is silent. The defaults, in seconds 5
# and 15, are for real networks, and only make tests longer.
EVS = ('evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;'
       'evs.inactive_check_period=PT0.5S;evs.keepalive_period=PT0.5S')

# It holds back the applying of what other nodes have written.
GATE = 'nova_meta_gate'


class Member:
    """What any kind of node has; it is beside a class of a server."""

    @contextlib.contextmanager
    def _cursor(self):
        # Not through SQLAlchemy, whose rollback a node that is cut off
        # refuses.
        with pymysql.connect(host='127.0.0.1', port=self.port, user='root',
                             autocommit=True, connect_timeout=5,
                             read_timeout=PATIENCE) as connection:
            with connection.cursor() as cursor:
                yield cursor

    def execute(self, *statements):
        """Run statements, and return the rows of the last one."""
        with self._cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    @contextlib.contextmanager
    def applying_held_back(self):
        """Let it not apply what the others write, from now on.

        A table that is locked here is written to elsewhere. The applier waits
        for the table, and all that was written later waits for the applier.
        The caller has to write to the gate on another node, see
        :meth:`Cluster.lagging`.
        """
        with self._cursor() as cursor:
            cursor.execute(f'LOCK TABLE {GATE}.gate READ')
            yield


class Node(Member, servers.MariaDB):
    """One node of a :class:`Cluster`.

    :param name: of the node
    :param port: that the other nodes reach it at
    :param members: the addresses of all nodes
    """

    def __init__(self, name, port, members):
        super().__init__()
        self._options = [
            '--wsrep-on=ON',
            # What MariaDB 11.8 makes a plugin of hides the variables.
            '--loose-plugin-wsrep-provider=OFF',
            f'--wsrep-provider={_provider(self.root)}',
            '--wsrep-cluster-name=nova-meta',
            f'--wsrep-cluster-address=gcomm://{",".join(members)}',
            f'--wsrep-node-name={name}', '--wsrep-node-address=127.0.0.1',
            '--wsrep-sst-method=rsync',
            f'--wsrep-sst-receive-address=127.0.0.1:{servers.free_port()}',
            '--wsrep-provider-options='
            f'gmcast.listen_addr=tcp://127.0.0.1:{port};'
            f'ist.recv_addr=127.0.0.1:{servers.free_port()};'
            f'pc.recovery=false;gcache.size=64M;{EVS}',
            '--binlog-format=ROW', '--innodb-autoinc-lock-mode=2']
        # Only once, and only one of them.
        self.first = False

    def _command(self):
        first, self.first = self.first, False
        return [*super()._command(), *self._options,
                *['--wsrep-new-cluster'] * first]

    def start(self):
        """Start it, or start it again, and wait until it takes part."""
        super().start()
        wait_for(self.synced, f'{self.url} takes no part')

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def cut_off(self):
        """Let it neither hear nor be heard by the others."""
        self._isolate(1)

    def heal(self):
        self._isolate(0)

    def _isolate(self, how):
        self.execute(
            f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={how}'")

    def status(self, name):
        """Return a status variable, such as wsrep_cluster_size, as text."""
        (_, value), = self.execute(f"SHOW STATUS LIKE '{name}'")
        return value

    @property
    def size(self):
        """How many nodes it sees."""
        return int(self.status('wsrep_cluster_size'))

    @property
    def conflicts(self):
        """How many transactions were given up for those of other nodes.

        Those that failed to be certified, and those that were aborted because
        another one that was certified needed their locks.
        """
        return (int(self.status('wsrep_local_cert_failures')) +
                int(self.status('wsrep_local_bf_aborts')))

    def synced(self):
        try:
            return (self.status('wsrep_ready') == 'ON' and
                    self.status('wsrep_local_state_comment') == 'Synced')
        except pymysql.err.OperationalError:
            return False


class Cluster(servers.Made):
    """A cluster of nodes on the loopback interface.

    :param count: how many nodes
    :cvar causal: what a connection is told, so that it waits for what others
        have committed
    """

    causal = 'SET SESSION wsrep_sync_wait = 15'

    def __init__(self, count=3):
        super().__init__()
        self._count = count
        self.nodes = []

    def _make(self):
        ports = [servers.free_port() for _ in range(self._count)]
        members = [f'127.0.0.1:{port}' for port in ports]
        for number, port in enumerate(ports):
            node = Node(f'node{number}', port, members)
            node.first = number == 0
            self.nodes.append(self.enter_context(node))
        self._make_gate()
        self.wait_until_whole()

    def _make_gate(self):
        self.nodes[0].execute(
            f'CREATE DATABASE {GATE}',
            f'CREATE TABLE {GATE}.gate (id int PRIMARY KEY)')

    def wait_until_whole(self):
        """Wait until all nodes see each other."""
        for node in self.nodes:
            wait_for(lambda: node.synced() and node.size == self._count,
                     f'{node.url} is alone')

    def wait_until_applied(self):
        """Wait until each node has applied what all others have committed."""
        for node in self.nodes:
            node.execute(self.causal, f'SELECT count(*) FROM {GATE}.gate')

    @property
    def url(self):
        """What :class:`nova_meta_lab.host.Host` takes for a database."""
        return ' '.join(node.url for node in self.nodes)

    @contextlib.contextmanager
    def lagging(self, node):
        """Hold a node back, for what the others commit meanwhile."""
        other = next(one for one in self.nodes if one is not node)
        gate = f'{GATE}.gate'
        with node.applying_held_back():
            other.execute(f'INSERT INTO {gate} SELECT count(*) FROM {gate}')
            yield


class VirtualAddress(contextlib.ExitStack):
    """An address on the loopback interface that leads to a server.

    As that of a proxy, which leads to another one when the first is gone.

    :param port: that it leads to at first
    """

    def __init__(self, port):
        super().__init__()
        self.leads_to = port

    def __enter__(self):
        super().__enter__()
        listener = self.enter_context(socket.create_server(('127.0.0.1', 0)))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[listener],
                         daemon=True).start()
        return self

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with contextlib.suppress(ConnectionError):
                    server = socket.create_connection(
                        ('127.0.0.1', self.leads_to))
                    threading.Thread(target=self._pump, args=[client, server],
                                     daemon=True).start()
                    continue
                client.close()

    @staticmethod
    def _pump(client, server):
        # By one thread: if another one closed a socket on which this one is
        # about to wait, it could wait on a new one with the same number, and
        # take what is not its own.
        others = {client: server, server: client}
        with contextlib.suppress(OSError), client, server:
            while True:
                for source in select.select([*others], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    others[source].sendall(data)


def wait_for(condition, message):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise servers.ServerMissing(f'{message} after {PATIENCE} s')
        time.sleep(0.1)


def _provider(root):
    """Return the path of Galera's library."""
    found = root.glob('/usr/lib/galera/libgalera_smm.so')
    if not found:
        raise servers.ServerMissing(
            'galera is not installed; on Debian and Ubuntu: '
            'apt-get install galera-4 rsync')
    return found[0]
