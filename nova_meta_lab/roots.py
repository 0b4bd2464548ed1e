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

"""Where the programs of database servers are.

They are those of this system, or those of the one that is in the directory
that NOVA_META_TEST_ROOT names, as :mod:`nova_meta_lab.suites` makes it.
"""

import glob
import os
import shutil

VARIABLE = 'NOVA_META_TEST_ROOT'


class Root:
    """What programs take for the root directory.

    :param path: of the directory; that of this system if it is empty
    """

    def __init__(self, path=''):
        self._path = path and os.path.abspath(path)

    @classmethod
    def of_environment(cls):
        return cls(os.environ.get(VARIABLE, ''))

    @property
    def temporary(self):
        """Where directories are made, as :mod:`tempfile` takes it."""
        return f'{self._path}/tmp' if self._path else None

    def inside(self, path):
        """Return what programs of it call a path."""
        return str(path).removeprefix(self._path)

    def command(self, *words):
        """Return what runs a command in it."""
        if not self._path:
            return words
        # Galera copies a database by a script that looks at processes.
        return ('unshare', '--mount-proc', f'--root={self._path}', *words)

    def find(self, name, *places):
        """Return the path of a program, as inside, or None.

        :param places: directories that are searched after the PATH
        """
        path = (os.defpath if self._path
                else os.environ.get('PATH', os.defpath))
        found = shutil.which(name, path=os.pathsep.join(
            self._path + place for place in (*path.split(os.pathsep),
                                             *places)))
        return found and self.inside(found)

    def glob(self, pattern):
        """Return the paths that match, as inside, in order."""
        return sorted(map(self.inside, glob.glob(
            glob.escape(self._path) + pattern)))
