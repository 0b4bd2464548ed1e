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

"""Upstream's unit tests of the database layer."""

from nova.db.main import api as main_db_api
from nova.tests.unit.db.main import test_api

from nova_meta.db import api as db_api
from nova_meta.tests.upstream import adapter

load_tests = adapter.load_tests


class DatabaseTests(adapter.Adapted):

    ASKED_FOR = r'\binstance_metadata_'

    def put_in_place(self):
        self.useFixture(adapter.DatabaseAPI())

    def test_functions_in_place(self):
        for name in ('get', 'update', 'delete'):
            name = f'instance_metadata_{name}'
            self.assertIs(getattr(db_api, name), getattr(main_db_api, name))


class InstanceMetadataTestCase(DatabaseTests,
                               test_api.InstanceMetadataTestCase):
    pass


class InstanceTestCase(DatabaseTests, test_api.InstanceTestCase):
    pass
