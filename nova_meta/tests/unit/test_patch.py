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

"""Patching and taking out, on the files of all supported releases.

The wheels of Nova that are in the directory that NOVA_META_TEST_NOVA_WHEELS
names are unpacked; of the Nova that is installed the files are there anyway.
"""

import contextlib
import importlib.metadata
import io
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from unittest import mock
import zipfile

import fixtures
import testtools

from nova_meta.cmd import patch
from nova_meta import release

WHEELS = 'NOVA_META_TEST_NOVA_WHEELS'
PATCHED = 'nova/objects/__init__.py'


def run(*args):
    """Run the command.

    :returns: a tuple: its exit status and what it has printed
    """
    output = io.StringIO()
    with (contextlib.redirect_stdout(output),
          contextlib.redirect_stderr(output)):
        status = patch.main(list(map(str, args)))
    return status, output.getvalue()


def content(root):
    """Return what is in each file of a tree, and its mode."""
    return {str(path.relative_to(root)): (path.stat().st_mode,
                                          path.read_bytes())
            for path in root.rglob('*') if path.is_file()}


class TreeTestCase(testtools.TestCase):
    """Has a tree as pip makes it."""

    # Whether with all files, or those that the command looks at.
    whole = True

    def unpack(self, major):
        """Make a tree of a release of Nova, or skip the test."""
        self.root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        wheels = os.environ.get(WHEELS)
        found = list(pathlib.Path(wheels).glob(f'nova-{major}.*.whl')
                     if wheels else ())
        if found:
            with zipfile.ZipFile(found[0]) as wheel:
                wheel.extractall(self.root, [
                    name for name in wheel.namelist()
                    if self.whole or self.is_looked_at(name)])
        elif importlib.metadata.version('nova').startswith(f'{major}.'):
            self.copy_installed()
        elif os.environ.get('CI'):
            self.fail(f'{WHEELS} names no directory with a wheel of Nova '
                      f'{major}')
        else:
            self.skipTest(f'Nova {major} is not here')
        installed = self.root / 'nova_meta-1.dist-info' / 'METADATA'
        installed.parent.mkdir()
        installed.write_text('Name: nova-meta\nVersion: 1\n')
        self.api_paste, = self.root.rglob('api-paste.ini')
        self.options = '--nova', self.root, '--api-paste', self.api_paste

    @staticmethod
    def is_looked_at(name):
        return (name.startswith('nova/objects/') or '.dist-info/' in name or
                name.endswith('/api-paste.ini'))

    def copy_installed(self):
        for file in importlib.metadata.files('nova'):
            if self.is_looked_at(str(file)) and file.name != 'api-paste.ini':
                target = self.root / file
            elif file.name == 'api-paste.ini':
                target = self.root / file.name
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)

    def edit(self, path, old, new):
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))


class RoundTripTests:

    def setUp(self):
        super().setUp()
        self.unpack(self.major)

    def test_round_trip(self):
        shipped = content(self.root)
        self.assertEqual(1, run('check', *self.options)[0])
        self.assertEqual(shipped, content(self.root))

        self.assertEqual(0, run('apply', *self.options)[0])
        patched = content(self.root)
        self.assertEqual(
            {PATCHED, str(self.api_paste.relative_to(self.root))},
            {path for path, _mode in shipped.items() ^ patched.items()})
        status, output = run('check', *self.options)
        self.assertEqual(0, status)
        self.assertIn(release.SERIES[self.major], output)

        self.assertEqual(0, run('apply', *self.options)[0])
        self.assertEqual(patched, content(self.root))

        for _ in range(2):
            self.assertEqual(0, run('revert', *self.options)[0])
            self.assertEqual(shipped, content(self.root))
        self.assertEqual(1, run('check', *self.options)[0])

    def test_as_git_applies_them(self):
        source = self.source()

        def git(*args):
            subprocess.run(
                ['git', '-c', 'user.name=reviewer', '-c', 'user.email=r@e.org',
                 *args], cwd=source, check=True, capture_output=True)

        git('init', '--quiet')
        git('add', '.')
        git('commit', '--quiet', '--message', 'as shipped')
        git('am', *self.patches())
        self.assertAsApplied(source)

    def test_as_patch_applies_them(self):
        if not (shutil.which('patch') or os.environ.get('CI')):
            self.skipTest('there is no patch here')
        source = self.source()
        for each in self.patches():
            subprocess.run(['patch', '--strip=1', '--fuzz=0', '--input', each],
                           cwd=source, check=True, capture_output=True)
        self.assertAsApplied(source)

    def patches(self):
        return sorted((patch.PATCHES / release.SERIES[self.major])
                      .glob('*.patch'))

    def source(self):
        """Make a source tree of what is patched."""
        source = self.root / 'source'
        for path, shipped in self.paths().items():
            (source / path).parent.mkdir(parents=True)
            shutil.copy(shipped, source / path)
        return source

    def paths(self):
        return {PATCHED: self.root / PATCHED, patch.API_PASTE: self.api_paste}

    def assertAsApplied(self, source):
        run('apply', *self.options)
        for path, patched in self.paths().items():
            self.assertEqual(patched.read_bytes(),
                             (source / path).read_bytes())


class RoundTrip29TestCase(RoundTripTests, TreeTestCase):
    major = 29


class RoundTrip30TestCase(RoundTripTests, TreeTestCase):
    major = 30


class RoundTrip31TestCase(RoundTripTests, TreeTestCase):
    major = 31


class RoundTrip32TestCase(RoundTripTests, TreeTestCase):
    major = 32


class RoundTrip33TestCase(RoundTripTests, TreeTestCase):
    major = 33


class RoundTrip34TestCase(RoundTripTests, TreeTestCase):
    major = 34


class InstalledTestCase(TreeTestCase):

    whole = False

    def setUp(self):
        super().setUp()
        self.unpack(importlib.metadata.version('nova').split('.')[0])

    def refused(self, action='apply', options=None):
        """See the command refuse, and change nothing.

        :returns: what it says
        """
        before = content(self.root)
        status, output = run(action, *(options or self.options))
        self.assertEqual(2, status)
        self.assertEqual(before, content(self.root))
        return output

    def test_each_patch_is_of_one_file(self):
        for series in release.SERIES.values():
            paths = [patch.read(path).path for path in sorted(
                (patch.PATCHES / series).glob('*.patch'))]
            self.assertEqual([PATCHED, patch.API_PASTE], paths)

    def test_unknown_release(self):
        metadata, = self.root.glob('nova-*.dist-info/METADATA')
        text = metadata.read_text().splitlines(keepends=True)
        metadata.write_text(''.join(
            'Version: 35.0.0\n' if line.startswith('Version: ') else line
            for line in text))
        self.assertIn('this is 35.0.0', self.refused())

    def test_edited_file(self):
        self.edit(self.root / PATCHED, "__import__('nova.objects.share_mapping"
                  "')\n", "__import__('nova.objects.mine')\n")
        for action in ('check', 'apply', 'revert'):
            self.assertIn(PATCHED, self.refused(action))

    def test_edited_api_paste(self):
        self.edit(self.api_paste, 'nova.api.openstack.compute:APIRouterV21.',
                  'mine:')
        self.assertIn(str(self.api_paste), self.refused())

    def test_advice_is_what_was_asked_for(self):
        self.edit(self.api_paste, 'nova.api.openstack.compute:APIRouterV21.',
                  'mine:')
        ours, stock = 'nova_meta.api.app:factory', 'APIRouterV21.factory'
        for action, advised, other in (('apply', ours, stock),
                                       ('check', ours, stock),
                                       ('revert', stock, ours)):
            said = self.refused(action)
            self.assertIn(advised, said)
            self.assertNotIn(other, said)

    def test_api_paste_that_was_edited_elsewhere(self):
        # Operators do.
        self.edit(self.api_paste, '/: meta', '/mine: meta')
        before = content(self.root)
        self.assertEqual(0, run('apply', *self.options)[0])
        self.assertEqual(0, run('revert', *self.options)[0])
        self.assertEqual(before, content(self.root))

    def test_half_patched(self):
        run('apply', *self.options)
        patched = content(self.root)
        self.edit(self.api_paste, 'nova_meta.api.app:factory',
                  'nova.api.openstack.compute:APIRouterV21.factory')
        status, output = run('check', *self.options)
        self.assertEqual(1, status)
        self.assertIn('api-paste.ini: not patched', output)
        run('apply', *self.options)
        self.assertEqual(patched, content(self.root))

    def test_api_paste_that_is_changed_by_hand(self):
        self.edit(self.api_paste, '/: meta', '/mine: meta')
        self.edit(self.api_paste,
                  'nova.api.openstack.compute:APIRouterV21.factory',
                  'nova_meta.api.app:factory')
        before = self.api_paste.read_bytes()
        self.assertEqual(0, run('apply', *self.options)[0])
        self.assertEqual(before, self.api_paste.read_bytes())

    def test_metadata_api_that_was_switched_on_by_hand(self):
        # It would not start when nova-meta is gone.
        self.edit(self.api_paste, patch.METADATA_API,
                  'nova_meta.api.app:metadata_factory')
        before = content(self.root)
        self.assertEqual(0, run('apply', *self.options)[0])
        patched = self.api_paste.read_bytes()
        status, output = run('revert', *self.options)
        self.assertEqual(2, status)
        self.assertIn(patch.METADATA_API, output)
        self.assertEqual(patched, self.api_paste.read_bytes())
        self.edit(self.api_paste, 'nova_meta.api.app:metadata_factory',
                  f'{patch.METADATA_API}\n# not nova_meta')
        self.assertEqual(0, run('revert', *self.options)[0])
        self.assertEqual(before.keys(), content(self.root).keys())
        self.assertNotIn('= nova_meta', self.api_paste.read_text())

    def test_no_api_paste(self):
        before = self.api_paste.read_bytes()
        options = '--nova', self.root, '--no-api-paste'
        self.assertEqual(0, run('apply', *options)[0])
        self.assertEqual(before, self.api_paste.read_bytes())
        self.assertEqual(0, run('check', *options)[0])

    def test_another_nova_leaves_this_ones_api_paste_alone(self):
        tree = patch.find(str(self.root))
        self.assertNotEqual(pathlib.Path('/', patch.API_PASTE), tree.api_paste)

    def test_no_nova(self):
        shutil.rmtree(self.root / 'nova')
        self.assertIn('no installed Nova', self.refused())

    def test_no_nova_meta(self):
        shutil.rmtree(self.root / 'nova_meta-1.dist-info')
        self.assertIn('nova-meta is not installed', self.refused())

    def test_write_that_fails(self):
        # Of the first file, and of the second.
        replace = pathlib.Path.replace
        for number in range(2):
            calls = []

            def fail(path, target):
                calls.append(target)
                if len(calls) == number + 1:
                    raise OSError('busy')
                return replace(path, target)

            with mock.patch('pathlib.Path.replace', fail):
                said = self.refused()
            self.assertIn('busy', said)
            wrong = self.api_paste if number else self.root / PATCHED
            self.assertIn(f'nova-meta-patch: {wrong}: ', said)
            self.assertEqual(wrong.resolve(), calls[number])

    def test_mode_from_the_first_byte(self):
        # There may be passwords in it.
        self.api_paste.chmod(0o640)
        modes, fsync = [], os.fsync

        def look(file):
            modes.append(stat.S_IMODE(os.fstat(file).st_mode))
            fsync(file)

        created, real = [], os.open

        def create(path, flags, mode=0o777, **kwargs):
            created.append(mode)
            return real(path, flags, mode, **kwargs)

        with mock.patch('os.fsync', look), mock.patch('os.open', create):
            self.assertEqual(0, run('apply', *self.options)[0])
        self.assertEqual([0o644, 0o640], modes)
        self.assertEqual([0o600] * 2, created)
        self.assertEqual(0o640, stat.S_IMODE(self.api_paste.stat().st_mode))

    def test_no_patches(self):
        # They are data of the package; nothing to do is not all well.
        with mock.patch.object(patch, 'PATCHES', self.root):
            for action in ('check', 'apply', 'revert'):
                self.assertIn('no patches', self.refused(action))

    def test_patch_with_a_signature(self):
        path, = (patch.PATCHES / '2026.2').glob('0001*')
        signed = self.root / path.name
        signed.write_bytes(path.read_bytes() + b'-- \n2.39.5\n\n')
        self.assertEqual(patch.read(path), patch.read(signed))

    def test_finds_the_installed_nova(self):
        tree = patch.find()
        self.assertEqual(importlib.metadata.version('nova'), tree.version)
        self.assertTrue((tree.root / PATCHED).exists())

    def test_registers_the_objects(self):
        root = patch.find().root
        code = ('from nova import objects; objects.register_all(); '
                'print(objects.Instance.__module__)')

        def registered():
            # The patched file, and all the others as they are installed.
            return subprocess.run(
                [sys.executable, '-c',
                 'import nova; nova.__path__.insert(0, "%s"); %s' % (
                     self.root / 'nova', code)],
                check=True, capture_output=True, text=True).stdout.strip()

        self.assertEqual('nova.objects.instance', registered(), root)
        run('apply', *self.options)
        self.assertEqual('nova_meta.objects.instance', registered())
