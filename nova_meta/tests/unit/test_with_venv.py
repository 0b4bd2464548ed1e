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

"""What the script of the README says when it can't make the environment."""

import pathlib
import shutil
import subprocess

import fixtures
import testtools

TOP = pathlib.Path(__file__).parents[3]

# A Python whose venv ends as told, and makes a pip that fails.
PYTHON = """\
#!/bin/sh
case "$*" in
*--clear*)
    mkdir -p "$4/bin"
    printf '#!/bin/sh\\nexit 1\\n' > "$4/bin/python"
    chmod +x "$4/bin/python"
    exit {}
esac
"""


class WithVenvTestCase(testtools.TestCase):

    def run_script(self, venv_ends):
        top = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in ('setup.cfg', 'constraints.txt', 'requirements.txt',
                     'test-requirements.txt', 'tools/with_venv.sh'):
            (top / name).parent.mkdir(exist_ok=True)
            shutil.copy(TOP / name, top / name)
        python = top / 'python'
        python.write_text(PYTHON.format(venv_ends))
        python.chmod(0o755)
        done = subprocess.run(
            [top / 'tools/with_venv.sh', 'true'], text=True,
            env={'PYTHON': str(python), 'PATH': '/usr/bin:/bin'},
            capture_output=True)
        self.assertEqual(1, done.returncode)
        return done.stderr

    def test_read_only(self):
        self.assertIn('set VENV to a directory', self.run_script(1))

    def test_no_network(self):
        said = self.run_script(0)
        self.assertIn('package index', said)
        self.assertIn('PIP_INDEX_URL', said)
