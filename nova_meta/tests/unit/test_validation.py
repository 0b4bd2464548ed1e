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

import types

import testtools

from nova_meta.api import validation


class ResponseBodySchemaTestCase(testtools.TestCase):

    SCHEMAS = types.SimpleNamespace(__name__='schemas',
                                    delete_response={'type': 'null'})

    def decorated(self, name):
        return validation.response_body_schema(self.SCHEMAS, name)(self.method)

    def method(self):
        """Do nothing."""

    def test_where_upstream_has_one(self):
        if not hasattr(validation.validation, 'response_body_schema'):
            self.skipTest('this Nova validates no responses')
        self.assertNotEqual(self.method, self.decorated('delete_response'))

    def test_where_upstream_has_none(self):
        self.assertEqual(self.method, self.decorated('index_response'))
