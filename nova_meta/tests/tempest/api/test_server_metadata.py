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

from tempest.api.compute import base
from tempest import config
from tempest.lib import decorators

from nova_meta.race import workload
from nova_meta.tests.tempest import client

CONF = config.CONF


class ServerMetadataTest(client.Concurrent, base.BaseV2ComputeTest):
    """Tests of one server's metadata, with an empty map to begin with."""

    create_default_network = True

    @classmethod
    def resource_setup(cls):
        super().resource_setup()
        limits = cls.limits_client.show_limits()['limits']['absolute']
        if limits['maxServerMeta'] >= 0:
            cls.quota = limits['maxServerMeta']
        if cls.quota < CONF.nova_meta.clients:
            raise cls.skipException(
                f'The quota of metadata items is {cls.quota}, which is less '
                'than [nova_meta]/clients.')
        cls.server = cls.create_test_server(wait_until='ACTIVE')

    def make(self, headers=None):
        return client.MetadataClient(self.servers_client, self.server['id'],
                                     headers)

    def setUp(self):
        super().setUp()
        self.make().replace({})


class AtomicUpdatesTest(ServerMetadataTest):
    """Many clients change the metadata of one server at once."""

    @classmethod
    def skip_checks(cls):
        super().skip_checks()
        cls.skip_unless('atomic_updates', 'This cloud may lose concurrent '
                        'updates of server metadata.')

    @decorators.idempotent_id('3eefe77a-91e5-4cc8-ba9d-2a4719e641b6')
    def test_updates(self):
        """Test that no update of several keys is lost"""
        self.play(workload.named('merge'))

    @decorators.idempotent_id('745436f9-23dc-49b2-9d0d-0240d126051b')
    def test_set_items(self):
        """Test that no update of one item is lost"""
        self.play(workload.named('set'))

    @decorators.idempotent_id('06557bd8-0851-4211-9a32-e1e364316c6b')
    def test_deletes_and_updates(self):
        """Test that no deleted item comes back, and no update is lost"""
        self.play(workload.named('delete and merge'))

    @decorators.idempotent_id('8c4fae1e-c5e1-4a13-b674-1f637a9531b3')
    def test_replaces(self):
        """Test that what is left is what one of the clients has sent"""
        self.play(workload.named('replace'))

    @decorators.idempotent_id('32b7dd76-e309-41cd-a5d2-68c141751bf7')
    def test_set_one_item(self):
        """Test that all may set one new item, and one of them has"""
        self.play(workload.named('same key'))

    @decorators.idempotent_id('af7dc1cd-8900-4f02-bbee-a65702067c23')
    def test_delete_one_item(self):
        """Test that an item is deleted by one client only"""
        self.play(workload.named('delete same key'))


class ConditionsTest(ServerMetadataTest):
    """Requests with If-Match and If-None-Match."""

    @classmethod
    def skip_checks(cls):
        super().skip_checks()
        cls.skip_unless('conditional_requests',
                        'This cloud ignores If-Match and If-None-Match.')

    @decorators.idempotent_id('2e030b4d-f6b0-4a94-b280-5560e1983b87')
    def test_show_if_it_has_changed(self):
        """Test that who has the current metadata is answered 304"""
        seen = self.make().merge({'a': '1'})
        self.assertIsNotNone(seen.etag)
        again = self.make({'If-None-Match': seen.etag})
        self.assertEqual(304, again.list().status)
        self.make().merge({'b': '1'})
        self.assertEqual(200, again.list().status)

    @decorators.idempotent_id('4ab2fab7-37c7-4681-bc56-7d7de3ac7795')
    def test_condition_that_is_false(self):
        """Test that a request whose condition is false changes nothing"""
        seen = self.make().merge({'a': '1'})
        self.make().merge({'a': '2'})
        late = self.make({'If-Match': seen.etag})
        for answer in (late.merge({'a': '3'}), late.replace({}),
                       late.set('a', '3'), late.delete('a')):
            self.assertEqual(412, answer.status, answer.call)
        self.assertEqual({'a': '2'}, self.make().list().answer)

    @decorators.idempotent_id('abef0519-b019-4d43-95f9-6b9cddfe6cde')
    def test_one_of_many_updates(self):
        """Test that of many updates with one tag one is made"""
        seen = self.make().merge({'a': 'old'})
        self.assertEqual(self.one_of(200), self.together(
            lambda one, number: one.merge({'a': f'of {number}'}),
            {'If-Match': seen.etag}))

    @decorators.idempotent_id('ab31b959-43df-426f-8807-ac64e6476b99')
    def test_one_of_many_creates(self):
        """Test that of many who create an item one does"""
        self.assertEqual(self.one_of(200), self.together(
            lambda one, number: one.set('a', str(number)),
            {'If-None-Match': '*'}))
