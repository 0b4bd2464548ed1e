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

"""Make a directory with the database servers of another suite of Debian.

``python -m nova_meta_lab.suites trixie|sid DIRECTORY [MIRROR]``

It needs debootstrap, and root. Packages of this system are left as they are,
and nothing is started. What is run with NOVA_META_TEST_ROOT=DIRECTORY starts
those servers.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys

from nova_meta_lab import roots

# What Debian 13 has, and what is in none of its releases.
PACKAGES = {'trixie': ['mariadb-server', 'galera-4', 'postgresql', 'rsync'],
            'sid': ['mysql-server']}


def parse(argv):
    parser = argparse.ArgumentParser(prog='suites',
                                     description=__doc__.split('\n\n')[0])
    parser.add_argument('suite', choices=PACKAGES)
    parser.add_argument('directory', type=_directory,
                        help='new, or empty')
    parser.add_argument('mirror', nargs='?',
                        help="debootstrap's own if not given")
    return parser.parse_args(argv)


def _directory(text):
    path = pathlib.Path(text)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise argparse.ArgumentTypeError(f'not an empty directory: {text}')
    return path.absolute()


def main(argv=None):
    options = parse(argv)
    program = roots.Root().find('debootstrap', '/usr/sbin')
    if not program:
        print('debootstrap is not installed; on Debian and Ubuntu: '
              'apt-get install debootstrap', file=sys.stderr)
        return 1
    status = subprocess.call([
        program, '--variant=minbase',
        f'--include={",".join(PACKAGES[options.suite])}', options.suite,
        options.directory, *[options.mirror] * bool(options.mirror)])
    if not status:
        print(f'{roots.VARIABLE}={shlex.quote(str(options.directory))}')
    return status


if __name__ == '__main__':
    sys.exit(main())
