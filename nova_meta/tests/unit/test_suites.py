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

"""How servers of another suite are asked for."""

import contextlib
import io
import pathlib

import fixtures
import testtools

from nova_meta_lab import roots
from nova_meta_lab import suites


class SuitesTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)
        self.target = self.directory / 'a target'

    def run_command(self, *arguments):
        """Make a directory.

        :returns: a tuple of the exit status and the output
        """
        with contextlib.redirect_stdout(io.StringIO()) as output, \
                contextlib.redirect_stderr(output):
            try:
                status = suites.main(arguments)
            except SystemExit as exc:
                status = exc.code
        return status, output.getvalue()

    def debootstrap(self, status):
        """Have a debootstrap that notes what it is told."""
        program = self.directory / 'debootstrap'
        program.write_text('#!/bin/sh\n'
                           f'printf "%s\\n" "$@" > {self.directory}/told\n'
                           f'exit {status}\n')
        program.chmod(0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', str(self.directory)))

    def told(self):
        return (self.directory / 'told').read_text().splitlines()

    def test_made(self):
        self.debootstrap(0)
        status, output = self.run_command('sid', str(self.target))
        self.assertEqual(0, status, output)
        self.assertEqual(['--variant=minbase', '--include=mysql-server',
                          'sid', str(self.target)], self.told())
        self.assertIn(f"{roots.VARIABLE}='{self.target}'", output)

    def test_mirror(self):
        self.debootstrap(0)
        self.run_command('trixie', str(self.target), 'file:/mirror')
        self.assertEqual(['trixie', str(self.target), 'file:/mirror'],
                         self.told()[-3:])

    def test_failed(self):
        self.debootstrap(3)
        self.assertEqual((3, ''), self.run_command('sid', str(self.target)))

    def test_not_installed(self):
        self.patch(roots.Root, 'find', lambda *args: None)
        status, output = self.run_command('sid', str(self.target))
        self.assertEqual(1, status)
        self.assertIn('apt-get install debootstrap', output)

    def test_bad_input(self):
        (self.directory / 'file').touch()
        for arguments, word in (
                (['sid', self.directory], 'not an empty directory'),
                (['sid', self.directory / 'file'], 'not an empty directory'),
                (['sarge', self.target], 'sarge'), (['sid'], 'directory')):
            status, output = self.run_command(*map(str, arguments))
            self.assertEqual(2, status, output)
            self.assertIn(word, output)
