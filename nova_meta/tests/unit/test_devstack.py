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

"""The DevStack plugin, with what DevStack brings told instead of done."""

import pathlib
import subprocess

import ddt
import testtools

PLUGIN = pathlib.Path(__file__).parents[3] / 'devstack'

PASTE = ('iniset /etc/nova/api-paste.ini app:osapi_compute_app_v21 '
         'paste.app_factory ')
PATCH = 'nova-meta-patch {} --api-paste /etc/nova/api-paste.ini'


@ddt.ddt
class DevStackTestCase(testtools.TestCase):

    def phase(self, *args, patch=':', enabled='true'):
        """Return what the plugin would do in a phase, a line for each."""
        told = '; '.join(
            f'function {name} {{ echo {name} "$@"; }}' for name in (
                'setup_develop', 'iniset', 'pip_uninstall', 'nova-meta-patch'))
        return subprocess.run(
            ['bash', '-euc',
             f'{told}; function echo_summary {{ :; }}; '
             'function define_plugin { :; }; '
             f'function is_service_enabled {{ {enabled}; }}; '
             'DEST=/opt/stack NOVA_API_PASTE_INI=/etc/nova/api-paste.ini; '
             f'{patch}; source {PLUGIN}/settings; '
             f'source {PLUGIN}/plugin.sh {" ".join(args)}'],
            check=True, capture_output=True, text=True).stdout.splitlines()

    @ddt.data(
        (['stack', 'install'], 'setup_develop /opt/stack/nova-meta'),
        (['stack', 'post-config'], PATCH.format('apply')),
        (['unstack'], PATCH.format('revert')),
        (['clean'], 'pip_uninstall nova-meta'))
    @ddt.unpack
    def test_phase(self, args, expected):
        self.assertEqual([expected], self.phase(*args))

    @ddt.data(
        (['stack', 'post-config'], 'nova_meta.api.app:factory'),
        (['unstack'], 'nova.api.openstack.compute:APIRouterV21.factory'))
    @ddt.unpack
    def test_not_patched(self, args, expected):
        self.assertEqual([PASTE + expected],
                         self.phase(*args, patch='NOVA_META_PATCH=False'))

    def test_phases_without_work(self):
        for args in (['stack', 'pre-install'], ['stack', 'extra'],
                     ['stack', 'test-config']):
            self.assertEqual([], self.phase(*args))

    def test_host_without_nova(self):
        self.assertEqual([], self.phase('stack', 'install', enabled='false'))
