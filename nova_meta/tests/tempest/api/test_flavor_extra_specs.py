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
from tempest.lib import decorators

from nova_meta.race import workload
from nova_meta.tests.tempest import client


class FlavorExtraSpecsTest(client.Concurrent, base.BaseV2ComputeAdminTest):
    """Tests of one flavor's extra specs."""

    def setUp(self):
        super().setUp()
        self.flavor = self.create_flavor(ram=64, vcpus=1, disk=0)

    def make(self, headers=None):
        return client.ExtraSpecsClient(self.admin_flavors_client,
                                       self.flavor['id'], headers)


class AtomicExtraSpecsTest(FlavorExtraSpecsTest):
    """Many administrators change the extra specs of one flavor at once."""

    @classmethod
    def skip_checks(cls):
        super().skip_checks()
        cls.skip_unless('atomic_extra_specs', 'This cloud may lose concurrent '
                        'updates of the extra specs of a flavor.')

    @decorators.idempotent_id('d29c4857-9d78-4c6a-a8a3-7a45fdce6015')
    def test_updates(self):
        """Test that no update of a spec is reverted"""
        self.play(workload.named('count', workload.EXTRA_SPECS))

    @decorators.idempotent_id('cbc36f89-173d-4adc-b593-f5f51340cfce')
    def test_deletes_and_creates(self):
        """Test that no deleted spec comes back, and no new one is lost"""
        self.play(workload.named('delete and merge', workload.EXTRA_SPECS))

    @decorators.idempotent_id('3dca9168-f77c-42a6-82c9-214887199ace')
    def test_set_one_spec(self):
        """Test that all may set one new spec, and one of them has"""
        self.play(workload.named('same key', workload.EXTRA_SPECS))


class ExtraSpecsConditionsTest(FlavorExtraSpecsTest):
    """Requests with If-Match and If-None-Match."""

    @classmethod
    def skip_checks(cls):
        super().skip_checks()
        cls.skip_unless('conditional_requests',
                        'This cloud ignores If-Match and If-None-Match.')

    @decorators.idempotent_id('c8666aa0-8e78-4957-b536-46263f926163')
    def test_one_of_many_updates(self):
        """Test that of many updates with one tag one is made"""
        seen = self.make().merge({'a': 'old'})
        self.assertEqual(self.one_of(200), self.together(
            lambda one, number: one.merge({'a': f'of {number}'}),
            {'If-Match': seen.etag}))
