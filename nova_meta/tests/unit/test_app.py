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

"""Switching on, and refusing to."""

import subprocess
import sys
from unittest import mock

from nova.api.openstack.compute import routes as upstream
from nova import test
import testtools

from nova_meta.api import app
from nova_meta.api import flavors_extraspecs
from nova_meta.api import routes
from nova_meta.api import server_metadata
from nova_meta import exception
from nova_meta import release


class VersionTestCase(testtools.TestCase):

    def test_known(self):
        for found in ('29.0.0', '30.3.0', '31.0.0', '32.2.1', '33.0.0.0rc1',
                      '34.1.0.dev12'):
            with mock.patch('nova.version.version_string',
                            return_value=found):
                release.check()

    def test_unknown(self):
        for found in ('28.3.0', '35.0.0', '35.0.0.0b1'):
            with mock.patch('nova.version.version_string',
                            return_value=found):
                for factory in app.factory, app.metadata_factory:
                    exc = self.assertRaises(exception.UnsupportedNova,
                                            factory, {})
                    self.assertIn(found, str(exc))
                    self.assertIn('paste.app_factory', str(exc))


class FactoryTestCase(testtools.TestCase):
    """What a service does that is started with a line of api-paste.ini."""

    def start(self, factory):
        return subprocess.run(
            [sys.executable, '-c', f"""
# First, as nova-api does: it chooses how threads work.
import nova.api.openstack
from nova import config, objects
from nova_meta.api import app
objects.register_all()
config.parse_args(['nova'], default_config_files=[])
application = app.{factory}({{}})
print(type(application).__name__, objects.Instance.__module__)
"""], check=True, capture_output=True, text=True).stdout.split()

    def test_factory(self):
        self.assertEqual(['APIRouter', 'nova_meta.objects.instance'],
                         self.start('factory'))

    def test_metadata_factory(self):
        self.assertEqual(
            ['MetadataRequestHandler', 'nova_meta.objects.instance'],
            self.start('metadata_factory'))


class RoutesTestCase(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.router = app.factory({})

    def controller(self, method, path):
        found = self.router.map.match(
            path, {'REQUEST_METHOD': method, 'HTTP_HOST': 'localhost'})
        return found and found['controller'].controller

    def test_metadata_is_ours(self):
        for prefix in ('', '/' + 'b' * 32):
            for method, path in (
                    ('GET', ''), ('POST', ''), ('PUT', ''), ('GET', '/k'),
                    ('PUT', '/k'), ('DELETE', '/k')):
                self.assertIsInstance(
                    self.controller(
                        method, f'{prefix}/servers/some-id/metadata{path}'),
                    server_metadata.ServerMetadataController)

    def test_extra_specs_are_ours(self):
        for method, path in (('GET', ''), ('POST', ''), ('GET', '/k'),
                             ('PUT', '/k'), ('DELETE', '/k')):
            self.assertIsInstance(
                self.controller(
                    method, f'/flavors/some-id/os-extra_specs{path}'),
                flavors_extraspecs.FlavorExtraSpecsController)

    def test_everything_else_is_upstreams(self):
        for method, path in (('GET', '/servers'), ('POST', '/servers'),
                             ('GET', '/servers/some-id'),
                             ('GET', '/images/some-id/metadata'),
                             ('GET', '/servers/some-id/tags'),
                             ('GET', '/flavors/some-id')):
            self.assertEqual(
                'nova', type(self.controller(method, path))
                .__module__.split('.')[0])

    def test_no_route_is_added(self):
        ours = {(route.routepath, *route.conditions['method'])
                for route in self.router.map.matchlist if route.conditions}
        theirs = {(route.routepath, *route.conditions['method'])
                  for route in upstream.APIRouterV21().map.matchlist
                  if route.conditions}
        self.assertEqual(theirs, ours)

    def test_upstream_still_has_what_is_replaced(self):
        for factory in routes.REPLACED:
            self.assertIn(factory, {
                factory for path, methods in upstream.ROUTE_LIST
                if not isinstance(methods, str)
                for factory, action in methods.values()})
