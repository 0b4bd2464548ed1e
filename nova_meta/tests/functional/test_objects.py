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

"""How servers are saved: by nova-api, and through a real nova-conductor.

Every loss is shown with upstream's class, too. Were it not lost there, Nova
would have been mended, or the test would prove nothing.
"""

import datetime
import threading
from unittest import mock

import fixtures
from nova.api.metadata import password
from nova.compute import api as compute_api
from nova.compute import task_states
from nova.compute import vm_states
from nova.conductor import manager as conductor_manager
from nova.conductor import rpcapi as conductor_rpcapi
from nova import crypto
from nova.db.main import api as main_db_api
from nova import exception as nova_exception
from nova.objects import base as objects_base
from nova.objects import instance as upstream
from nova import rpc
from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
import oslo_messaging as messaging
from oslo_messaging import conffixture
from oslo_messaging.rpc import dispatcher
import sqlalchemy as sa
import webob

from nova_meta.db import api as db_api
from nova_meta import exception
from nova_meta.objects import instance
from nova_meta.race import client as client_api
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import losing

MOST_RUNS = 5
ROWS = sa.table('instance_system_metadata', *map(sa.column, (
    'id', 'instance_uuid', 'key', 'value', 'deleted')))


class Conductor(fixtures.Fixture):
    """nova-conductor, in reach over a fake transport.

    :param url: of the cell database, which it has in its configuration
    :ivar api: what nova-compute has as the indirection API of its objects
    """

    def __init__(self, url):
        super().__init__()
        self._url = url

    def _setUp(self):
        cell = enginefacade.transaction_context()
        cell.configure(connection=self._url)
        self.addCleanup(lambda: cell.writer.get_engine().dispose())
        self.useFixture(fixtures.MockPatchObject(
            main_db_api, 'context_manager', cell))
        self.useFixture(
            conffixture.ConfFixture(cfg.CONF)).transport_url = 'fake:/'
        rpc.init(cfg.CONF)
        self.addCleanup(rpc.cleanup)
        # What schedules servers wants Placement.
        with mock.patch('nova.conductor.manager.ComputeTaskManager'):
            manager = conductor_manager.ConductorManager()
        # Upstream's function would have the server run in green threads, on
        # Nova 31 to 33.
        server = messaging.get_rpc_server(
            rpc.TRANSPORT, messaging.Target(topic='conductor', server='here'),
            [manager], executor='threading',
            serializer=rpc.RequestContextSerializer(
                objects_base.NovaObjectSerializer()),
            access_policy=dispatcher.DefaultRPCAccessPolicy)
        server.start()
        self.addCleanup(server.wait)
        self.addCleanup(server.stop)
        self.api = conductor_rpcapi.ConductorAPI()


class ObjectTestCase(base.DatabaseTestCase):
    """Has a conductor, and servers to save."""

    def setUp(self):
        super().setUp()
        self.conductor = self.useFixture(
            Conductor(self.host.url('cell1'))).api
        self.register(instance.Instance)
        # The metadata service is one of the cell.
        self.useFixture(fixtures.MockPatch('nova.context.get_admin_context',
                                           self.context))
        cfg.CONF.set_override('local_metadata_per_cell', True, 'api')
        self.addCleanup(cfg.CONF.clear_override, 'local_metadata_per_cell',
                        'api')

    def register(self, cls):
        """Have a class of servers in this process, and so in the conductor."""
        objects_base.NovaObjectRegistry.register(cls)
        self.cls = cls

    def load(self, remote=False, cls=None, **kwargs):
        """Read the server.

        :param remote: whether it is nova-compute, which saves by RPC
        :param cls: the class, by default the one that is registered
        """
        server = (cls or self.cls).get_by_uuid(
            self.context(), self.server,
            expected_attrs=['metadata', 'system_metadata', 'info_cache'],
            **kwargs)
        if remote:
            server.indirection_api = self.conductor
        return server

    def save(self, server, drop=(), **pairs):
        """Change the system_metadata of a server that was read."""
        server.system_metadata.update(pairs)
        for key in drop:
            server.system_metadata.pop(key, None)
        server.save()

    def new_server(self, **pairs):
        """Take another server, with system_metadata."""
        self.server = next(self.unused)
        self.save(self.load(), **pairs)

    def system_metadata(self):
        """Return the rows, whatever mark they have, as (key, value)."""
        with self.host.database.connect() as connection:
            return sorted(map(tuple, connection.execute(
                sa.select(ROWS.c.key, ROWS.c.value).where(
                    ROWS.c.instance_uuid == self.server))))


class Losses:
    """What is named in the bug, or follows from it.

    Each is done to a server by two services that have both read it before
    either saves it: one for itself, and one by way of the conductor.
    """

    def each_way(self, then, other, **before):
        """Have two services save a server that both have read.

        :param then: what the second of them does, called with the server
        :param other: what the first does
        :param before: the system_metadata to begin with
        :returns: an iterator of what is there then
        """
        for remotes in (False, True), (True, False):
            self.new_server(**before)
            first, second = map(self.load, remotes)
            other(first)
            then(second)
            found = dict(self.system_metadata())
            self.assertEqual(found, self.load().system_metadata)
            self.assertEqual(found, second.system_metadata)
            self.assertEqual(set(), second.obj_what_changed())
            yield found

    def store_vtpm_secret(self, server):
        with mock.patch('nova.crypto._get_key_manager') as manager:
            manager.return_value.store.return_value = 'secret'
            crypto.ensure_vtpm_secret(server._context, server)

    def lock(self, server):
        compute_api.API().lock(server._context, server, reason='audit')

    def unlock(self, server):
        compute_api.API().unlock(server._context, server)

    def post_password(self, server, text='sesame'):
        # It reads the server for itself.
        password.handle_password(
            webob.Request.blank('/', method='POST', body=text.encode()),
            mock.Mock(password=None, uuid=server.uuid))

    def allocate_network(self, server):
        self.save(server, network_allocated='True')

    def deallocate_network(self, server):
        self.save(server, drop=['network_allocated'])


class LossTests(Losses):

    def test_vtpm_secret(self):
        for found in self.each_way(self.lock, self.store_vtpm_secret):
            self.assertEqual({'vtpm_secret_uuid': 'secret',
                              'locked_reason': 'audit'}, found)

    def test_lock_reason(self):
        for found in self.each_way(self.store_vtpm_secret, self.lock):
            self.assertEqual({'vtpm_secret_uuid': 'secret',
                              'locked_reason': 'audit'}, found)

    def test_lock_reason_that_is_taken_back(self):
        for found in self.each_way(self.store_vtpm_secret, self.unlock,
                                   locked_reason='audit'):
            self.assertEqual({'vtpm_secret_uuid': 'secret'}, found)

    def test_password(self):
        for found in self.each_way(self.allocate_network, self.post_password):
            self.assertEqual(
                {'network_allocated': 'True', 'password_0': 'sesame',
                 'password_1': '', 'password_2': '', 'password_3': ''}, found)

    def test_network_allocated(self):
        for found in self.each_way(self.lock, self.deallocate_network,
                                   network_allocated='True'):
            self.assertEqual({'locked_reason': 'audit'}, found)

    def test_passwords_are_not_mixed(self):
        # The pieces that a short password does not need are empty before and
        # after: no difference, but part of it all the same.
        empty = password.convert_password(None, '')
        long = password.convert_password(None, 'x' * 1000)
        for found in self.each_way(
                lambda server: self.save(
                    server, **password.convert_password(None, 'short')),
                lambda server: self.save(server, **long), **empty):
            self.assertEqual(password.convert_password(None, 'short'), found)

    def test_last_writer_wins_for_each_key(self):
        for found in self.each_way(
                lambda server: self.save(server, a='2', c='2'),
                lambda server: self.save(server, a='1', b='1'), a='0'):
            self.assertEqual({'a': '2', 'b': '1', 'c': '2'}, found)

    def test_null(self):
        for found in self.each_way(
                lambda server: self.save(server, a=None),
                lambda server: self.save(server, b=None), b='1'):
            self.assertEqual({'a': None, 'b': None}, found)

    def test_metadata(self):
        def change(server, **pairs):
            server.metadata.update(pairs)
            server.metadata.pop('old', None)
            server.save()

        for remotes in (False, True), (True, False):
            self.server = next(self.unused)
            self.add_rows(('old', '0'), ('kept', '0'))
            first, second = map(self.load, remotes)
            change(first, a='1')
            change(second, b='2')
            self.assertEqual([('kept', '0'), ('a', '1'), ('b', '2')],
                             self.rows())

    def test_rebuild_replaces(self):
        # As the compute API does it: the map is assigned, not changed.
        for remote in False, True:
            self.server = next(self.unused)
            self.add_rows(('seen', '0'))
            server = self.load(remote)
            self.update({'new': '1'})
            server.update({'metadata': {'mine': '2'}})
            server.save(expected_task_state=[None])
            self.assertEqual([('mine', '2')], self.rows())
            self.assertEqual({'mine': '2'}, server.metadata)

    def test_assigned_system_metadata_is_a_difference(self):
        def assign(server):
            server.system_metadata = {
                **server.system_metadata, 'network_allocated': 'True'}
            server.save()

        for found in self.each_way(assign, self.lock):
            self.assertEqual({'network_allocated': 'True',
                              'locked_reason': 'audit'}, found)

    def test_map_that_is_assigned_as_it_is(self):
        def assign(server):
            server.system_metadata = dict(server.system_metadata)
            server.save()

        for found in self.each_way(assign, self.lock, a='1'):
            self.assertEqual({'a': '1', 'locked_reason': 'audit'}, found)

    def test_changed_before_and_after_a_remote_call(self):
        # As libvirt's machine type, and then the end of a migration.
        def change_and_call(server):
            server.system_metadata['x'] = '2'
            server.drop_migration_context()
            self.save(server, y='2')

        for found in self.each_way(change_and_call, self.lock):
            self.assertEqual({'x': '2', 'y': '2', 'locked_reason': 'audit'},
                             found)

    def save_while(self, server, do, **pairs):
        """Save a server; something happens before the answer has come."""
        object_action = self.conductor.object_action

        def slow(*args, **kwargs):
            answer = object_action(*args, **kwargs)
            patched.stop()
            do()
            return answer

        patched = mock.patch.object(self.conductor, 'object_action', slow)
        patched.start()
        self.save(server, **pairs)

    def test_changed_while_a_save_is_under_way(self):
        # As nova-compute, which allocates networks in a thread.
        def change():
            server.system_metadata['late'] = '1'
            server.system_metadata.pop('gone')

        for others in [], [('other', '1')]:
            self.new_server(gone='1')
            server = self.load(True)
            self.save(self.load(), **dict(others))
            self.save_while(server, change, a='1')
            self.assertEqual({'a': '1', 'late': '1', **dict(others)},
                             server.system_metadata)
            self.assertEqual({'system_metadata'}, server.obj_what_changed())
            server.save()
            self.assertEqual({'a': '1', 'late': '1', **dict(others)},
                             dict(self.system_metadata()))

    def test_saved_while_a_save_is_under_way(self):
        self.new_server()
        server = self.load(True)
        self.save_while(server, lambda: self.save(server, late='1'), a='1')
        self.save(self.load(), late='2')
        self.save(server, b='1')
        self.assertEqual({'a': '1', 'b': '1', 'late': '2'},
                         dict(self.system_metadata()))

    def test_passwords_are_not_mixed_while_a_save_is_under_way(self):
        before, others, mine = (
            password.convert_password(None, text)
            for text in ('b' * 200, 'o' * 400, 'm' * 200))
        self.new_server(**before)
        server = self.load(True)
        self.save(self.load(), **others)
        self.save_while(
            server, lambda: server.system_metadata.update(mine), a='1')
        server.save()
        self.assertEqual({'a': '1', **mine}, dict(self.system_metadata()))

    def test_map_that_was_never_read_replaces(self):
        self.save(self.load(), a='1')
        server = self.cls.get_by_uuid(self.context(), self.server,
                                      expected_attrs=[])
        server.system_metadata = {'b': '2'}
        server.save()
        self.assertEqual([('b', '2')], self.system_metadata())


class StockLossTests(Losses):

    def test_stock_loses_vtpm_secret(self):
        self.register(upstream.Instance)
        for found in self.each_way(self.lock, self.store_vtpm_secret):
            self.assertEqual({'locked_reason': 'audit'}, found)

    def test_stock_loses_lock_reason(self):
        self.register(upstream.Instance)
        for found in self.each_way(self.store_vtpm_secret, self.lock):
            self.assertEqual({'vtpm_secret_uuid': 'secret'}, found)

    def test_stock_loses_password(self):
        self.register(upstream.Instance)
        for found in self.each_way(self.allocate_network, self.post_password):
            self.assertEqual({'network_allocated': 'True'}, found)

    def test_stock_brings_network_allocated_back(self):
        self.register(upstream.Instance)
        for found in self.each_way(self.lock, self.deallocate_network,
                                   network_allocated='True'):
            self.assertEqual({'locked_reason': 'audit',
                              'network_allocated': 'True'}, found)


class ParallelPasswordTests(Losses):
    """Two passwords that are posted at once."""

    def post_both(self):
        with self.row_locked():
            posts = [self.in_thread(self.post_password, self.load(), text)
                     for text in ('one', 'two')]
            for post in posts:
                self.assertTrue(post.waits)
        for post in posts:
            post.result()
        return [key for key, value in self.system_metadata()]

    def test_parallel_passwords(self):
        self.assertEqual([f'password_{number}' for number in range(4)],
                         self.post_both())

    def test_stock_makes_double_rows(self):
        self.need_old_reads()
        self.register(upstream.Instance)
        twice = [f'password_{number}' for number in range(4)
                 for _ in range(2)]
        # On a busy machine one may not have read yet when the other writes.
        for _ in range(MOST_RUNS):
            found = self.post_both()
            if found == twice:
                break
            self.server = next(self.unused)
        self.assertEqual(twice, found)


class MixedTests:
    """Services of which some have nova-meta's objects and others have not.

    The one that saves and the one that has saved before are either nova-api,
    which writes for itself, or nova-compute, which has the conductor write.
    """

    def save_two(self, sender, conductor, remote):
        self.register(conductor)
        self.new_server(kept='0', gone='0')
        other, mine = self.load(cls=sender), self.load(remote, cls=sender)
        self.save(other, theirs='1')
        self.save(mine, drop=['gone'], mine='2')
        found = dict(self.system_metadata())
        self.assertEqual(found, mine.system_metadata)
        # And it goes on from what it was told.
        self.save(mine, drop=['kept'], mine='3')
        return found, dict(self.system_metadata())

    STOCK = {'kept': '0', 'mine': '2'}, {'mine': '3'}

    def test_new_compute_new_conductor(self):
        self.assertEqual(
            ({'kept': '0', 'theirs': '1', 'mine': '2'},
             {'theirs': '1', 'mine': '3'}),
            self.save_two(instance.Instance, instance.Instance, True))

    def test_new_compute_old_conductor(self):
        self.assertEqual(self.STOCK, self.save_two(
            instance.Instance, upstream.Instance, True))

    def test_old_compute_new_conductor(self):
        self.assertEqual(self.STOCK, self.save_two(
            upstream.Instance, instance.Instance, True))

    def test_old_compute_old_conductor(self):
        self.assertEqual(self.STOCK, self.save_two(
            upstream.Instance, upstream.Instance, True))

    def test_new_api_beside_old_services(self):
        self.assertEqual(
            ({'kept': '0', 'theirs': '1', 'mine': '2'},
             {'theirs': '1', 'mine': '3'}),
            self.save_two(instance.Instance, upstream.Instance, False))

    def test_server_that_is_sent_before_it_is_saved(self):
        # To another service, which saves it.
        for sender, receiver, kept in (
                (instance.Instance, instance.Instance, True),
                (instance.Instance, upstream.Instance, False),
                (upstream.Instance, instance.Instance, False),
                (upstream.Instance, upstream.Instance, False)):
            self.new_server()
            server = self.load(cls=sender)
            server.system_metadata['mine'] = '2'
            self.register(receiver)
            serializer = objects_base.NovaObjectSerializer()
            sent = serializer.deserialize_entity(
                self.context(), serializer.serialize_entity(None, server))
            self.assertIsInstance(sent, receiver)
            self.save(self.load(cls=sender), theirs='1')
            sent.save()
            self.assertEqual(kept, ('theirs', '1') in self.system_metadata())
            self.assertIn(('mine', '2'), self.system_metadata())


class SaveTests:
    """What else a save is."""

    def update_is(self, update):
        """Replace upstream's part of the transaction, its last statements."""
        return mock.patch.object(
            db_api, '_instance_update_and_get_original', update)

    def test_expected_state(self):
        server = self.load()
        server.task_state = task_states.REBUILDING
        self.save_refused(server, nova_exception.UnexpectedTaskStateError,
                          expected_task_state=[task_states.SPAWNING])
        self.save_refused(server, nova_exception.InstanceUpdateConflict,
                          expected_vm_state=[vm_states.STOPPED])
        server.save(expected_vm_state=[vm_states.ACTIVE],
                    expected_task_state=[None])
        self.assertEqual([('a', '1')], self.system_metadata())

    def save_refused(self, server, error, **expected):
        before = self.version()
        server.system_metadata['a'] = '1'
        server.metadata['b'] = '1'
        for remote in (None, self.conductor):
            server.indirection_api = remote
            self.assertRaises(error, server.save, **expected)
        server.indirection_api = None
        self.assertEqual([], self.system_metadata())
        self.assertEqual([], self.rows())
        self.assertEqual(before, self.version())
        self.assertIsNone(self.load().task_state)
        # They are still to be saved.
        self.assertEqual({'metadata', 'system_metadata', 'task_state'},
                         server.obj_what_changed())

    def test_columns_and_maps_are_one_change(self):
        server = self.load()
        server.display_name = 'new'
        server.metadata['m'] = '1'
        server.system_metadata['s'] = '1'
        with self.update_is(mock.Mock(side_effect=db_exc.DBDataError())):
            self.assertRaises(db_exc.DBDataError, server.save)
        self.assertEqual([], self.rows() + self.system_metadata())
        server.save()
        found = self.load()
        self.assertEqual(('new', {'m': '1'}, {'s': '1'}), (
            found.display_name, found.metadata, found.system_metadata))
        self.assertEqual(found.updated_at, server.updated_at)

    def test_tried_again_on_fresh_rows(self):
        self.save(self.load(), gone='0')
        other, server = self.load(), self.load()
        other.system_metadata = {'theirs': '1'}
        server.display_name = 'new'
        update = mock.Mock(side_effect=[db_exc.DBDeadlock(),
                                        mock.DEFAULT, mock.DEFAULT],
                           wraps=db_api._instance_update_and_get_original)
        with mock.patch('oslo_db.api.time') as time, self.update_is(update):
            # After the first try is rolled back, and before the next.
            time.sleep = lambda seconds: other.save()
            self.save(server, mine='2')
        self.assertEqual([('mine', '2'), ('theirs', '1')],
                         self.system_metadata())
        self.assertEqual('new', self.load().display_name)

    def test_budget_is_spent(self):
        self.flags(max_retries=1)
        server = self.load()
        update = mock.Mock(side_effect=db_exc.DBDeadlock())
        with self.update_is(update):
            self.assertRaises(exception.MetadataUpdateConflict, self.save,
                              server, a='1')
        self.assertEqual(2, update.call_count)
        self.assertEqual([], self.system_metadata())

    def test_answer_of_commit_lost(self):
        # Nobody knows whether it was done, and it is not done again.
        for cls in instance.Instance, upstream.Instance:
            for expected in {}, {'expected_task_state': [None]}:
                self.register(cls)
                self.new_server()
                server = self.load()
                server.task_state = task_states.REBUILDING
                server.system_metadata['a'] = '1'
                self.answer_of_commit_lost(server._context)
                self.assertRaises(db_exc.DBConnectionError, server.save,
                                  **expected)
                self.assertEqual([('a', '1')], self.system_metadata())
                self.assertEqual(task_states.REBUILDING,
                                 self.load().task_state)

    def test_answer_of_commit_lost_and_seen(self):
        # What others have acknowledged, who have seen it, is not undone.
        for cls in instance.Instance, upstream.Instance:
            self.register(cls)
            self.new_server()
            server, other = self.load(), self.load()
            server.task_state = None
            server.system_metadata['a'] = '1'
            other.task_state = task_states.REBUILDING
            self.answer_of_commit_lost(server._context, then=lambda: (
                other.save(expected_task_state=[None])))
            self.assertRaises(db_exc.DBConnectionError, server.save)
            self.assertEqual(task_states.REBUILDING, self.load().task_state)
            self.assertEqual([('a', '1')], self.system_metadata())

    @base.periodic(base.MARIADB)
    def test_connection_lost_at_each_step(self):
        for when in 'before', 'after':
            step, lost = 0, True
            while lost:
                self.new_server()
                server = self.load()
                server.display_name = 'new'
                server.metadata['m'] = '1'
                server.system_metadata['s'] = '1'
                with losing.losing(losing.Plan(
                        when, step, table='metadata')) as plan:
                    saved = self.saves(server)
                lost, what = plan.lost, (when, step, plan.steps)
                self.assertLessEqual(plan.writes, 1, what)
                found = self.load()
                self.assertIn(
                    (found.display_name, found.metadata,
                     found.system_metadata),
                    [('new', {'m': '1'}, {'s': '1'}),
                     ('lab', {}, {})][:1 if saved else 2], what)
                step += 1
            self.assertGreater(step, 8)

    def saves(self, server):
        """Save a server; whether that was acknowledged."""
        try:
            server.save()
        except (db_exc.DBError, sa.exc.SQLAlchemyError):
            return False
        return True

    def test_version_does_not_go_back(self):
        server = self.load()
        for number in range(6):
            before = self.version()
            if number % 2:
                server.metadata['a'] = str(number)
            self.save(server, a=str(number))
            self.assertLessEqual(before or datetime.datetime.min,
                                 self.version())

    def test_notified_once(self):
        server = self.load()
        server.vm_state = vm_states.STOPPED
        with mock.patch('nova.notifications.send_update') as send:
            self.save(server, a='1')
        (context, before, after), = [call.args for call in send.mock_calls]
        self.assertEqual(vm_states.ACTIVE, before['vm_state'])
        self.assertEqual(vm_states.STOPPED, after.vm_state)
        self.assertEqual({'a': '1'}, after.system_metadata)

    def test_what_is_in_other_tables(self):
        server = self.load()
        server.flavor.memory_mb = 1024
        self.save(server, a='1')
        found = self.load()
        self.assertEqual(1024, found.flavor.memory_mb)
        self.assertEqual({'a': '1'}, found.system_metadata)

    def test_node_without_compute_id(self):
        server = self.load()
        server.node = 'other'
        self.assertRaises(nova_exception.ObjectActionError, self.save, server,
                          a='1')
        server.compute_id = 7
        server.save()
        self.assertEqual(('other', 7), (self.load().node,
                                        self.load().compute_id))

    def test_deleted_server(self):
        # As nova-compute counts its attempts to clean up.
        self.save(self.load(), a='1')
        self.load().destroy()
        server = self.cls.get_by_uuid(
            self.context_of_deleted(), self.server,
            expected_attrs=['system_metadata'])
        server.cleaned = True
        self.save(server, clean_attempts='1')
        self.assertEqual([('a', '1'), ('clean_attempts', '1')],
                         self.system_metadata())
        self.assertTrue(server.cleaned)
        server._context.read_deleted = 'no'
        self.assertRaises(nova_exception.InstanceNotFound, self.save, server,
                          clean_attempts='2')

    def context_of_deleted(self):
        context = self.context()
        context.read_deleted = 'yes'
        return context

    def test_server_that_is_gone(self):
        server = self.load()
        self.load().destroy()
        self.assertRaises(nova_exception.InstanceNotFound, self.save, server,
                          a='1')

    def test_double_rows(self):
        with self.host.database.begin() as connection:
            for value in '12':
                connection.execute(sa.insert(ROWS).values(
                    instance_uuid=self.server, key='k', value=value,
                    deleted=0))
        self.save(self.load(), a='1')
        self.assertEqual([('a', '1'), ('k', '2')], self.system_metadata())

    def test_no_database_in_nova_compute(self):
        server = self.load()
        with mock.patch.object(main_db_api, 'DISABLE_DB_ACCESS', True):
            self.assertRaises(nova_exception.DBNotAllowed, self.save, server,
                              a='1')

    def test_map_that_is_still_changed_after_a_remote_call(self):
        self.add_rows(('m', '1'))
        server = self.load(remote=True)
        server.system_metadata['a'] = '1'
        server.delete_metadata_key('m')
        server.save()
        self.assertEqual([('a', '1')], self.system_metadata())

    def test_clone(self):
        self.save(self.load(), a='1')
        server = self.load()
        server.system_metadata['b'] = '1'
        self.save(self.load(), c='1')
        clone = server.obj_clone()
        self.assertEqual({'system_metadata'}, clone.obj_what_changed())
        clone.save()
        self.assertEqual([('a', '1'), ('b', '1'), ('c', '1')],
                         self.system_metadata())


class SaverWorkloadTests:
    """Many services that save a server, and clients that change its metadata.

    Each writes a key of its own, again and again. Whoever was told that a
    value is there has lost it if it is not there in the end.
    """

    SAVERS = 16
    CLIENTS = 4
    VALUES = [str(number) for number in range(4)]

    def race(self, app_factory):
        """Count what is lost.

        :returns: a tuple: how much system_metadata, how much metadata, and
            the errors that savers met
        """
        self.serve(app_factory)
        errors, kept = [], [{}, {}]
        barrier = threading.Barrier(self.SAVERS + self.CLIENTS)

        def saver(number):
            server, key = self.load(remote=number % 2), f'saver_{number}'
            barrier.wait()
            for value in self.VALUES:
                try:
                    self.save(server, **{key: value})
                except Exception as exc:
                    errors.append(exc)
                else:
                    kept[0][key] = value

        def client(number):
            api = client_api.MetadataClient(self.url, self.server)
            key = f'client_{number}'
            barrier.wait()
            for value in self.VALUES:
                if api.merge({key: value}).status == 200:
                    kept[1][key] = value

        threads = [
            self.in_thread(one, number)
            for one, count in ((saver, self.SAVERS), (client, self.CLIENTS))
            for number in range(count)]
        for thread in threads:
            thread.result()
        return *(len(told.items() - found) for told, found in zip(
            kept, (self.system_metadata(), self.rows()))), errors

    @base.periodic(base.MARIADB)
    def test_race(self):
        self.assertEqual((0, 0, []), self.race(host.NOVA_META))
        self.assertEqual(
            [(f'saver_{number}', self.VALUES[-1])
             for number in sorted(map(str, range(self.SAVERS)))],
            self.system_metadata())

    @base.periodic(base.MARIADB)
    def test_stock_loses_a_race(self):
        self.register(upstream.Instance)
        lost, _metadata, _errors = self.race(host.STOCK)
        self.assertGreater(lost, 0)


class ObjectsSQLiteTestCase(LossTests, StockLossTests, MixedTests, SaveTests,
                            SaverWorkloadTests, ObjectTestCase):
    database = base.SQLITE


class ObjectsMariaDBTestCase(LossTests, StockLossTests, MixedTests, SaveTests,
                             ParallelPasswordTests, SaverWorkloadTests,
                             ObjectTestCase):
    database = base.MARIADB


class ObjectsPostgreSQLTestCase(LossTests, StockLossTests, MixedTests,
                                SaveTests, ParallelPasswordTests,
                                SaverWorkloadTests, ObjectTestCase):
    database = base.POSTGRESQL
