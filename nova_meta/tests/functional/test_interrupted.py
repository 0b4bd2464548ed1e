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

"""What is left behind when tests are interrupted: nothing."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import testtools

from nova_meta.tests.functional import base

# As what several test cases share: nobody leaves the contexts.
PROGRAM = """
import signal

from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import servers

server = servers.MariaDB().__enter__()
nova = host.Host(server.url).__enter__()
nova.serve(host.STOCK, processes=1)
print(server.path, server.port, nova.path, nova.urls[0], flush=True)
signal.pause()
"""


class InterruptedTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        # Where other tests find none, there may be none to be started.
        if base.MARIADB.missing and 'CI' not in os.environ:
            self.skipTest(f'{base.MARIADB.missing} is not set')

    def test_sigterm(self):
        with subprocess.Popen([sys.executable, '-c', PROGRAM],
                              stdout=subprocess.PIPE, text=True) as process:
            database, port, nova, url = process.stdout.readline().split()
            ports = [int(port), int(url.split(':')[2].split('/')[0])]
            self.assertEqual([True, True], [*map(self.listens, ports)])
            process.send_signal(signal.SIGTERM)
        self.assertEqual(143, process.returncode)
        self.assertEqual([False, False], [*map(self.listens, ports)])
        for path in database, nova:
            self.assertFalse(pathlib.Path(path).exists(), path)

    @staticmethod
    def listens(port):
        with socket.socket() as client:
            return client.connect_ex(('127.0.0.1', port)) == 0
