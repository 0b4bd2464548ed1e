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

"""Upstream's unit tests of the server metadata controller."""

import fixtures
from nova.compute import api as nova_compute
from nova import context
from nova.db.main import api as main_db_api
from nova import objects
from nova.tests.unit.api.openstack.compute import test_server_metadata
from nova.tests.unit.policies import test_server_metadata as test_policies

from nova_meta.api import server_metadata
from nova_meta.compute import api as compute
from nova_meta.tests.upstream import adapter

load_tests = adapter.load_tests


class ControllerTests(adapter.Adapted):
    """The controller, with a server in the database.

    Upstream's tests make up what the compute API and the database layer
    return. Changes are decided on the server's row, so there has to be one
    that says the same.
    """

    def put_in_place(self):
        self.useFixture(fixtures.MockPatchObject(
            test_server_metadata, 'server_metadata_v21', server_metadata))
        # Looked up when it is called, after a test has replaced it.
        self.useFixture(fixtures.MockPatch(
            'nova_meta.db.api.instance_metadata_get',
            lambda context, instance_uuid, must_exist=False:
                main_db_api.instance_metadata_get(context, instance_uuid)))

    def setUp(self):
        super().setUp()
        ctxt = context.get_admin_context()
        told = nova_compute.API().get(ctxt, self.uuid)
        objects.Instance(
            ctxt, uuid=told.uuid, project_id=told.project_id,
            user_id=told.user_id, vm_state=told.vm_state,
            task_state=told.task_state, launched_at=told.launched_at,
            metadata=main_db_api.instance_metadata_get(ctxt, told.uuid)
        ).create()

    def test_controller_in_place(self):
        self.assertIsInstance(self.controller,
                              server_metadata.ServerMetadataController)


class ServerMetaDataTestV21(ControllerTests,
                            test_server_metadata.ServerMetaDataTestV21):
    pass


class BadStateServerMetaDataTestV21(
        ControllerTests, test_server_metadata.BadStateServerMetaDataTestV21):

    def put_in_place(self):
        super().put_in_place()
        if self._testMethodName == 'test_instance_lock_update_metadata':
            # It makes upstream's method refuse, which is overridden.
            self.useFixture(fixtures.MockPatchObject(
                compute.API, 'update_instance_metadata',
                lambda self, *args:
                    nova_compute.API.update_instance_metadata(*args[:-1])))


class PolicyTests(adapter.Adapted):

    def put_in_place(self):
        self.useFixture(adapter.ComputeAPI())
        self.useFixture(fixtures.MockPatchObject(
            test_policies, 'server_metadata', server_metadata))

    def test_controller_in_place(self):
        self.assertIsInstance(self.controller,
                              server_metadata.ServerMetadataController)


class ServerMetadataPolicyTest(PolicyTests,
                               test_policies.ServerMetadataPolicyTest):
    pass


class ServerMetadataNoLegacyPolicyTest(
        PolicyTests,
        # Older releases of Nova have another name for it.
        getattr(test_policies, 'ServerMetadataNoLegacyPolicyTest',
                test_policies.ServerMetadataPolicyTest)):
    pass
