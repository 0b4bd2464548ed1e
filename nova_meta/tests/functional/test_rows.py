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

"""What is in the tables before and after, on every database."""

import datetime

from nova import exception as nova_exception
from nova import objects
from oslo_utils import fixture as utils_fixture
from oslo_utils import timeutils
import sqlalchemy as sa

from nova_meta.db import api as db_api
from nova_meta.db import swap
from nova_meta.tests.functional import base


class RowTests:
    """What is in the tables before and after."""

    def test_no_such_server(self):
        self.server = utils_fixture.uuidsentinel.nobody
        for call in (lambda: self.update({'a': '1'}),
                     lambda: db_api.instance_metadata_get(
                         self.context(), self.server, must_exist=True),
                     lambda: db_api.instance_metadata_delete(
                         self.context(), self.server, 'a')):
            self.assertRaises(nova_exception.InstanceNotFound, call)
        self.assertEqual({}, db_api.instance_metadata_get(
            self.context(), self.server))

    def test_functions_as_upstreams(self):
        context = self.context()
        self.assertEqual({'a': '1', 'b': '2'},
                         self.update({'a': '1', 'b': '2'}, context=context))
        self.assertEqual({'a': '1', 'b': '3'},
                         self.update({'b': '3'}, context=context))
        self.assertEqual({'c': '4'},
                         self.update({'c': '4'}, delete=True, context=context))
        db_api.instance_metadata_delete(context, self.server, 'absent')
        self.assertEqual({'c': '4'}, db_api.instance_metadata_get(
            context, self.server))
        db_api.instance_metadata_delete(context, self.server, 'c')
        self.assertEqual({}, db_api.instance_metadata_get(
            context, self.server))

    def test_upstream_reads_what_was_written(self):
        context = self.context()
        self.update({'a': '1', 'b': '2'}, context=context)
        self.update({'b': '3', 'c': ''}, context=context)
        db_api.instance_metadata_delete(context, self.server, 'a')
        instance = objects.Instance.get_by_uuid(
            context, self.server, expected_attrs=['metadata'])
        self.assertEqual({'b': '3', 'c': ''}, instance.metadata)
        self.assertIsNotNone(instance.updated_at)

    def test_other_servers_are_left_alone(self):
        other = next(self.unused)
        self.add_rows(('a', '1'), server=other)
        self.update({'b': '2'}, delete=True)
        self.assertEqual([('a', '1')], self.rows(other))

    def test_deleted_rows_are_as_stock_leaves_them(self):
        self.add_rows(('a', '1'))
        self.update({}, delete=True)
        with self.host.database.connect() as connection:
            row = connection.execute(sa.text(
                'SELECT id, deleted, deleted_at FROM instance_metadata '
                f"WHERE instance_uuid = '{self.server}'")).one()
        self.assertEqual(row.id, row.deleted)
        self.assertIsNotNone(row.deleted_at)

    def test_keys_that_differ_in_case_only(self):
        # MySQL's collation takes them for equal.
        keys = {'foo': '1', 'Foo': '2', 'FOO': '3', 'foo ': '4', 'föö': '5'}
        self.update(keys)
        self.assertEqual(keys, dict(self.rows()))
        self.update({'Foo': 'changed'})
        keys['Foo'] = 'changed'
        self.assertEqual(keys, dict(self.rows()))
        db_api.instance_metadata_delete(self.context(), self.server, 'foo')
        del keys['foo']
        self.assertEqual(keys, dict(self.rows()))
        self.update({'FOO': 'only'}, delete=True)
        self.assertEqual([('FOO', 'only')], self.rows())

    def test_duplicates_are_read_as_upstream_reads_them(self):
        self.add_rows(('a', 'first'), ('a', 'second'), ('b', '1'))
        self.assertEqual(
            objects.Instance.get_by_uuid(
                self.context(), self.server,
                expected_attrs=['metadata']).metadata,
            db_api.instance_metadata_get(self.context(), self.server))

    def test_duplicates_collapse_when_something_is_written(self):
        self.add_rows(('a', 'first'), ('b', '1'), ('a', 'second'))
        self.assertEqual({'a': 'second', 'b': '2'}, self.update({'b': '2'}))
        self.assertEqual([('b', '2'), ('a', 'second')], self.rows())

    def test_duplicates_collapse_when_nothing_else_changes(self):
        self.add_rows(('a', 'first'), ('b', '1'), ('a', 'second'))
        version = self.version()
        self.assertEqual({'a': 'second', 'b': '1'}, self.update({'b': '1'}))
        self.assertEqual([('b', '1'), ('a', 'second')], self.rows())
        self.assertNotEqual(version, self.version())

    def test_duplicates_are_written_once(self):
        self.add_rows(('a', 'first'), ('a', 'second'))
        self.update({'a': 'third'})
        self.assertEqual([('a', 'third')], self.rows())

    def test_duplicates_are_deleted_together(self):
        self.add_rows(('a', 'first'), ('a', 'second'))
        db_api.instance_metadata_delete(self.context(), self.server, 'a')
        self.assertEqual([], self.rows())

    def test_many_rows_are_changed(self):
        keys = [str(number) for number in range(2 * swap.MOST_ROWS + 1)]
        self.add_rows(*((key, '0') for key in keys))
        self.update({key: key for key in keys})
        self.assertEqual([(key, key) for key in keys], self.rows())

    def test_nothing_to_change_writes_nothing(self):
        self.add_rows(('a', 'value'))
        version = self.version()
        for call in (lambda: self.update({'a': 'value'}),
                     lambda: self.update({}),
                     lambda: self.update({'a': 'value'}, delete=True),
                     lambda: db_api.instance_metadata_delete(
                         self.context(), self.server, 'absent')):
            call()
        self.assertEqual(version, self.version())
        self.assertEqual([('a', 'value')], self.rows())

    def test_null_is_read_as_empty(self):
        # No request of Nova can put it there.
        self.add_rows(('a', None))
        self.assertEqual({'a': '', 'b': '1'}, self.update({'b': '1'}))
        self.assertEqual({'a': '', 'b': '1'}, db_api.instance_metadata_get(
            self.context(), self.server))
        self.assertEqual([('a', None), ('b', '1')], self.rows())
        self.update({'a': '2'})
        self.assertEqual([('a', '2'), ('b', '1')], self.rows())

    def test_arguments_stay_as_they_are(self):
        metadata = {'a': '1'}
        result = self.update(metadata)
        result['b'] = '2'
        self.assertEqual({'a': '1'}, metadata)

    def test_many_keys(self):
        many = {f'key {n}': str(n) for n in range(2000)}
        self.update(many)
        self.update({key: 'x' for key in many})
        self.assertEqual({key: 'x' for key in many}, dict(self.rows()))
        self.update({}, delete=True)
        self.assertEqual([], self.rows())

    def test_delete_is_seen_by_a_poll_for_changes(self):
        self.add_rows(('a', '1'))
        self.set_version(datetime.datetime(2000, 1, 1))
        db_api.instance_metadata_delete(self.context(), self.server, 'a')
        self.assertLess(datetime.datetime(2020, 1, 1), self.version())


class NeverUpdatedTests:
    """The compare-and-swap of updated_at."""

    NOW = datetime.datetime(2026, 1, 1, 12, 0, 0, 700000)

    def freeze(self):
        self.clock = self.useFixture(utils_fixture.TimeFixture(self.NOW))
        self.set_version(self.NOW.replace(microsecond=0))

    def test_server_that_was_never_updated(self):
        self.freeze()
        self.set_version(None)
        self.update({'a': '1'})
        self.assertIsNotNone(self.version())

    def test_stale_null(self):
        self.freeze()
        self.set_version(None)
        self.update({'a': '1'})
        with self.host.database.begin() as connection:
            self.assertRaises(
                swap.VersionMismatch, swap._compare_and_swap, connection,
                db_api.INSTANCE_METADATA, self.server, None)


class VersionTests(NeverUpdatedTests):
    """Where the lock has put the writers in order, time does not go back."""

    def test_never_goes_back(self):
        # A poll with changes-since would miss the change.
        self.freeze()
        for step in 0, 0, .3, 0, -2, .1, 1:
            before = self.version()
            self.clock.advance_time_seconds(step)
            self.update({'a': str(step), 'b': str(before)})
            self.assertEqual(
                max(before or datetime.datetime.min, self.now()),
                self.version())

    def now(self):
        """Return what the clock says, as the column keeps it."""
        now = timeutils.utcnow()
        return (now.replace(microsecond=0)
                if self.host.database.dialect.name == 'mysql' else now)

    def test_time_is_kept_in_the_precision_of_the_column(self):
        self.freeze()
        self.update({'a': '1'})
        self.assertEqual(self.now(), self.version())

    def test_clock_that_is_behind(self):
        self.freeze()
        ahead = self.NOW.replace(microsecond=0) + datetime.timedelta(minutes=5)
        self.set_version(ahead)
        self.update({'a': '1'})
        self.assertEqual([('a', '1')], self.rows())
        self.assertEqual(ahead, self.version())

    def test_row_that_is_not_matched_is_retried(self):
        self.freeze()
        # What no lock of ours can explain; then the whole try is repeated.
        with base.mismatch_once() as calls:
            self.update({'a': '1'})
        self.assertEqual(2, len(calls))
        self.assertEqual([('a', '1')], self.rows())


class RowsSQLiteTestCase(RowTests, VersionTests, base.DatabaseTestCase):
    database = base.SQLITE


class RowsMariaDBTestCase(RowTests, VersionTests, base.DatabaseTestCase):
    database = base.MARIADB


class RowsMariaDBSnapshotTestCase(RowTests, VersionTests,
                                  base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


class RowsPostgreSQLTestCase(RowTests, VersionTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
