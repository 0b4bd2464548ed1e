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

"""Upstream's tests of flavors and their extra specs."""

import types

import fixtures
from nova import objects
from nova.objects import flavor as upstream
from nova.tests.functional.db import test_flavor as test_flavor_db
from nova.tests.functional import test_flavor_extraspecs as test_functional
from nova.tests.unit.api.openstack.compute import test_flavors_extraspecs
from nova.tests.unit.objects import test_flavor
from nova.tests.unit.policies import test_flavor_extra_specs as test_policies

from nova_meta.api import flavors_extraspecs
from nova_meta.objects import flavor
from nova_meta.tests.upstream import adapter

load_tests = adapter.load_tests


class FlavorTests(adapter.Adapted):

    def put_in_place(self):
        # Some name the class by its module.
        for module in test_flavor, test_flavor_db:
            if hasattr(module, 'flavor_obj'):
                self.useFixture(fixtures.MockPatchObject(
                    module, 'flavor_obj', types.SimpleNamespace(
                        **{**vars(upstream), 'Flavor': flavor.Flavor})))

    def test_flavor_in_place(self):
        self.assertIs(flavor.Flavor, objects.Flavor)


class TestFlavor(FlavorTests, test_flavor.TestFlavor):
    pass


class TestFlavorRemote(FlavorTests, test_flavor.TestFlavorRemote):
    pass


class TestFlavorList(FlavorTests, test_flavor.TestFlavorList):
    pass


class TestFlavorExtraSpecs(FlavorTests, test_flavor.TestFlavorExtraSpecs):
    pass


class FlavorObjectTestCase(FlavorTests, test_flavor_db.FlavorObjectTestCase):
    pass


def save_changes(self, change, condition):
    if change.drop.difference(self.extra_specs):
        self.save_extra_specs(to_delete=change.drop)
    self.extra_specs = change.apply(self.extra_specs)
    self.save()


class ChangesAreSaved(fixtures.Fixture):
    """The controller saves changes by save(), which tests replace."""

    def _setUp(self):
        self.useFixture(fixtures.MockPatchObject(
            flavor.Flavor, 'change_extra_specs', save_changes))


class FlavorsExtraSpecsTestV21(
        adapter.Adapted, test_flavors_extraspecs.FlavorsExtraSpecsTestV21):

    flavorextraspecs = flavors_extraspecs

    def put_in_place(self):
        self.useFixture(ChangesAreSaved())

    def test_controller_in_place(self):
        self.assertIsInstance(self.controller,
                              flavors_extraspecs.FlavorExtraSpecsController)


class PolicyTests(adapter.Adapted):

    def put_in_place(self):
        self.useFixture(ChangesAreSaved())
        self.useFixture(fixtures.MockPatchObject(
            test_policies, 'flavors_extraspecs', flavors_extraspecs))

    def test_controller_in_place(self):
        self.assertIsInstance(self.controller,
                              flavors_extraspecs.FlavorExtraSpecsController)


class FlavorExtraSpecsPolicyTest(PolicyTests,
                                 test_policies.FlavorExtraSpecsPolicyTest):
    pass


class FlavorExtraSpecsNoLegacyPolicyTest(
        PolicyTests, test_policies.FlavorExtraSpecsNoLegacyPolicyTest):
    pass


class ApplicationTests(adapter.Adapted):

    def put_in_place(self):
        self.useFixture(adapter.PasteConfig())

    def test_application_in_place(self):
        answer = self.api.api_get('/flavors/1/os-extra_specs')
        self.assertIn('ETag', answer.headers)


class FlavorExtraSpecsTest(ApplicationTests,
                           test_functional.FlavorExtraSpecsTest):
    pass


class FlavorExtraSpecsV286Test(ApplicationTests,
                               test_functional.FlavorExtraSpecsV286Test):
    pass
