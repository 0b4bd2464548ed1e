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

"""A long run, cut short.

It is a program: Nova's configuration is global, and it wants its own.
"""

import pathlib
import re
import subprocess
import sys

import fixtures
import testtools

from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import histories
from nova_meta_lab import host


@base.periodic_class
class SoakTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)

    def soak(self, *arguments, seconds=8):
        """Let it run for one round.

        :returns: its exit status, and what it has told
        """
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta_lab.soak', *arguments,
             '--minutes', '0.01', '--round', str(seconds),
             '--keep', self.directory,
             '--evidence', self.directory / 'page.rst'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def test_nova_meta(self):
        status, told = self.soak('sqlite')
        self.assertEqual(0, status, told)
        self.assertNotIn('No order', told)
        page = (self.directory / 'page.rst').read_text()
        for name in ('metadata', 'rebuilt', 'limited', 'system_metadata',
                     'extra specs', 'deleted', 'all'):
            requests, acknowledged = map(int, re.search(
                fr'\* - {name}\n     - (\d+)\n     - (\d+)\n', page).groups())
            self.assertGreater(acknowledged, 0, name)
        self.assertIn('* - nothing\n     - 1\n', page)

    def sees(self, app_factory):
        """See that something is wrong, also when it is judged again."""
        status, told = self.soak('mariadb', '--app-factory', app_factory)
        self.assertEqual(1, status, told)
        self.assertIn('metadata: No order explains these:', told)
        path = self.directory / 'round-1-metadata.json'
        self.assertEqual(1, histories.main([path]))
        self.assertTrue(path.with_suffix('.log').read_text())

    def test_stock(self):
        self.sees(host.STOCK)

    def test_condition_checked_before(self):
        self.sees(mutants.path_of(mutants.checked_before))
