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

"""What tempest finds by the entry point ``tempest.test_plugins``."""

import pathlib

from tempest.test_discover import plugins

from nova_meta.tests.tempest import config


class NovaMetaTempestPlugin(plugins.TempestPlugin):

    def load_tests(self):
        here = pathlib.Path(__file__).resolve().parent
        return str(here / 'api'), str(here.parents[2])

    def register_opts(self, conf):
        for group, opts in config.GROUPS:
            conf.register_group(group)
            conf.register_opts(opts, group)

    def get_opt_lists(self):
        return [(group.name, opts) for group, opts in config.GROUPS]
