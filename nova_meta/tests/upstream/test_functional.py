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

"""Upstream's functional tests: a whole Nova with nova-meta's API in it."""

import pathlib
from unittest import mock

import fixtures
from nova import exception
from nova.tests.functional.api_sample_tests import (
    test_server_metadata as test_samples)
from nova.tests.functional import test_servers
from oslo_serialization import jsonutils

from nova_meta.compute import api as compute
from nova_meta.tests.upstream import adapter
from nova_meta.tests.upstream import stock

load_tests = adapter.load_tests


class ApplicationTests(adapter.Adapted):
    """Tests that send requests to the application of api-paste.ini."""

    def put_in_place(self):
        self.useFixture(adapter.InstanceMapping())
        self.useFixture(adapter.PasteConfig())

    def test_application_in_place(self):
        ours = exception.InstanceNotFound('Told by nova-meta')
        with mock.patch.object(compute.API, 'get', autospec=True,
                               side_effect=ours):
            answer = self.api.api_request('/servers/1/metadata')
        self.assertIn('Told by nova-meta', answer.text)


class ServersTest(ApplicationTests, test_servers.ServersTest):
    ASKED_FOR = r'def test\w*metadata'


class ServersTestV21(ApplicationTests, test_servers.ServersTestV21):
    ASKED_FOR = ServersTest.ASKED_FOR


class ServersMetadataJsonTest(ApplicationTests,
                              test_samples.ServersMetadataJsonTest):
    """Responses, compared with the templates of Nova's API samples.

    The samples themselves are pages of Nova's documentation and not installed.
    Upstream compares them with the templates, too; it is given the responses.
    """

    def setUp(self):
        super().setUp()
        self.samples = pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def _get_sample(self, name, api_version=None):
        return self.samples / name

    def _verify_response(self, name, subs, response, *args, **kwargs):
        self._get_sample(name).write_text(response.text)
        return super()._verify_response(name, subs, response, *args, **kwargs)


class TestInstanceNotificationSample(adapter.Adapted,
                                     stock.NotificationTests):
    """Notifications, compared with those that stock Nova sends."""

    ASKED_FOR = r'def test\w*instance_update'

    def put_in_place(self):
        self.from_stock = iter(stock.notifications(self._testMethodName))
        self.useFixture(adapter.Objects())
        self.useFixture(adapter.InstanceMapping())
        self.useFixture(adapter.PasteConfig())

    def _get_notification_sample(self, sample):
        compared_with, notification = next(self.from_stock)
        self.assertEqual(compared_with, sample)
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path) / sample
        path.write_text(jsonutils.dumps(notification))
        return str(path)
