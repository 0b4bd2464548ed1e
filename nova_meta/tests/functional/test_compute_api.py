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

"""Rules that are judged on the row as locked, quota and notifications."""

import copy
import itertools
from unittest import mock

import fixtures
from nova.compute import api as compute_api
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception as nova_exception
from nova import objects
from nova import test
from nova.tests import fixtures as nova_fixtures
from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_limit import fixture as limit_fixture
from oslo_utils import timeutils
from oslo_utils import uuidutils

from nova_meta.compute import api
from nova_meta.db import api as db_api
from nova_meta.db import quotas
from nova_meta.db import swap
from nova_meta import etag
from nova_meta import exception
from nova_meta.race import client
from nova_meta.tests.functional import base
from nova_meta_lab import servers


class ComputeAPITestCase(test.TestCase):

    def setUp(self):
        super().setUp()
        self.notifier = self.useFixture(
            nova_fixtures.NotificationFixture(self))
        self.context = nova_context.RequestContext('user', 'project')
        self.api = api.API()
        self.server = self.make_server()

    def make_server(self):
        flavor = objects.Flavor.get_by_name(self.context, 'm1.small')
        server = objects.Instance(
            self.context, project_id='project', user_id='user',
            vm_state=vm_states.ACTIVE, launched_at=timeutils.utcnow(),
            flavor=flavor, instance_type_id=flavor.id, image_ref='',
            system_metadata={}, metadata={'a': '1'}, display_name='name')
        server.create()
        return server

    def change_row(self, **values):
        """Change the server behind the back of the request."""
        other = objects.Instance.get_by_uuid(self.context, self.server.uuid)
        for name, value in values.items():
            setattr(other, name, value)
        other.save()
        self.notifier.reset()

    def update(self, metadata, context=None, **kwargs):
        return self.api.update_instance_metadata(
            context or self.context, self.server, metadata, **kwargs)

    def delete(self, key):
        self.api.delete_instance_metadata(self.context, self.server, key)

    def metadata(self):
        return self.api.get_instance_metadata(self.context, self.server)


class RulesTestCase(ComputeAPITestCase):

    def assertRefused(self, error):
        self.assertRaises(error, self.update, {'b': '2'})
        self.assertRaises(error, self.delete, 'a')
        self.assertEqual({'a': '1'}, self.metadata())

    def test_result_and_instance(self):
        self.assertEqual({'a': '1', 'b': '2'}, self.update({'b': '2'}))
        self.assertEqual({'a': '1', 'b': '2'}, self.server.metadata)
        self.assertEqual({'c': '3'}, self.update({'c': '3'}, delete=True))
        self.delete('c')
        self.assertEqual({}, self.server.metadata)
        self.assertNotIn('metadata', self.server.obj_what_changed())

    def test_locked_meanwhile(self):
        self.change_row(locked=True)
        self.assertFalse(self.server.locked)
        self.assertRefused(nova_exception.InstanceIsLocked)
        # As upstream: not for an admin.
        self.update({'b': '2'}, context=nova_context.get_admin_context())

    def test_state_changed_meanwhile(self):
        self.change_row(vm_state=vm_states.SHELVED)
        self.assertRefused(nova_exception.InstanceInvalidState)

    def test_unlocked_meanwhile(self):
        self.server.locked = True
        self.assertRaises(nova_exception.InstanceIsLocked, self.update, {})

    def test_deleted_meanwhile(self):
        objects.Instance.get_by_uuid(
            self.context, self.server.uuid).destroy()
        self.assertRaises(nova_exception.InstanceNotFound, self.update,
                          {'b': '2'})
        # One that was loaded is taken for there, as upstream takes it.
        self.assertRaises(exception.MetadataItemNotFound, self.delete, 'a')
        self.assertEqual({}, self.metadata())
        self.server = objects.Instance(self.context, uuid=self.server.uuid)
        for call in (lambda: self.update({'b': '2'}),
                     lambda: self.delete('a'), self.metadata):
            self.assertRaises(nova_exception.InstanceNotFound, call)

    def test_key_deleted_meanwhile(self):
        self.delete('a')
        self.server.metadata = {'a': '1'}
        self.assertRaises(exception.MetadataItemNotFound, self.delete, 'a')

    def test_absent_key_of_a_locked_server(self):
        self.change_row(locked=True)
        self.assertRaises(exception.MetadataItemNotFound, self.delete, 'b')


class CellTestCase(base.DatabaseTestCase):
    """A cell that this process has not used yet may be down.

    oslo.db would wait for it in the thread of the request, for 100 seconds by
    default. Upstream waits for it in another thread.
    """

    def setUp(self):
        super().setUp()
        self.useFixture(nova_fixtures.RPCFixture())
        self.upstream = self.useFixture(fixtures.MockPatchObject(
            compute_api.API, '_get_instance_from_cell')).mock

    def is_left_to_upstream(self, mapping):
        """Get the server, as a request does."""
        context = nova_context.RequestContext(client.USER, client.PROJECT)
        got = api.API()._get_instance_from_cell(
            context, objects.InstanceMapping(
                instance_uuid=self.server, project_id=client.PROJECT,
                queued_for_delete=False, cell_mapping=mapping), [], False)
        return got is self.upstream.return_value

    def mapping(self, url):
        return objects.CellMapping(
            uuid=uuidutils.generate_uuid(), transport_url='none:///',
            database_connection=url)

    def read(self, mapping):
        with nova_context.target_cell(self.context(), mapping) as context:
            db_api.instance_metadata_get(context, self.server)

    def test_until_it_was_used(self):
        mapping = self.mapping(self.host.url('cell1'))
        self.assertTrue(self.is_left_to_upstream(mapping))
        self.read(mapping)
        self.assertFalse(self.is_left_to_upstream(mapping))

    def test_down_from_the_start(self):
        for option, value in ('max_retries', 1), ('retry_interval', 0):
            cfg.CONF.set_override(option, value, 'database')
            self.addCleanup(cfg.CONF.clear_override, option, 'database')
        mapping = self.mapping(
            f'mysql+pymysql://127.0.0.1:{servers.free_port()}/nova')
        self.assertTrue(self.is_left_to_upstream(mapping))
        self.assertRaises(db_exc.DBConnectionError, self.read, mapping)
        self.assertTrue(self.is_left_to_upstream(mapping))


class ConditionTestCase(ComputeAPITestCase):

    FALSE = etag.Condition.of(etag.of(), '"other"', None)

    def test_is_of_one_call(self):
        before = set(vars(self.context))
        for refused in (
                lambda: self.update({'b': '2'}, condition=self.FALSE),
                lambda: self.api.delete_instance_metadata(
                    self.context, self.server, 'a', self.FALSE)):
            self.assertRaises(exception.PreconditionFailed, refused)
        self.assertEqual({'a': '1'}, self.metadata())
        # The same context again, a copy of it, and the one of an admin.
        self.update({'b': '2'})
        self.update({'c': '3'}, context=copy.copy(self.context))
        self.update({'d': '4'}, context=self.context.elevated())
        self.delete('a')
        self.assertEqual({'b': '2', 'c': '3', 'd': '4'}, self.metadata())
        self.assertEqual(before, set(vars(self.context)))

    def test_is_decided_after_lock_and_state(self):
        self.change_row(locked=True)
        self.assertRaises(nova_exception.InstanceIsLocked, self.update,
                          {'b': '2'}, condition=self.FALSE)


class QuotaTestCase(ComputeAPITestCase):

    def setUp(self):
        super().setUp()
        self.flags(metadata_items=3, group='quota')

    def set_limit(self, limit):
        try:
            objects.Quotas.create_limit(self.context, 'project',
                                        'metadata_items', limit)
        except nova_exception.QuotaExists:
            objects.Quotas.update_limit(self.context, 'project',
                                        'metadata_items', limit)

    def assertLimit(self, limit):
        for n in range(1, limit):
            self.update({str(n): '1'})
        self.assertRaises(nova_exception.MetadataLimitExceeded,
                          self.update, {'more': '1'})
        self.assertEqual(limit, len(self.metadata()))

    def test_default(self):
        self.assertLimit(3)

    def test_lower_limit_of_the_project(self):
        self.set_limit(2)
        self.assertLimit(2)

    def test_higher_limit_of_the_project(self):
        self.set_limit(20)
        self.assertLimit(20)

    def test_unlimited(self):
        self.set_limit(-1)
        self.update({str(n): '1' for n in range(1000)})
        self.assertEqual(1001, len(self.metadata()))

    def test_default_unlimited(self):
        self.flags(metadata_items=-1, group='quota')
        self.set_limit(2)
        self.assertLimit(2)

    def test_limit_lowered_below_what_is_there(self):
        # As upstream: even a change that adds nothing is refused, a delete is
        # not.
        self.update({'b': '2', 'c': '3'})
        self.set_limit(2)
        for call in (lambda: self.update({'a': 'changed'}),
                     lambda: self.update({'a': '', 'b': '', 'c': ''},
                                         delete=True)):
            self.assertRaises(nova_exception.MetadataLimitExceeded, call)
        self.delete('c')
        self.update({'a': 'changed'})
        self.update({'a': '1'}, delete=True)

    def test_judged_on_what_others_have_added_meanwhile(self):
        self.server.metadata = {}
        other = objects.Instance.get_by_uuid(
            self.context, self.server.uuid, expected_attrs=['metadata'])
        other.metadata = {'a': '1', 'b': '2', 'c': '3'}
        other.save()
        self.assertRaises(nova_exception.MetadataLimitExceeded,
                          self.update, {'d': '4'})
        self.update({'d': '4'}, delete=True)

    def test_nothing_but_the_cell_is_asked_under_the_lock(self):
        self.set_limit(20)
        locked = []

        def locking(*args, **kwargs):
            locked.append(True)
            try:
                return real_swap(*args, **kwargs)
            finally:
                locked.pop()

        def unlocked(real):
            def call(*args, **kwargs):
                self.assertEqual([], locked)
                return real(*args, **kwargs)

            return call

        real_swap = swap.swap
        with mock.patch.object(swap, 'swap', locking), \
                mock.patch.object(quotas, 'metadata_items_limit',
                                  unlocked(quotas.metadata_items_limit)), \
                mock.patch.object(objects.Quotas, 'limit_check',
                                  unlocked(objects.Quotas.limit_check)):
            self.assertLimit(20)

    def test_limit_is_known_before_the_lock(self):
        # So that no transaction is given up to ask for more.
        for option, limit in itertools.product((128, 1000, -1),
                                               (202, 1000, -1)):
            self.flags(metadata_items=option, group='quota')
            self.set_limit(limit)
            self.update({str(n): '1' for n in range(200)}, delete=True)
            self.assertLocksOnce({'a': '2'}, checks=0)
            self.assertLocksOnce({'b': '2'}, checks=0)

    def test_refused_by_the_check(self):
        # Whose words the client gets.
        self.assertLimit(3)
        with mock.patch.object(objects.Quotas, 'limit_check',
                               side_effect=objects.Quotas.limit_check) as it:
            error = self.assertRaises(nova_exception.MetadataLimitExceeded,
                                      self.update, {'more': '1'})
        self.assertIn('3', error.format_message())
        it.assert_called_once_with(self.context, metadata_items=4)

    def test_limit_raised_after_it_was_read(self):
        def read(context):
            self.set_limit(20)
            return 1

        with mock.patch.object(quotas, 'metadata_items_limit', read):
            self.update({'b': '1'})
        self.assertEqual({'a': '1', 'b': '1'}, self.metadata())

    def test_pairs_that_the_check_refuses(self):
        for pairs in {'': 'x'}, {'x': 'x' * 256}, {'x' * 256: 'x'}, {'x': 1}:
            self.assertRaises(
                (nova_exception.InvalidMetadata,
                 nova_exception.InvalidMetadataSize), self.update, pairs)
        self.update({'x' * 255: 'x' * 255, 'y': ''})

    def test_limit_that_cannot_be_read(self):
        # Then upstream's check decides, and tells why.
        with mock.patch.object(quotas, 'metadata_items_limit',
                               side_effect=ValueError):
            self.assertLimit(3)

    def test_limit_of_another_driver_is_expected(self):
        self.flags(driver='nova.quota.UnifiedLimitsDriver', group='quota')
        limits = self.useFixture(limit_fixture.LimitFixture(
            {'server_metadata_items': 5}, {}))
        self.update({'b': '1'})
        self.assertLocksOnce({'c': '1', 'd': '1', 'e': '1'}, checks=1)
        self.assertRaises(nova_exception.MetadataLimitExceeded,
                          self.update, {'f': '1'})
        limits.reglimits['server_metadata_items'] = -1
        self.assertLocksOnce({'f': '1'}, checks=1)

    def assertLocksOnce(self, metadata, checks):
        with mock.patch.object(swap, 'swap', side_effect=swap.swap) as swaps, \
                mock.patch.object(
                    objects.Quotas, 'limit_check',
                    side_effect=objects.Quotas.limit_check) as asked:
            self.update(metadata)
        swaps.assert_called_once()
        self.assertEqual(checks, asked.call_count)

    def test_error_of_the_driver_comes_after_the_state(self):
        self.change_row(locked=True)
        with mock.patch.object(objects.Quotas, 'limit_check',
                               side_effect=ValueError), \
                mock.patch.object(quotas, 'metadata_items_limit',
                                  side_effect=ValueError):
            self.assertRaises(nova_exception.InstanceIsLocked, self.update,
                              {'b': '2'})
            self.change_row(locked=False)
            self.assertRaises(ValueError, self.update, {'b': '2'})

    def test_state_is_refused_before_the_quota(self):
        self.change_row(locked=True)
        self.assertRaises(nova_exception.InstanceIsLocked, self.update,
                          {str(n): '1' for n in range(10)})


class NotificationTestCase(ComputeAPITestCase):

    def setUp(self):
        super().setUp()
        self.flags(notify_on_state_change='vm_and_task_state',
                   notification_format='both', group='notifications')

    def sent(self):
        """Return the metadata of the notifications, both formats."""
        versioned = [
            notification['payload']['nova_object.data']['metadata']
            for notification in self.notifier.versioned_notifications
            if notification['event_type'] == 'instance.update']
        legacy = [
            notification.payload['metadata']
            for notification in self.notifier.notifications
            if notification.event_type == 'compute.instance.update']
        self.assertEqual(legacy, versioned)
        self.notifier.reset()
        return versioned

    def test_sent_once_with_what_was_written(self):
        self.update({'b': '2'})
        self.assertEqual([{'a': '1', 'b': '2'}], self.sent())
        self.update({'c': '3'}, delete=True)
        self.assertEqual([{'c': '3'}], self.sent())
        self.delete('c')
        self.assertEqual([{}], self.sent())

    def test_not_sent_if_nothing_changed(self):
        self.update({'a': '1'})
        self.update({'a': '1'}, delete=True)
        self.assertRaises(exception.MetadataItemNotFound, self.delete, 'b')
        self.assertEqual([], self.sent())

    def test_not_sent_if_refused(self):
        self.change_row(locked=True)
        self.assertRaises(nova_exception.InstanceIsLocked, self.update,
                          {'b': '2'})
        self.assertEqual([], self.sent())

    def test_sent_once_though_tried_twice(self):
        with base.mismatch_once() as calls:
            self.update({'b': '2'})
        self.assertEqual(2, len(calls))
        self.assertEqual([{'a': '1', 'b': '2'}], self.sent())

    def test_reports_no_change_of_state(self):
        # Somebody else's, meanwhile; it has a notification of its own.
        self.change_row(vm_state=vm_states.STOPPED)
        self.update({'b': '2'})
        update, = self.notifier.versioned_notifications
        states = update['payload']['nova_object.data']['state_update']
        self.assertEqual(
            ('stopped', 'stopped'),
            (states['nova_object.data']['old_state'],
             states['nova_object.data']['state']))

    def test_is_not_worth_an_error(self):
        with mock.patch('nova.notifications.base.send_update',
                        side_effect=ValueError):
            self.assertEqual({'a': '1', 'b': '2'}, self.update({'b': '2'}))

    def test_switched_off_loads_nothing(self):
        self.flags(notify_on_state_change=None, group='notifications')
        with mock.patch.object(objects.Instance, 'get_by_uuid',
                               side_effect=ValueError):
            self.update({'b': '2'})
        self.assertEqual([], self.sent())
