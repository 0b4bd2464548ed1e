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

"""Upstream's unit tests of the compute API and of the server object."""

from nova import objects
from nova.tests.unit.compute import test_api
from nova.tests.unit.compute import test_compute
from nova.tests.unit.compute import test_compute_mgr
from nova.tests.unit.objects import test_instance
from nova.tests.unit.objects import test_objects

from nova_meta.compute import api as compute
from nova_meta.objects import instance
from nova_meta.tests.upstream import adapter

load_tests = adapter.load_tests


class ComputeTests(adapter.Adapted):

    def put_in_place(self):
        self.useFixture(adapter.ComputeAPI())

    def test_compute_api_in_place(self):
        self.assertIsInstance(self.compute_api, compute.API)


class ComputeAPITestCase(ComputeTests, test_compute.ComputeAPITestCase):

    ASKED_FOR = r'def test\w*metadata'

    # Upstream's controller has looked for a key before it has it deleted. Here
    # the compute API does that, and a missing key is the first thing it tells.
    METADATA = {'test_disallow_metadata_changes_during_building':
                {'key': 'value'}}

    def _create_fake_instance_obj(self, params=None, *args, **kwargs):
        metadata = self.METADATA.get(self._testMethodName, {})
        return super()._create_fake_instance_obj(
            {'metadata': metadata, **(params or {})}, *args, **kwargs)


class ComputeAPIUnitTestCase(ComputeTests, test_api.ComputeAPIUnitTestCase):

    # Quota, and what is overridden beyond metadata.
    ASKED_FOR = r'def test\w*(metadata|quota|get_instance)'


class ObjectTests(adapter.Adapted):

    def test_objects_in_place(self):
        self.assertIs(instance.Instance, objects.Instance)


class TestInstanceObject(ObjectTests, test_instance.TestInstanceObject):
    pass


class TestRemoteInstanceObject(ObjectTests,
                               test_instance.TestRemoteInstanceObject):
    pass


class TestInstanceListObject(ObjectTests,
                             test_instance.TestInstanceListObject):
    pass


class TestObjectVersions(ObjectTests, test_objects.TestObjectVersions):
    """The fingerprints, which tell of other fields, methods or arguments."""


class ManagerTests(ObjectTests):
    """What nova-compute does to servers."""

    ASKED_FOR = r'system_metadata|def test\w*(rebuild|shelve|access_ip)'


class ComputeManagerUnitTestCase(
        ManagerTests, test_compute_mgr.ComputeManagerUnitTestCase):
    pass


class ComputeManagerBuildInstanceTestCase(
        ManagerTests, test_compute_mgr.ComputeManagerBuildInstanceTestCase):
    pass
