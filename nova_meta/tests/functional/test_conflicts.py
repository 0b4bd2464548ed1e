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

"""Bad luck, on every database: conflicts and lost connections."""

import contextlib
from unittest import mock

from oslo_db import exception as db_exc
import pymysql
import sqlalchemy as sa

from nova_meta.db import api as db_api
from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta import delta
from nova_meta import exception
from nova_meta.tests.functional import base


class ConflictTests:
    """Bad luck: conflicts and lost connections."""

    def setUp(self):
        super().setUp()
        self.tries = []

    def failing_once(self, error):
        """A check that meets an error the first time."""
        def check(server, before, after):
            self.tries.append(before)
            if len(self.tries) == 1:
                error()

        return check

    def test_deadlock_starts_over_from_fresh_reads(self):
        def deadlock():
            raise db_exc.DBDeadlock()

        with mock.patch('oslo_db.api.time') as time:
            time.sleep = lambda seconds: self.add_rows(('a', '1'))
            done = self.change(delta.merge({'b': '2'}),
                               self.failing_once(deadlock))
        self.assertEqual([{}, {'a': '1'}], self.tries)
        self.assertEqual({'a': '1', 'b': '2'}, done.after)

    def test_certification_failure_at_commit(self):
        # As a Galera node tells that another one was faster.
        if self.host.database.dialect.name != 'mysql':
            self.skipTest('there is none here')
        context = self.context()
        engine = db_api.main_db_api.get_context_manager(
            context).writer.get_engine()
        commit, failed = engine.dialect.do_commit, []

        def do_commit(connection):
            if not failed:
                failed.append(True)
                connection.rollback()
                raise pymysql.err.OperationalError(
                    1213, 'Deadlock found when trying to get lock; try '
                          'restarting transaction')
            commit(connection)

        self.patch(engine.dialect, 'do_commit', do_commit)
        self.assertEqual({'a': '1'}, self.update({'a': '1'}, context=context))
        self.assertEqual([True], failed)
        self.assertEqual([('a', '1')], self.rows())

    def test_serialization_failure(self):
        if self.host.database.dialect.name != 'postgresql':
            self.skipTest('there is none here')
        context = self.context({
            'options': '-c default_transaction_isolation=serializable'})
        with mock.patch.object(retry, 'is_conflict',
                               side_effect=retry.is_conflict) as seen:
            with self.row_locked():
                waiting = self.in_thread(self.update, {'a': '1'},
                                         context=context)
                self.assertTrue(waiting.waits)
            self.assertEqual({'a': '1'}, waiting.result())
        self.assertEqual('40001', seen.call_args_list[0].args[0].orig.pgcode)

    def test_record_changed_since_last_read(self):
        # The engine does not run into it, since its lock comes before any
        # read; should it do so after all, it counts as a conflict.
        if self.database is not base.MARIADB_SNAPSHOT:
            self.skipTest('there is none here')
        engine = db_api.main_db_api.get_context_manager(
            self.context()).writer.get_engine()
        with engine.begin() as connection:
            swap.read(connection, db_api.INSTANCE_METADATA, self.server)
            self.update({'a': '1'})
            try:
                swap.swap(connection, db_api.INSTANCE_METADATA, self.server,
                          delta.replace({'b': '2'}).apply)
            except Exception as exc:
                error = exc
        self.assertTrue(retry.is_conflict(error), error)
        self.assertIn('1020', str(error))

    def test_what_a_check_raises_changes_nothing(self):
        def refuse():
            raise ValueError()

        version = self.version()
        self.assertRaises(ValueError, self.change, delta.merge({'a': '1'}),
                          self.failing_once(refuse))
        self.assertEqual(1, len(self.tries))
        self.assertEqual(version, self.version())

    def test_lock_wait_timeout_is_waited_out(self):
        context = self.context(self.database.impatient)
        with mock.patch.object(retry, 'is_conflict',
                               side_effect=retry.is_conflict) as seen:
            with self.row_locked():
                waiting = self.in_thread(self.update, {'a': '1'},
                                         context=context)
                while not seen.called:
                    self.assertTrue(waiting.waits)
            waiting.result()
        self.assertEqual([('a', '1')], self.rows())

    def test_spent_budget_is_a_conflict_that_has_changed_nothing(self):
        self.add_rows(('a', '0'))
        self.flags(max_retries=1)
        version = self.version()
        context = self.context(self.database.impatient)
        with self.row_locked():
            exc = self.assertRaises(exception.MetadataUpdateConflict,
                                    self.update, {'a': '1'}, context=context)
        self.assertEqual(409, exc.code)
        self.assertIn(self.server, str(exc))
        self.assertEqual([('a', '0')], self.rows())
        self.assertEqual(version, self.version())

    def test_within_a_transaction_of_the_callers(self):
        if self.host.database.dialect.name == 'sqlite':
            self.skipTest('SQLite has one writer at a time')
        context = self.context()
        reader = db_api.main_db_api.get_context_manager(context).reader
        with reader.using(context):
            self.assertEqual([], context.session.execute(
                sa.select(base.INSTANCES.c.id).where(
                    base.INSTANCES.c.uuid == '')).all())
            self.update({'a': '1'})
            self.assertEqual({'a': '1', 'b': '2'},
                             self.update({'b': '2'}, context=context))

    def test_connection_lost_before_the_write(self):
        if self.host.database.dialect.name == 'sqlite':
            self.skipTest('there is no connection to lose')
        done = self.change(delta.merge({'a': '1'}),
                           self.failing_once(self.kill_connections))
        self.assertEqual(2, len(self.tries))
        self.assertEqual({'a': '1'}, done.after)
        self.assertEqual([('a', '1')], self.rows())

    @contextlib.contextmanager
    def refusing(self, context):
        """Let the database refuse connections.

        :returns: a context manager of a list with an entry for each
        """
        engine = db_api.main_db_api.get_context_manager(
            context).writer.get_engine()
        refused = []

        def refuse(*args):
            refused.append(args)
            raise engine.dialect.dbapi.OperationalError(2003, 'refused')

        engine.dispose()
        sa.event.listen(engine, 'do_connect', refuse)
        try:
            yield refused
        finally:
            sa.event.remove(engine, 'do_connect', refuse)

    def test_no_connection_to_be_had(self):
        context = self.context()
        with self.refusing(context) as refused:
            self.assertRaises(
                (db_exc.DBConnectionError, sa.exc.OperationalError),
                self.update, {'a': '1'}, context=context)
        self.assertEqual(1, len(refused))
        self.assertEqual([], self.rows())

    def test_connection_lost_and_none_to_be_had_for_a_while(self):
        context, pauses = self.context(), []

        def lose():
            down.enter_context(self.refusing(context))
            raise db_exc.DBConnectionError()

        def pause(seconds):
            pauses.append(seconds)
            if len(pauses) == 3:
                down.close()

        with contextlib.ExitStack() as down, (
                mock.patch('oslo_db.api.time')) as time:
            time.sleep = pause
            done = self.change(delta.merge({'a': '1'}),
                               self.failing_once(lose), context=context)
        self.assertEqual(3, len(pauses))
        self.assertEqual({'a': '1'}, done.after)

    def kill_connections(self):
        """Kill the connections that have the row locked, ours being one."""
        with self.host.database.connect() as connection:
            if connection.dialect.name == 'mysql':
                for ident in connection.execute(sa.text(
                        'SELECT id FROM information_schema.innodb_trx '
                        'JOIN information_schema.processlist '
                        'ON id = trx_mysql_thread_id '
                        'WHERE db = database()')).scalars().all():
                    connection.execute(sa.text(f'KILL {ident}'))
            else:
                connection.execute(sa.text(
                    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity '
                    'WHERE datname = current_database() '
                    "AND state = 'idle in transaction'"))

    def test_answer_of_commit_lost(self):
        context = self.context()
        self.answer_of_commit_lost(context)
        self.assertEqual({'a': '1'}, self.update({'a': '1'}, context=context))
        self.assertEqual([('a', '1')], self.rows())

    def test_answer_of_commit_lost_and_overwritten(self):
        # Made again, it would undo what was acknowledged meanwhile.
        context = self.context()
        self.answer_of_commit_lost(context)
        with mock.patch('oslo_db.api.time') as time:
            time.sleep = lambda seconds: self.update({'a': '2'})
            self.assertRaises(db_exc.DBConnectionError, self.update,
                              {'a': '1'}, context=context)
        self.assertEqual([('a', '2')], self.rows())

    def test_answer_of_commit_lost_and_server_deleted(self):
        context = self.context()
        self.answer_of_commit_lost(context)
        with mock.patch('oslo_db.api.time') as time:
            time.sleep = lambda seconds: self.mark_deleted()
            self.assertRaises(db_exc.DBConnectionError, self.update,
                              {'a': '1'}, context=context)

    def test_answer_of_commit_lost_and_server_locked(self):
        # What would forbid the change now says nothing of whether it is there.
        context = self.context()
        self.answer_of_commit_lost(context)
        check = mock.Mock(side_effect=[None, AssertionError()])
        done = self.change(delta.merge({'a': '1'}), check, context=context)
        self.assertEqual(({}, {'a': '1'}), (done.before, done.after))

    def mark_deleted(self):
        with self.host.database.begin() as connection:
            connection.execute(sa.update(base.INSTANCES).where(
                base.INSTANCES.c.uuid == self.server).values(
                    deleted=base.INSTANCES.c.id))

    def test_asking_meets_conflicts(self):
        context = self.context()
        self.answer_of_commit_lost(context)
        swaps = mock.Mock(side_effect=[
            mock.DEFAULT, db_exc.DBDeadlock(), db_exc.DBConnectionError(),
            mock.DEFAULT], wraps=swap.swap)
        with mock.patch.object(swap, 'swap', swaps):
            self.assertEqual({'a': '1'},
                             self.update({'a': '1'}, context=context))
        self.assertEqual(4, swaps.call_count)

    def test_asking_leaves_duplicate_rows(self):
        # The change would remove them: it is not there.
        context = self.context()
        self.answer_of_commit_lost(context)
        with mock.patch('oslo_db.api.time') as time:
            time.sleep = lambda seconds: self.add_rows(('a', '0'), ('a', '1'))
            self.assertRaises(db_exc.DBConnectionError, self.update,
                              {'a': '1'}, context=context)
        self.assertEqual([('a', '1'), ('a', '0'), ('a', '1')], self.rows())

    def test_asking_spends_the_budget(self):
        # A conflict would say that nothing was changed.
        self.flags(max_retries=2)
        context = self.context()
        self.answer_of_commit_lost(context)
        swaps = mock.Mock(side_effect=[mock.DEFAULT, *2 * [
            db_exc.DBDeadlock()]], wraps=swap.swap)
        with mock.patch.object(swap, 'swap', swaps):
            self.assertRaises(db_exc.DBConnectionError, self.update,
                              {'a': '1'}, context=context)
        self.assertEqual(3, swaps.call_count)

    def test_answer_of_commit_lost_and_not_to_be_asked_for(self):
        self.add_rows(('a', '1'))
        context = self.context()
        self.answer_of_commit_lost(context)
        self.assertRaises(
            db_exc.DBConnectionError, db_api.instance_metadata_delete,
            context, self.server, 'a')
        # It was done, and nobody was told anything else.
        self.assertEqual([], self.rows())


class ConflictsSQLiteTestCase(ConflictTests, base.DatabaseTestCase):
    database = base.SQLITE


class ConflictsMariaDBTestCase(ConflictTests, base.DatabaseTestCase):
    database = base.MARIADB


class ConflictsMariaDBSnapshotTestCase(ConflictTests, base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


class ConflictsPostgreSQLTestCase(ConflictTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
