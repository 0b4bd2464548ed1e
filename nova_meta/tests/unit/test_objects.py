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

"""How the bases of maps are kept and sent; see the functional tests, too."""

from nova import context
from nova.objects import base
from nova.objects import instance as upstream
from nova import test
from oslo_serialization import jsonutils
from oslo_utils.fixture import uuidsentinel

from nova_meta import delta
from nova_meta.objects import instance


class InstanceTestCase(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        register = base.NovaObjectRegistry.register
        register(instance.Instance)
        self.addCleanup(register, upstream.Instance)

    def loaded(self, cls=instance.Instance, **maps):
        server = cls(context.get_admin_context(), uuid=uuidsentinel.server)
        for name, pairs in maps.items():
            setattr(server, name, pairs)
        server.obj_reset_changes()
        return server

    def sent(self, server, cls=instance.Instance):
        primitive = jsonutils.loads(jsonutils.dumps(server.obj_to_primitive()))
        return cls.obj_from_primitive(primitive)

    def test_difference(self):
        server = self.loaded(metadata={'a': '1', 'b': '1'})
        server.metadata['a'] = '2'
        del server.metadata['b']
        self.assertEqual(delta.Delta({'a': '2'}, frozenset('b')),
                         server._delta('metadata'))
        self.assertEqual(server._delta('metadata'),
                         self.sent(server)._delta('metadata'))

    def test_assigned_map_that_was_loaded(self):
        server = self.loaded(metadata={'a': '1'})
        server.metadata = {'b': '1'}
        self.assertEqual(delta.Delta({'b': '1'}, frozenset('a')),
                         server._delta('metadata'))

    def test_unknown_base(self):
        replace = delta.replace({'a': '1'})
        server = instance.Instance(metadata={'a': '1'})
        self.assertEqual(replace, server._delta('metadata'))
        server = self.loaded()
        server.metadata = {'a': '1'}
        self.assertEqual(replace, server._delta('metadata'))
        self.assertEqual(replace, self.sent(server)._delta('metadata'))

    def test_from_an_old_service(self):
        server = self.loaded(upstream.Instance, metadata={}, system_metadata={
            'a': '1'})
        server.metadata['a'] = '1'
        received = self.sent(server)
        self.assertEqual(delta.replace({'a': '1'}),
                         received._delta('metadata'))
        # What has not changed was the base.
        received.system_metadata['b'] = '1'
        self.assertEqual(delta.merge({'b': '1'}),
                         received._delta('system_metadata'))

    def test_primitive(self):
        server = self.loaded(metadata={'a': '1'}, system_metadata={'b': None})
        stock = self.loaded(upstream.Instance, metadata={'a': '1'},
                            system_metadata={'b': None})
        self.assertEqual(stock.obj_to_primitive(), server.obj_to_primitive())
        server.system_metadata['b'] = '1'
        stock.system_metadata['b'] = '1'
        self.assertEqual(
            {**stock.obj_to_primitive(),
             'nova_meta.base': {'system_metadata': {'b': None}}},
            server.obj_to_primitive())

    def test_old_service_reads_the_primitive(self):
        server = self.loaded(metadata={'a': '1'})
        server.metadata['b'] = '1'
        received = self.sent(server, upstream.Instance)
        self.assertEqual({'a': '1', 'b': '1'}, received.metadata)
        self.assertEqual({'metadata'}, received.obj_what_changed())

    def test_reset(self):
        server = self.loaded(metadata={}, system_metadata={})
        server.metadata['a'] = '1'
        server.system_metadata['a'] = '1'
        server.obj_reset_changes(['metadata'])
        self.assertEqual({'system_metadata'}, server.obj_what_changed())
        self.assertEqual(delta.Delta(), server._delta('metadata'))
        self.assertEqual(delta.merge({'a': '1'}),
                         server._delta('system_metadata'))

    def test_clone(self):
        server = self.loaded(metadata={'a': '1'})
        server.metadata['b'] = '1'
        clone = server.obj_clone()
        self.assertEqual(delta.merge({'b': '1'}), clone._delta('metadata'))
        clone.metadata['c'] = '1'
        self.assertEqual(delta.merge({'b': '1'}), server._delta('metadata'))
