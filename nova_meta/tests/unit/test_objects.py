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

    def test_assigned_metadata_is_the_map(self):
        # As a rebuild does, also one that changes nothing for its caller.
        for pairs in {'b': '1'}, {'a': '1'}, {}:
            server = self.loaded(metadata={'a': '1'})
            server.metadata = pairs
            for one in server, self.sent(server), server.obj_clone():
                self.assertEqual(delta.replace(pairs), one._delta('metadata'))
            server.metadata['c'] = '1'
            self.assertEqual(delta.replace({**pairs, 'c': '1'}),
                             server._delta('metadata'))
            server.obj_reset_changes()
            server.metadata['d'] = '1'
            self.assertEqual(delta.merge({'d': '1'}),
                             server._delta('metadata'))

    def test_assigned_system_metadata_is_a_difference(self):
        for pairs, difference in (
                ({'b': '1'}, delta.Delta({'b': '1'}, frozenset('a'))),
                ({'a': '1'}, delta.Delta()), ({}, delta.remove('a'))):
            server = self.loaded(system_metadata={'a': '1'})
            server.system_metadata = pairs
            self.assertIn('system_metadata', server.obj_what_changed())
            for one in server, self.sent(server), server.obj_clone():
                self.assertEqual(difference, one._delta('system_metadata'))

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

    def remote_call(self, server, method):
        """Call a method as upstream's decorator does, in another process."""
        class Conductor:
            @staticmethod
            def object_action(context, server, name, args, kwargs):
                there = self.sent(server)
                there._context = context
                there.indirection_api = None
                getattr(there, name)(*args, **kwargs)
                return {'obj_what_changed': there.obj_what_changed()}, None

        server.indirection_api = Conductor()
        method()
        server.indirection_api = None

    def test_base_is_kept_over_a_remote_call(self):
        for again in (lambda server: server.system_metadata.update(y='2'),
                      lambda server: setattr(server, 'system_metadata', {
                          **server.system_metadata, 'y': '2'})):
            server = self.loaded(system_metadata={'a': '1'}, metadata={},
                                 migration_context=None)
            server.system_metadata['x'] = '2'
            for _ in range(2):
                self.remote_call(server, server.drop_migration_context)
            again(server)
            for one in server, self.sent(server), server.obj_clone():
                self.assertEqual(delta.merge({'x': '2', 'y': '2'}),
                                 one._delta('system_metadata'))

    def test_assigned_metadata_is_the_map_after_a_remote_call(self):
        server = self.loaded(metadata={'a': '1'}, migration_context=None)
        server.metadata = {'b': '1'}
        self.remote_call(server, server.drop_migration_context)
        self.assertEqual(delta.replace({'b': '1'}), server._delta('metadata'))
