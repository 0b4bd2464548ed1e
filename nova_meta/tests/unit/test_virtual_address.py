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

import contextlib
import socket
import socketserver
import threading

import testtools

from nova_meta_lab import galera


class Named(socketserver.BaseRequestHandler):
    """Answers with a name, until it is told to hang up."""

    def handle(self):
        while (asked := self.request.recv(1024)) and asked != b'hang up':
            self.request.sendall(self.server.name + asked)


class VirtualAddressTestCase(testtools.TestCase):

    def server(self, name):
        server = self.enter(socketserver.ThreadingTCPServer(
            ('127.0.0.1', 0), Named))
        server.name, server.daemon_threads = name, True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def enter(self, context):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(context)

    def connect(self, address):
        return self.enter(socket.create_connection(
            ('127.0.0.1', address.port), timeout=10))

    def ask(self, client, question):
        client.sendall(question)
        return client.recv(1024)

    def test_leads_to_another_one(self):
        address = self.enter(galera.VirtualAddress(self.server(b'one ')))
        old = self.connect(address)
        self.assertEqual(b'one a', self.ask(old, b'a'))
        address.leads_to = self.server(b'two ')
        self.assertEqual(b'two a', self.ask(self.connect(address), b'a'))
        # Connections that there are stay.
        self.assertEqual(b'one b', self.ask(old, b'b'))

    def test_hangs_up_with_the_server(self):
        address = self.enter(galera.VirtualAddress(self.server(b'one ')))
        clients = [self.connect(address) for _ in range(3)]
        self.assertEqual(b'', self.ask(clients[0], b'hang up'))
        for client in clients[1:]:
            self.assertEqual(b'one c', self.ask(client, b'c'))

    def test_nobody_there(self):
        with socket.create_server(('127.0.0.1', 0)) as gone:
            port = gone.getsockname()[1]
        address = self.enter(galera.VirtualAddress(port))
        self.assertEqual(b'', self.connect(address).recv(1024))

    def test_many(self):
        address = self.enter(galera.VirtualAddress(self.server(b'one ')))

        def come_and_go(number):
            for n in range(50):
                question = b'%d.%d' % (number, n)
                with socket.create_connection(
                        ('127.0.0.1', address.port), timeout=10) as client:
                    answers.append(
                        self.ask(client, question) == b'one ' + question)
                    client.sendall(b'hang up')

        answers = []
        threads = [threading.Thread(target=come_and_go, args=[number])
                   for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([True] * 400, answers)
