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

"""What stock Nova does, for lack of the samples that say what it should do.

Upstream compares notifications with samples that are pages of Nova's
documentation and not installed.
"""

import copy

from nova.tests.functional.notification_sample_tests import (
    test_instance as test_notifications)
import testtools

from nova_meta.tests.upstream import adapter


class NotificationTests(test_notifications.TestInstanceNotificationSample):
    """Upstream's tests, and one of what they leave out."""

    def test_metadata_instance_update(self):
        self.flags(notify_on_state_change='vm_state', group='notifications')
        server = self._boot_a_server(
            extra_params={'networks': [{'port': self.neutron.port_1['id']}]})
        path = f'/servers/{server["id"]}/metadata'
        for change in (
                lambda: self.api.api_put(path, {'metadata': {'a': '1'}}),
                lambda: self.api.post_server_metadata(server['id'],
                                                      {'b': '2', 'c': '3'}),
                lambda: self.api.api_put(f'{path}/b', {'meta': {'b': '4'}}),
                lambda: self.api.delete_server_metadata(server['id'], 'a')):
            self.notifier.reset()
            change()
            self._verify_notification(
                'instance-update',
                {'uuid': server['id'],
                 'reservation_id': server['reservation_id']})


def notifications(name):
    """Run a test of the instance notifications on stock Nova.

    :param name: the name of the test
    :returns: a list of the names of samples and the notifications that the
        test has compared with them, in that order
    """
    run = _Recorder(name)
    result = testtools.TestResult()
    run.run(result)
    for _test, details in result.errors + result.failures:
        raise RuntimeError(f'{name} fails on stock Nova:\n{details}')
    return run.compared


class _Recorder(NotificationTests):

    def setUp(self):
        self.useFixture(adapter.Objects(adapter.UPSTREAM_OBJECTS))
        self.useFixture(adapter.PasteConfig(adapter.UPSTREAM_FACTORY))
        super().setUp()

    def run(self, result=None):
        # What has no underscore is gone after upstream's clean-up.
        self._compared = compared = []
        super().run(result)
        self.compared = compared

    def _verify_notification(self, sample_file_name, replacements=None,
                             actual=None):
        if actual is None:
            actual, = self.notifier.versioned_notifications
        self._compared.append((sample_file_name, copy.deepcopy(actual)))
