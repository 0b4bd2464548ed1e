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

"""What people type has the same results with nova-meta as with stock Nova.

Transcripts of real clients: what each command answers, and how it ends.
"""

import contextlib
import io
import re

import fixtures
from novaclient import shell as nova_shell
import openstack
from openstack import exceptions
from openstackclient import shell as openstack_shell

from nova_meta.race import client
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta_lab import host

LONG = 'x' * 256
MANY = [f'{n}=x' for n in range(workload.QUOTA + 1)]
SHOW = 'server show SERVER -c properties -c locked_reason -f json'

# Exit status, user, command. openstack keeps its first user while a process
# lives, so the flavors are left to nova.
OPENSTACK = [
    (0, 'user', 'server set --property a=1 --property b=2 SERVER'),
    (0, 'user', 'server set --property a=3 --property c= SERVER'),
    (0, 'user', 'server unset --property b --property c SERVER'),
    (1, 'user', 'server unset --property b SERVER'),
    (1, 'user', f'server set --property d={LONG} SERVER'),
    (0, 'user', 'server lock --reason why SERVER'),
    (1, 'user', 'server set --property a=4 SERVER'),
    (0, 'user', SHOW),
    (0, 'user', 'server unlock SERVER'),
    (0, 'user', 'server rebuild --image IMAGE --property e=6 SERVER'
                ' -c properties -f json'),
]

NOVA = [
    (0, 'user', 'meta SERVER set a=1 b=2'),
    (0, 'user', 'meta SERVER set a=3 c=4'),
    (0, 'user', 'meta SERVER delete b c'),
    (1, 'user', 'meta SERVER delete b'),
    (1, 'user', 'meta SERVER set ' + ' '.join(MANY)),
    (0, 'user', 'lock --reason why SERVER'),
    (1, 'user', 'meta SERVER set a=5'),
    (0, 'user', 'unlock SERVER'),
    (0, 'user', 'rebuild --meta e=6 SERVER IMAGE'),
    (0, 'user', 'show SERVER'),
    (0, 'admin', 'flavor-key FLAVOR set a=1 b=2'),
    (0, 'admin', 'flavor-key FLAVOR unset a b'),
]

# Name of the error, and the call.
SDK = [
    (None, lambda compute, server: compute.set_server_metadata(
        server, a='1', b='2')),
    (None, lambda compute, server: compute.delete_server_metadata(
        server, ['a'])),
    ('NotFoundException', lambda compute, server: (
        server.delete_metadata_item(compute, 'a'))),
    ('BadRequestException', lambda compute, server: (
        compute.set_server_metadata(server, d=LONG))),
    ('ForbiddenException', lambda compute, server: (
        compute.set_server_metadata(server, **dict(
            pair.split('=') for pair in MANY)))),
    (None, lambda compute, server: server.replace_metadata(
        compute, {'c': '3'})),
    (None, lambda compute, server: server.set_metadata_item(
        compute, 'd', '4')),
    (None, lambda compute, server: server.get_metadata_item(compute, 'd')),
    (None, lambda compute, server: compute.lock_server(
        server, locked_reason='why')),
    ('ConflictException', lambda compute, server: (
        compute.set_server_metadata(server, a='5'))),
    (None, lambda compute, server: compute.unlock_server(server)),
    (None, lambda compute, server: compute.rebuild_server(
        server, image=client.IMAGE, metadata={'e': '6'})),
    (None, lambda compute, server: compute.get_server_metadata(server)),
]


class ClientsTestCase(base.WithServices, base.DatabaseTestCase):

    servers_made = 9

    def setUp(self):
        super().setUp()
        # As wide as no table is.
        for name, value in {**self.services.environment('user'),
                            'COLUMNS': '200'}.items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def both(self, transcript, *args):
        """Compare what a transcript says of stock Nova and of nova-meta.

        :returns: the metadata that is left
        """
        said, left = [], []
        for app_factory in (host.STOCK, host.NOVA_META):
            self.serve(app_factory)
            self.services.nova = self.url
            said.append(transcript(*args))
            left.append(dict(self.rows()))
            self.server = next(self.unused)
        self.assertEqual(*said)
        self.assertEqual(*left)
        return left[0]

    def commands(self, program, commands):
        """Run commands, which must end as they should.

        :param program: called with the words of a command
        :returns: what they say, without what never is the same twice
        """
        return [(command, self.run_command(status, user, program, command))
                for status, user, command in commands]

    def run_command(self, status, user, program, command):
        names = {'SERVER': self.server, 'IMAGE': client.IMAGE,
                 'FLAVOR': client.FLAVOR}
        said = io.StringIO()
        # In this process, as to start them takes longer than all they do.
        with contextlib.redirect_stdout(said):
            with contextlib.redirect_stderr(said):
                try:
                    ended = program(['--os-username', user, *(
                        names.get(word, word) for word in command.split())])
                except SystemExit as exc:
                    ended = exc.code
        self.assertEqual(status, ended or 0, (command, said.getvalue()))
        return self.same(said.getvalue())

    def same(self, said):
        for pattern, name in ((self.server, 'SERVER'),
                              (r'req-[0-9a-f-]{36}', 'REQUEST'),
                              (r'(?<=adminPass ) .*', 'PASSWORD'),
                              (r'\d{4}-\d\d-\d\dT[\d:.]+', 'TIME')):
            said = re.sub(pattern, name, said)
        return said

    def test_openstack(self):
        self.assertEqual({'e': '6'}, self.both(
            self.commands, openstack_shell.main, OPENSTACK))

    def test_nova(self):
        self.assertEqual({'e': '6'}, self.both(
            self.commands, nova_shell.main, NOVA))

    def calls(self):
        compute = openstack.connect().compute
        server = compute.get_server(self.server)
        return [self.call(error, function, compute, server)
                for error, function in SDK]

    def call(self, error, function, *args):
        """Call a function, which must raise what it should.

        :returns: what it returns or says, and the metadata
        """
        try:
            raised, answer = None, function(*args)
        except exceptions.HttpException as exc:
            raised, answer = type(exc).__name__, f'{exc}: {exc.details}'
        self.assertEqual(error, raised, answer)
        metadata = getattr(answer, 'metadata', None)
        return self.same(str(answer if metadata is None else metadata)), dict(
            self.rows())

    def test_openstacksdk(self):
        self.assertEqual({'e': '6'}, self.both(self.calls))
