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

"""Programs of this system, and of the one in a directory."""

import os
import pathlib

import fixtures
import testtools

from nova_meta_lab import roots


class RootTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = self.useFixture(fixtures.TempDir()).path
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', f'{self.directory}/path'))

    def program(self, path):
        """Make a program, and return its path."""
        made = pathlib.Path(self.directory + path)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.touch(0o755)
        return str(made)

    def test_this_system(self):
        root = roots.Root()
        elsewhere = self.program('/elsewhere/server')
        places = os.path.dirname(elsewhere),
        self.assertIsNone(root.find('server'))
        self.assertEqual(elsewhere, root.find('server', *places))
        # The PATH comes first.
        self.assertEqual(self.program('/path/server'),
                         root.find('server', *places))
        self.assertEqual(['server', '-p'], list(root.command('server', '-p')))
        self.assertEqual('/tmp/socket', root.inside('/tmp/socket'))
        self.assertIsNone(root.temporary)

    def test_directory(self):
        root = roots.Root(self.directory)
        self.program('/path/server')
        # That is not the PATH in there.
        self.assertIsNone(root.find('server'))
        self.program('/usr/sbin/server')
        self.assertEqual('/usr/sbin/server', root.find('server', '/usr/sbin'))
        self.program('/usr/bin/server')
        self.assertEqual('/usr/bin/server', root.find('server', '/usr/sbin'))
        *prefix, program = root.command('server')
        self.assertEqual('server', program)
        self.assertIn(f'--root={self.directory}', prefix)
        self.assertEqual('/tmp/socket', root.inside(
            pathlib.Path(root.temporary) / 'socket'))

    def test_relative(self):
        self.assertEqual('/data', roots.Root(os.path.relpath(
            self.directory)).inside(f'{self.directory}/data'))

    def test_glob(self):
        for version in '17', '15':
            self.program(f'/usr/lib/server/{version}/bin/server')
        self.assertEqual(
            [f'/usr/lib/server/{version}/bin' for version in ('15', '17')],
            roots.Root(self.directory).glob('/usr/lib/server/*/bin'))

    def test_environment(self):
        self.useFixture(fixtures.EnvironmentVariable(
            roots.VARIABLE, self.directory))
        self.assertEqual(f'{self.directory}/tmp',
                         roots.Root.of_environment().temporary)
        self.useFixture(fixtures.EnvironmentVariable(roots.VARIABLE))
        self.assertIsNone(roots.Root.of_environment().temporary)
