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

"""The series of commits for Nova itself, and the trees that it makes.

The modules of the engine are the plugin's, but for the names that they import.
``render`` writes them into a tree of Nova, ``apply`` unpacks a source archive
of Nova and applies the series to it, ``export`` writes the commits of a tree
into the series.

If the tree is where Python looks first for Nova, all programs of the lab that
play something have it in place of nova-meta::

    PYTHONPATH=TREE python -m nova_meta_lab.orders mariadb
"""

import argparse
import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERIES = ROOT / 'series'

# Modules of the plugin, and where they are in Nova.
MODULES = {
    'nova_meta/delta.py': 'nova/db/maps/delta.py',
    'nova_meta/db/galera.py': 'nova/db/maps/galera.py',
    'nova_meta/db/retry.py': 'nova/db/maps/retry.py',
    'nova_meta/db/swap.py': 'nova/db/maps/swap.py',
    'nova_meta/db/transaction.py': 'nova/db/maps/transaction.py',
    'nova_meta/db/duplicates.py': 'nova/db/maps/duplicates.py',
    'nova_meta/etag.py': 'nova/etag.py',
    'nova_meta/tests/unit/test_galera.py':
        'nova/tests/unit/db/maps/test_galera.py',
    'nova_meta/tests/unit/test_retry.py':
        'nova/tests/unit/db/maps/test_retry.py',
}

# Of the engine, in Nova.
PACKAGE = 'db', 'maps'

# What is replaced in them, in this order.
NAMES = (
    (r'from nova_meta import conf\n', 'import nova.conf\n'),
    (r'\bconf\.CONF\b', 'nova.conf.CONF'),
    (r'\bCONF\.nova_meta\.', 'CONF.map_update.'),
    (r'from nova_meta import (delta)\b', r'from nova.db.maps import \1'),
    (r'from nova_meta import exception\b', 'from nova import exception'),
    (r'\bnova_meta\.etag\b', 'nova.etag'),
    (r'\bnova_meta\.(db|delta)\b',
     lambda found: 'nova.db.maps' + '.delta' * (found[1] == 'delta')),
    (r'\n*import testtools\n\n(?=from nova)', '\n\nfrom nova import test\n'),
    (r'\btesttools\.TestCase\b', 'test.NoDBTestCase'),
    (r"'nova_meta'", "'nova_db_maps'"),
)


def render(source):
    """Return the text of a module of the plugin as it is in Nova.

    :param source: its path, a key of MODULES
    """
    text = (ROOT / source).read_text()
    for pattern, replacement in NAMES:
        text = re.sub(pattern, replacement, text)
    return _sort_imports(text)


def _sort_imports(text):
    """Sort the block of imports that the names have put out of order."""
    def order(found):
        lines = found[0].splitlines(keepends=True)
        return ''.join(sorted(lines, key=lambda line: re.sub(
            r'^(from|import) (\S+)( import (\S+))?.*\n', r'\2.\4',
            line).rstrip('.').lower()))

    return re.sub(r'(?:^(?:from|import) nova\b.*\n)+', order, text,
                  flags=re.MULTILINE)


def write(tree):
    """Write all modules into a tree of Nova."""
    for source, target in MODULES.items():
        path = pathlib.Path(tree, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(source))


def checked(tree):
    """Return the absolute path of a tree of Nova that has the series.

    :raises: FileNotFoundError if it has not, or the Nova that is installed
        would take its place
    """
    return pathlib.Path(tree, 'nova', *PACKAGE).resolve(strict=True).parents[2]


def is_imported():
    """Whether the Nova that this process imports has the series."""
    # Not by an import: some have to come first.
    return any(pathlib.Path(place, *PACKAGE).is_dir() for place in
               importlib.util.find_spec('nova').submodule_search_locations)


def module(name):
    """Import a module of the engine, from where it is served: Nova, or ours.

    :param name: that of the plugin's, such as nova_meta.db.swap
    """
    path = name.replace('.', '/') + '.py'
    if is_imported():
        path = MODULES[path]
    return importlib.import_module(path[:-len('.py')].replace('/', '.'))


def git(tree, *args):
    """Run git in a directory, whoever the user of this machine is."""
    subprocess.run(
        ['git', '-c', 'user.name=nova-meta', '-c', 'user.email=nova-meta',
         '-c', 'commit.gpgsign=false', *args],
        cwd=tree, check=True, stdout=subprocess.DEVNULL)


def engine(tree, release):
    """Write the modules alone, as the series has them, into an empty tree.

    All of them are new in Nova, so that its other files are not needed.
    """
    git(tree, 'init', '--quiet')
    for patch in patches(release):
        git(tree, 'apply', *(f'--include={target}'
                             for target in MODULES.values()), patch)


def apply(archive, tree, release):
    """Unpack a source archive of Nova, and apply the series with git am.

    :param archive: its path, nova-VERSION.tar.gz
    :param tree: the path of a directory, which is made
    :param release: the directory in SERIES
    """
    tree = pathlib.Path(tree)
    tree.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name, _, member.name = member.name.partition('/')
            if member.name:
                tar.extract(member, tree)
    git(tree, 'init', '--quiet')
    git(tree, 'add', '--all', '--force')
    git(tree, 'commit', '--quiet', '--message', pathlib.Path(archive).name)
    git(tree, 'am', '--quiet', *patches(release))


def patches(release):
    """Return the paths of the patches of a release, in order."""
    return sorted((SERIES / release).glob('*.patch'))


def export(tree, base, release):
    """Write the commits of a tree, those after ``base``, into the series."""
    (SERIES / release).mkdir(parents=True, exist_ok=True)
    for old in patches(release):
        old.unlink()
    git(tree, 'format-patch', '--quiet', '--zero-commit', '--no-signature',
        '--no-numbered', '--unified=3', '--output-directory',
        SERIES / release, base)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function, *names in ((write, 'tree'),
                             (apply, 'archive', 'tree', 'release'),
                             (export, 'tree', 'base', 'release')):
        command = commands.add_parser(
            'render' if function is write else function.__name__,
            help=function.__doc__.splitlines()[0])
        for name in names:
            command.add_argument(name)
        command.set_defaults(function=function)
    arguments = vars(parser.parse_args())
    return arguments.pop('function')(**arguments)


if __name__ == '__main__':
    sys.exit(main())
