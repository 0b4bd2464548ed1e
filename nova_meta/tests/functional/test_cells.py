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

"""Several cells, on database servers of different kinds, one of which is down.

The third cell is on the server of the first: it comes after the one that is
down, and has to be there all the same.
"""

import contextlib
import dataclasses
import socket
import threading

from nova_meta.race import client
from nova_meta.race import judge
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta.tests.functional import test_workloads as workloads
from nova_meta_lab import host
from nova_meta_lab import servers
from nova_meta_lab import target as targets

CELLS = FIRST, DOWN, THIRD = 'cell1', 'cell2', 'cell3'
WRITERS = 8


def target_in(cell):
    """Return the metadata of the servers in a cell."""
    return dataclasses.replace(targets.METADATA, database=cell)


class Listener:
    """Takes the connections for a server that is down, and closes them.

    :param port: of the server
    :ivar count: how many there were
    """

    def __init__(self, port):
        self.count = 0
        self._socket = socket.create_server(('127.0.0.1', port))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.count += 1
                connection.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        # Wakes up who waits in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


class CellTests:
    """A cell of another kind beside two of this kind.

    :cvar other: which of :data:`nova_meta_lab.servers.SERVERS` it has
    """

    servers_made = 20
    # One, or it would not be told how many connections each request makes.
    processes = 1
    # A cell that is down when it is first needed is waited for.
    nova_options = {'database': {'max_retries': 1, 'retry_interval': 0}}

    @classmethod
    def make_host(cls, url):
        cls.second = cls.start(servers.SERVERS[cls.other])
        return host.Host(url, cls.servers_made, cls.nova_options,
                         cells=[cls.second.url, url])

    @contextlib.contextmanager
    def down(self):
        """Let the server of the second cell be down."""
        self.second.stop()
        try:
            yield
        finally:
            self.second.start()
            # Its connections are dead.
            self.host.engines[DOWN][0].dispose()

    def server_in(self, cell):
        """Return a server that no test has used."""
        return self.host.servers_of[cell].pop()

    def rows_in(self, cell, server):
        with self.host.engines[cell][0].connect() as connection:
            return target_in(cell).rows(connection, server)

    def add_rows_in(self, cell, server, *pairs):
        with self.host.engines[cell][0].begin() as connection:
            target_in(cell).insert(connection, server, pairs)

    def storm(self, one, servers, rounds=1):
        """Play a workload in some cells at once.

        :param servers: {cell: server}
        :returns: {cell: judge.Result}
        """
        def play(cell, server):
            player = workload.Player(targets.InDatabase(
                self.host, server, target_in(cell)), 4 * WRITERS)
            return sum((player.play(one, WRITERS) for _ in range(rounds)),
                       judge.Result())

        running = {cell: self.in_thread(play, cell, server)
                   for cell, server in servers.items()}
        return {cell: one.result() for cell, one in running.items()}

    def one_of_each(self):
        """Return a server of each cell, by its name."""
        return {cell: self.server_in(cell) for cell in CELLS}

    def test_storms(self):
        self.serve(host.NOVA_META)
        servers = self.one_of_each()
        for one in workload.WORKLOADS:
            if not one.fills:
                for cell, result in self.storm(one, servers).items():
                    what = f'{one.name}, {cell}'
                    self.assertNothingWrong(result, what)
                    self.assertGreater(result.acknowledged, 0, what)

    def test_stock_loses_in_storms(self):
        self.serve(host.STOCK)
        servers, one = self.one_of_each(), workload.named('merge')
        for _ in range(workloads.MOST_ROUNDS):
            for cell, result in self.storm(one, servers).items():
                if result.faults['lost updates']:
                    servers.pop(cell)
            if not servers:
                return
        self.fail(f'stock Nova shows no lost updates in {list(servers)}')

    def test_storm_beside_a_cell_that_is_down(self):
        self.serve(host.NOVA_META)
        servers = self.one_of_each()
        down = client.MetadataClient(self.url, servers.pop(DOWN))
        stopped = threading.Event()

        def knock():
            statuses = set()
            while not stopped.is_set():
                statuses.add(down.delete('a').status)
            return statuses

        with self.down():
            knocking = self.in_thread(knock)
            try:
                for result in self.storm(workload.named('merge'),
                                         servers).values():
                    self.assertNothingWrong(result, 'merge')
            finally:
                stopped.set()
            self.assertEqual({500}, knocking.result())

    def asked(self, app_factory, server):
        """Ask one nova-api for all that there is, of a cell that is down.

        :returns: [(call, status)], and {call: number of connections}
        """
        self.serve(app_factory)
        one = client.MetadataClient(self.url, server)
        everything = [
            ('list', []), ('show', ['a']), ('merge', [{'a': '2'}]),
            ('replace', [{'b': '2'}]), ('set', ['a', '2']), ('delete', ['a'])]
        self.assertEqual(200, one.list().status)
        statuses, connections = [], {}
        with self.down(), Listener(self.second.port) as listener:
            # Connections of the pool are found to be dead first.
            one.list()
            for call, arguments in everything:
                before = listener.count
                statuses.append(
                    (call, getattr(one, call)(*arguments).status))
                connections[call] = listener.count - before
        self.assertEqual(200, one.list().status)
        return statuses, connections

    def test_down_as_stock(self):
        server = self.server_in(DOWN)
        self.add_rows_in(DOWN, server, ('a', '1'))
        expected, allowed = self.asked(host.STOCK, server)
        statuses, connections = self.asked(host.NOVA_META, server)
        self.assertEqual(expected, statuses)
        self.assertLess(0, min(allowed.values()))
        for call, count in connections.items():
            self.assertLessEqual(count, allowed[call], call)
        self.assertEqual([('a', '1')], self.rows_in(DOWN, server))

    def test_duplicates(self):
        servers = self.one_of_each()
        for cell, server in servers.items():
            self.add_rows_in(cell, server, ('a', '1'), ('a', '2'))
        with self.down():
            status, output = self.duplicates('--fix')
        self.assertEqual(2, status, output)
        self.assertEqual(1, output.count('cannot be reached'), output)
        self.assertRegex(output, rf'{DOWN}\): cannot be reached: ')
        for cell in FIRST, THIRD:
            self.assertIn(f'metadata: server {servers[cell]}: 1 removed',
                          output)
        self.assertEqual(
            {FIRST: 1, DOWN: 2, THIRD: 1},
            {cell: len(self.rows_in(cell, server))
             for cell, server in servers.items()})
        status, output = self.duplicates('--fix')
        self.assertEqual(0, status, output)
        self.assertEqual([('a', '2')], self.rows_in(DOWN, servers[DOWN]))


@base.periodic_class
class CellsMariaDBTestCase(CellTests, workloads.Play, base.DatabaseTestCase):
    database = base.MARIADB
    other = 'postgresql'


@base.periodic_class
class CellsPostgreSQLTestCase(CellTests, workloads.Play,
                              base.DatabaseTestCase):
    database = base.POSTGRESQL
    other = 'mariadb'
