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

"""Patch the installed Nova, or take the patch out again.

A patch is applied exactly or not at all: with no line of context missing, and
in the one place that it fits.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import sys
from typing import NamedTuple

from nova_meta import release

DESCRIPTION = """\
Make the objects of nova-meta active in all services of the Nova that is
installed here, and nova-meta in its compute API; or look whether they are; or
take them out again, so that every file is what it was, byte for byte.
"""

EPILOG = """\
Restart the services of Nova after "apply" and "revert". Exit status: 0 if the
patches are in (after "revert": are out), 1 if "check" finds that they are not,
2 if this cannot be said or done; then nothing was changed.
"""

PATCHES = pathlib.Path(__file__).parent.with_name('patches')
API_PASTE = 'etc/nova/api-paste.ini'

# What imports this package.
OURS = re.compile(rb'^[^#;\n]*\bnova_meta\b', re.MULTILINE)
METADATA_API = 'nova.api.metadata.handler:MetadataRequestHandler.factory'


class PatchError(Exception):
    """The patches cannot be applied or taken out; the message says why."""


class Patch(NamedTuple):
    """A patch of one hunk.

    :param path: of the file, in a tree of Nova
    :param old: bytes that are there without it
    :param new: bytes that are there with it
    """

    path: str
    old: bytes
    new: bytes

    def is_in(self, content, wanted=True):
        """Tell whether a file has this patch.

        :param wanted: whether it shall have it; for the advice
        :raises: PatchError if it neither has it nor could have it
        """
        # The old bytes may be part of the new ones, not the other way round.
        if content.count(self.new) == 1:
            return True
        if content.count(self.old) == 1:
            return False
        lines = (self.new if wanted else self.old).decode()
        raise PatchError('it is not as Nova ships it at the place of the '
                         f'patch. Change it by hand:\n{lines}')


def read(path):
    """Read a patch as ``git format-patch`` writes it."""
    header, hunk = re.split(rb'^@@ .* @@.*\n', path.read_bytes(),
                            flags=re.MULTILINE)
    # What follows is the version of git.
    hunk = re.sub(rb'^-- \n.*', b'', hunk, flags=re.MULTILINE | re.DOTALL)
    lines = hunk.splitlines(keepends=True)
    return Patch(
        path=re.search(rb'^\+\+\+ b/(.+)$', header, re.MULTILINE)[1].decode(),
        old=b''.join(line[1:] for line in lines if line[:1] in b' -'),
        new=b''.join(line[1:] for line in lines if line[:1] in b' +'))


class Tree:
    """An installed Nova.

    :param root: the directory that has the package ``nova``
    :param version: of that Nova
    :param api_paste: the api-paste.ini that it reads, or None
    """

    def __init__(self, root, version, api_paste=None):
        self.root = root
        self.version = version
        try:
            self.series = release.SERIES[release.major(version)]
        except (KeyError, ValueError):
            raise PatchError(
                f'There are patches for Nova {min(release.SERIES)} to '
                f'{max(release.SERIES)}, and this is {version}.') from None
        self.api_paste = api_paste

    def patches(self):
        """Yield each patch of the series, and the file that it is for.

        :raises: PatchError if there is none
        """
        paths = sorted((PATCHES / self.series).glob('*.patch'))
        if not paths:
            # A package that was built from an archive of the source.
            raise PatchError(f'This nova-meta has no patches in {PATCHES}: '
                             'install it again.')
        for path in paths:
            patch = read(path)
            if patch.path != API_PASTE:
                yield patch, self.root / patch.path
            elif self.api_paste:
                yield patch, self.api_paste

    def state(self, wanted=True):
        """Tell of each file whether it is patched.

        :param wanted: whether it shall be; for the advice
        :returns: a dict of paths to bool
        :raises: PatchError if a file is another one than Nova's
        """
        found = {}
        for patch, path in self.patches():
            try:
                content = path.read_bytes()
                found[path] = patch.is_in(content, wanted)
                if not wanted and OURS.search(content.replace(patch.new, b'')):
                    raise PatchError(
                        'it names nova-meta in another place, too. Put back '
                        'what Nova has there by hand, in [app:metaapp] '
                        f'{METADATA_API}, or the service would not start '
                        'without nova-meta.')
            except (OSError, PatchError) as exc:
                raise PatchError(f'{path}: {exc}') from None
        return found

    def set(self, wanted):
        """Apply the patches, or take them out.

        :param wanted: bool
        :returns: a list of the files that were changed
        :raises: PatchError if a file is another one than Nova's; nothing is
            changed then
        """
        state = self.state(wanted)
        changed = {}
        for patch, path in self.patches():
            if state[path] != wanted:
                old, new = patch.old, patch.new
                changed[path] = path.read_bytes().replace(
                    *((old, new) if wanted else (new, old)))
        _write(changed)
        return list(changed)


def _write(contents):
    """Write all files, or none.

    :param contents: a dict of paths to bytes
    :raises: PatchError
    """
    before = {path: path.read_bytes() for path in contents}
    try:
        for path, content in contents.items():
            _replace(path, content)
    except BaseException as exc:
        said = f'{path}: {exc}'
        for each, content in before.items():
            try:
                if each.read_bytes() != content:
                    _replace(each, content)
            except OSError as failed:
                said += f'\n{each}: it stays changed: {failed}'
        if isinstance(exc, OSError):
            raise PatchError(said) from None
        raise


def _replace(path, content):
    # Whoever reads it meanwhile, or after a crash, finds the one or the other.
    path = path.resolve()
    beside = path.with_name(f'{path.name}.nova-meta')
    try:
        with open(beside, 'wb', opener=_for_us_alone) as file:
            # Before it has any content: there may be secrets in it.
            stat = path.stat()
            os.chown(file.fileno(), stat.st_uid, stat.st_gid)
            shutil.copystat(path, beside)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.utime(beside)
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _for_us_alone(path, flags):
    return os.open(path, flags, mode=0o600)


def find(nova=None, api_paste=None):
    """Find the installed Nova.

    :param nova: the directory that has the package ``nova``; by default the
        one that Python would import here
    :param api_paste: the api-paste.ini that it reads; by default the one in
        /etc/nova if ``nova`` is not given, or else the one that was installed
        with it, if any. False for none.
    :returns: a :class:`Tree`
    :raises: PatchError
    """
    if nova is not None:
        root = pathlib.Path(nova)
        if not _distribution('nova-meta', root):
            raise PatchError(f'nova-meta is not installed in {root}: services '
                             'that are patched would not start.')
    else:
        spec = importlib.util.find_spec('nova')
        if spec is None or spec.origin is None:
            raise PatchError('There is no Nova in this Python environment; '
                             'name the directory with --nova.')
        root = pathlib.Path(spec.origin).parent.parent
    distribution = _distribution('nova', root)
    if distribution is None or not (root / 'nova').is_dir():
        raise PatchError(f'There is no installed Nova in {root}. (The patches '
                         f'in {PATCHES} are made for "git am", too.)')
    if api_paste is None:
        found = [pathlib.Path(file.locate()).resolve()
                 for file in distribution.files or () if file.match(API_PASTE)]
        if nova is None:
            found.insert(0, pathlib.Path('/', API_PASTE))
        api_paste = next((path for path in found if path.exists()), None)
    return Tree(root, distribution.version,
                pathlib.Path(api_paste) if api_paste else None)


def _distribution(name, root):
    return next(iter(importlib.metadata.distributions(
        name=name, path=[str(root)])), None)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='nova-meta-patch', description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument('action', choices=('check', 'apply', 'revert'))
    parser.add_argument(
        '--nova', metavar='PATH',
        help='the directory that has the package "nova", such as '
             '/usr/lib/python3/dist-packages; by default the one that this '
             'Python would import')
    parser.add_argument(
        '--api-paste', metavar='FILE',
        help='the api-paste.ini that nova-api reads; by default '
             f'/{API_PASTE}, unless --nova is given, or else the one that was '
             'installed with Nova')
    parser.add_argument(
        '--no-api-paste', dest='api_paste', action='store_false',
        help='leave api-paste.ini alone')
    return parser.parse_args(argv)


def main(argv=None):
    options = parse(argv)
    try:
        tree = find(options.nova, options.api_paste)
        print(f'Nova {tree.version} ({tree.series}) in {tree.root}')
        if options.action != 'check':
            wanted = options.action == 'apply'
            for path in tree.set(wanted):
                print(f'{path}: {"patched" if wanted else "as it was"} now')
        state = tree.state(options.action != 'revert')
    except PatchError as exc:
        print(f'nova-meta-patch: {exc}', file=sys.stderr)
        return 2
    for path, is_in in state.items():
        print(f'{path}: {"patched" if is_in else "not patched"}')
    return 0 if all(state.values()) or options.action == 'revert' else 1


if __name__ == '__main__':
    sys.exit(main())
