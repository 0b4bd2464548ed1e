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

"""Start over after a conflict, and after nothing else."""

import logging
import sqlite3
from unittest import mock

import fixtures
from oslo_db import exception as db_exc
import pymysql
from sqlalchemy import exc as sqla_exc
import testtools

from nova_meta.db import retry
from nova_meta.db import swap


def raised(driver_error):
    return sqla_exc.OperationalError('SELECT 1', {}, driver_error)


def mysql(code, message='message'):
    return raised(pymysql.err.OperationalError(code, message))


# Of Group Replication, and of Galera.
ROLLED_BACK = mysql(1180, "Got error 149 - 'Lock deadlock; Retry transaction' "
                          'during COMMIT')
LOST = mysql(1180, 'Got error 6 "No such device or address" during COMMIT')


def without_statement(*args):
    return sqla_exc.OperationalError(None, None, Exception(*args))


def sqlite(message):
    return raised(sqlite3.OperationalError(message))


def postgresql(code):
    # psycopg2 sets it from C, where a test cannot.
    error = mock.Mock(spec=Exception, args=('message',), pgcode=code)
    return mock.Mock(spec=sqla_exc.OperationalError, orig=error)


class IsConflictTestCase(testtools.TestCase):

    def test_conflicts(self):
        for exc in (db_exc.DBDeadlock(), swap.VersionMismatch(),
                    mysql(1020), mysql(1205), mysql(1213), mysql(3101),
                    sqlite('database is locked'), postgresql('40001'),
                    postgresql('40P01'), postgresql('55P03'),
                    db_exc.DBError(mysql(1020)), ROLLED_BACK,
                    db_exc.DBError(ROLLED_BACK)):
            self.assertTrue(retry.is_conflict(exc), exc)

    def test_other_errors(self):
        for exc in (ValueError('1213'), swap.ParentNotFound(), mysql(1064),
                    sqlite('database or disk is full'), postgresql('23505'),
                    db_exc.DBConnectionError(), db_exc.DBDuplicateEntry(),
                    db_exc.DBError(), LOST):
            self.assertFalse(retry.is_conflict(exc), exc)


class IsConnectionLostTestCase(testtools.TestCase):

    def test_lost(self):
        for exc in (db_exc.DBConnectionError(), mysql(1180),
                    db_exc.DBError(mysql(1180)), LOST,
                    without_statement('the database system is starting up')):
            self.assertTrue(retry.is_connection_lost(exc), exc)

    def test_other_errors(self):
        for exc in (ValueError('1180'), mysql(1213), postgresql('40001'),
                    db_exc.DBDeadlock(), swap.VersionMismatch(),
                    raised(Exception('disk full')), without_statement(1020),
                    ROLLED_BACK):
            self.assertFalse(retry.is_connection_lost(exc), exc)


class RunTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.log = self.useFixture(
            fixtures.FakeLogger(level=logging.DEBUG))
        time = mock.patch('oslo_db.api.time')
        self.sleep = time.start().sleep
        self.addCleanup(time.stop)

    def pauses(self):
        return [call.args[0] for call in self.sleep.call_args_list]

    def failing(self, *errors):
        return mock.Mock(side_effect=[*errors, mock.sentinel.done])

    def test_no_conflict_no_pause(self):
        function = self.failing()
        self.assertIs(mock.sentinel.done, retry.run(function, 10, 60))
        self.assertEqual([], self.pauses())

    def test_calls_again_until_done(self):
        function = self.failing(db_exc.DBDeadlock(), swap.VersionMismatch(),
                                mysql(1205))
        self.assertIs(mock.sentinel.done, retry.run(function, 10, 60))
        self.assertEqual(4, function.call_count)

    def test_other_errors_are_passed_on(self):
        function = self.failing(ValueError())
        self.assertRaises(ValueError, retry.run, function, 10, 60)
        self.assertEqual(1, function.call_count)

    def test_tries_are_counted(self):
        function = mock.Mock(side_effect=swap.VersionMismatch)
        self.assertRaises(retry.RetriesExhausted, retry.run, function, 3, 60)
        self.assertEqual(4, function.call_count)

    def test_no_retries(self):
        function = mock.Mock(side_effect=db_exc.DBDeadlock)
        self.assertRaises(retry.RetriesExhausted, retry.run, function, 0, 60)
        self.assertEqual(1, function.call_count)

    def test_time_is_limited(self):
        function = mock.Mock(side_effect=db_exc.DBDeadlock)
        self.assertRaises(retry.RetriesExhausted, retry.run, function, 99, 0)
        self.assertEqual(1, function.call_count)

    def test_no_try_follows_a_pause_that_ends_late(self):
        clock = self.useFixture(
            fixtures.MockPatchObject(retry, 'time')).mock.monotonic
        clock.return_value = 0
        self.sleep.side_effect = (
            lambda seconds: setattr(clock, 'return_value', 60))
        function = mock.Mock(side_effect=db_exc.DBDeadlock)
        self.assertRaises(retry.RetriesExhausted, retry.run, function, 99, 59)
        self.assertEqual(1, function.call_count)
        self.assertIn('1 tries in 60.00 s', self.log.output)

    def test_pauses_are_short_random_and_bounded(self):
        function = mock.Mock(side_effect=swap.VersionMismatch)
        self.assertRaises(retry.RetriesExhausted, retry.run, function, 30, 60)
        pauses = self.pauses()
        self.assertEqual(retry.FIRST_PAUSE, pauses[0])
        self.assertLessEqual(max(pauses), retry.LONGEST_PAUSE)
        self.assertEqual(30, len(pauses))
        self.assertGreater(len(set(pauses)), 3)

    def test_lost_connection_is_no_conflict(self):
        # It is worth another try, but in the end it is not the fault of the
        # other clients.
        function = mock.Mock(side_effect=db_exc.DBConnectionError)
        self.assertRaises(db_exc.DBConnectionError, retry.run, function, 2,
                          60, lambda exc: True)
        self.assertEqual(3, function.call_count)

    def log_lines(self, word):
        return [line for line in self.log.output.splitlines() if word in line]

    def test_each_further_try_is_logged(self):
        function = self.failing(db_exc.DBDeadlock(), swap.VersionMismatch())
        retry.run(function, 10, 60, what='this and that')
        one, other = self.log_lines('has failed')
        self.assertIn('Try 1 to change this and that', one)
        self.assertIn('Try 2 to change this and that', other)
        self.assertEqual([], self.log_lines('Gave up'))

    def test_giving_up_is_logged(self):
        function = mock.Mock(side_effect=db_exc.DBDeadlock)
        for _ in range(2):
            self.assertRaises(retry.RetriesExhausted, retry.run, function, 3,
                              60, what='this and that')
        lines = self.log_lines('Gave up')
        self.assertEqual(2, len(lines))
        self.assertIn('changing this and that after 4 tries', lines[0])
        counts = [int(line.split()[-2]) for line in lines]
        self.assertEqual(1, counts[1] - counts[0])
        # And nothing like an error, with a traceback.
        self.assertEqual([], self.log_lines('Traceback'))

    def test_lost_connection_is_not_logged_as_given_up(self):
        function = mock.Mock(side_effect=db_exc.DBConnectionError)
        self.assertRaises(db_exc.DBConnectionError, retry.run, function, 2, 60)
        self.assertEqual([], self.log_lines('Gave up'))
