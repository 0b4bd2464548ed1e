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

"""The series of commits for Nova itself.

It is applied to the source archives of Nova that are in the directory that
NOVA_META_TEST_NOVA_WHEELS names.
"""

import compileall
import os
import pathlib
import re
import subprocess

import fixtures
import testtools

from nova_meta_lab import demo
from nova_meta_lab import host
from nova_meta_lab import series

ARCHIVES = 'NOVA_META_TEST_NOVA_WHEELS'

# The versions of Nova that there is a series for, by its directory.
RELEASES = {'2026.2': '34.0.0'}


class EngineTestCase(testtools.TestCase):

    def test_series_has_the_modules_of_the_plugin(self):
        for release in RELEASES:
            tree = self.useFixture(fixtures.TempDir()).path
            series.engine(tree, release)
            written = {str(path.relative_to(tree))
                       for path in pathlib.Path(tree).rglob('*.py')}
            self.assertEqual(set(series.MODULES.values()), written)
            for source, target in series.MODULES.items():
                self.assertEqual(
                    series.render(source),
                    pathlib.Path(tree, target).read_text(),
                    f'{target} of {release} has drifted from {source}; see '
                    'nova_meta_lab.series')

    def test_rendered_modules_do_not_know_the_plugin(self):
        for source in series.MODULES:
            text = series.render(source)
            self.assertIsNone(re.search('nova[-_ ]meta', text), source)
            lines = text.splitlines()
            self.assertEqual([], [line for line in lines if len(line) > 79])


class PatchTestCase(testtools.TestCase):

    def test_patches(self):
        for release in RELEASES:
            found = series.patches(release)
            self.assertTrue(found)
            for number, path in enumerate(found, 1):
                self.assertTrue(path.name.startswith(f'{number:04}-'))
                text = path.read_text()
                self.assertNotRegex(text, r'nova[-_ ]meta\b')
                # Three lines of context, and no more of Nova's text.
                for hunk in re.split(r'^(?=@@ |diff |-- \n)', text,
                                     flags=re.M):
                    if hunk.startswith('@@ '):
                        self.check_context(path, hunk)

    def check_context(self, path, hunk):
        first = re.split('^[+-]', hunk.split('\n', 1)[1], maxsplit=1,
                         flags=re.M)[0]
        self.assertLessEqual(first.count('\n'), 3, f'{path.name}: {hunk}')

    def test_patches_apply(self):
        for release, version in RELEASES.items():
            archive = pathlib.Path(os.environ.get(ARCHIVES, os.devnull),
                                   f'nova-{version}.tar.gz')
            if not archive.exists():
                self.skipTest(f'{ARCHIVES} names no directory that has '
                              f'{archive.name}')
            tree = os.path.join(
                self.useFixture(fixtures.TempDir()).path, 'nova')
            series.apply(archive, tree, release)
            log = subprocess.run(['git', 'log', '--format=%s'], cwd=tree,
                                 check=True, capture_output=True, text=True)
            self.assertEqual(1 + len(series.patches(release)),
                             len(log.stdout.splitlines()))
            self.assertTrue(compileall.compile_dir(
                os.path.join(tree, 'nova', 'db'), quiet=2))


class ContestantsTestCase(testtools.TestCase):

    def contestants(self, *argv):
        return demo.contestants(demo.parse(argv))

    def test_series_is_left_out(self):
        self.assertEqual([demo.STOCK, demo.OURS], list(self.contestants()))

    def test_series_is_served_from_its_tree(self):
        tree = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (tree / 'nova' / 'db' / 'maps').mkdir(parents=True)
        made = self.contestants('--series', str(tree))
        self.assertEqual([demo.STOCK, demo.OURS, demo.SERIES], list(made))
        self.assertEqual({'app_factory': host.STOCK, 'nova': tree.resolve()},
                         made[demo.SERIES])
        self.assertEqual([demo.SERIES], list(self.contestants(
            '--series', str(tree), '--contestant', demo.SERIES)))

    def test_tree_without_the_series(self):
        # Or the Nova that is installed would be served in its place.
        tree = self.useFixture(fixtures.TempDir()).path
        self.assertRaises(FileNotFoundError, self.contestants, '--series',
                          tree)
