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

"""Every race that is known, step by step, on every database.

A check is called under the row lock. So a test that wants to be between the
reading and the writing of a request puts itself into its check.
"""

import threading

from nova import exception as nova_exception
from nova.objects import instance as upstream
import sqlalchemy as sa

from nova_meta.db import api as db_api
from nova_meta import delta
from nova_meta.tests.functional import base


class Pause:
    """A check that holds the row lock until it is let go."""

    def __init__(self):
        self._reached = threading.Event()
        self._go_on = threading.Event()

    def __call__(self, server, before, after):
        self._reached.set()
        if not self._go_on.wait(base.PATIENCE):
            raise AssertionError('never let go')

    def wait(self):
        if not self._reached.wait(base.PATIENCE):
            raise AssertionError('the check is never reached')

    def let_go(self):
        self._go_on.set()


class RaceTests:
    """Two requests at a time."""

    def hold(self, change):
        """Begin a request and leave it between its read and its write."""
        pause = Pause()
        self.addCleanup(pause.let_go)
        running = self.in_thread(self.change, change, pause)
        pause.wait()
        return pause, running

    def race(self, first, second):
        """Begin a second request while the first has read but not written.

        :returns: what they did, two :class:`swap.Swap`
        """
        pause, one = self.hold(first)
        other = self.in_thread(self.change, second)
        self.assertTrue(other.waits, 'it does not wait for the row lock')
        pause.let_go()
        return one.result(), other.result()

    def test_merge_and_merge(self):
        self.add_rows(('old', '0'))
        one, other = self.race(delta.merge({'a': '1'}),
                               delta.merge({'b': '2'}))
        self.assertEqual({'old': '0', 'a': '1'}, one.after)
        self.assertEqual(one.after, other.before)
        self.assertEqual([('old', '0'), ('a', '1'), ('b', '2')], self.rows())

    def test_replace_and_replace_from_empty(self):
        self.race(delta.replace({'a': '1', 'b': '1'}),
                  delta.replace({'b': '2', 'c': '2'}))
        self.assertEqual([('b', '2'), ('c', '2')], self.rows())

    def test_delete_and_merge(self):
        self.add_rows(('a', '1'))
        self.race(delta.remove('a'), delta.merge({'b': '2'}))
        self.assertEqual([('b', '2')], self.rows())

    def test_merge_and_delete(self):
        self.add_rows(('a', '1'))
        self.race(delta.merge({'b': '2'}), delta.remove('a'))
        self.assertEqual([('b', '2')], self.rows())

    def test_replace_and_merge(self):
        self.add_rows(('a', '1'))
        self.race(delta.replace({'b': '2'}), delta.merge({'c': '3'}))
        self.assertEqual([('b', '2'), ('c', '3')], self.rows())

    def test_same_key_twice(self):
        self.race(delta.merge({'a': '1'}), delta.merge({'a': '2'}))
        self.assertEqual([('a', '2')], self.rows())

    def test_delete_and_delete(self):
        self.add_rows(('a', '1'))
        one, other = self.race(delta.remove('a'), delta.remove('a'))
        self.assertEqual({'a': '1'}, one.before)
        self.assertEqual({}, other.before)

    def test_key_that_comes_back_in_another_case(self):
        self.add_rows(('Key', '1'))
        self.race(delta.merge({'key': '2'}), delta.remove('Key'))
        self.assertEqual([('key', '2')], self.rows())

    def test_server_deleted_meanwhile(self):
        with self.row_locked() as connection:
            waiting = self.in_thread(self.update, {'b': '1'})
            self.assertTrue(waiting.waits)
            connection.execute(sa.update(base.INSTANCES).where(
                base.INSTANCES.c.uuid == self.server).values(
                    deleted=base.INSTANCES.c.id))
        self.assertRaises(nova_exception.InstanceNotFound, waiting.result)
        self.assertEqual([], self.rows())

    def test_check_sees_what_the_row_has_become(self):
        seen = []

        def check(server, before, after):
            seen.append(server.vm_state)

        with self.row_locked() as connection:
            waiting = self.in_thread(
                db_api.instance_metadata_update, self.context(), self.server,
                {}, False, check)
            self.assertTrue(waiting.waits)
            connection.execute(sa.update(base.INSTANCES).where(
                base.INSTANCES.c.uuid == self.server).values(vm_state='error'))
        waiting.result()
        self.assertEqual(['error'], seen)

    def test_updated_at_set_back_meanwhile(self):
        # As other code of Nova does, which writes a "now" of its own: to a
        # request that trusted a version that it has read before the lock, the
        # server would seem untouched.
        self.update({'a': '1'})
        version = self.version()
        pause, one = self.hold(delta.merge({'b': '2'}))
        other = self.in_thread(self.update, {'c': '3'})
        noise = self.in_thread(self.set_version, version)
        self.assertTrue(other.waits)
        pause.let_go()
        one.result()
        noise.result()
        self.assertEqual({'a': '1', 'b': '2', 'c': '3'}, other.result())
        self.assertEqual([('a', '1'), ('b', '2'), ('c', '3')], self.rows())


class StockTests:
    """The same races with upstream's functions: what this is all about.

    Were one of these to fail, Nova would have been mended, or the tests above
    would prove nothing.
    """

    def instance(self):
        return upstream.Instance.get_by_uuid(
            self.context(), self.server, expected_attrs=['metadata'])

    def test_stock_loses_a_merge(self):
        one, other = self.instance(), self.instance()
        one.metadata = {**one.metadata, 'a': '1'}
        one.save()
        other.metadata = {**other.metadata, 'b': '2'}
        other.save()
        self.assertEqual([('b', '2')], self.rows())

    def test_stock_loses_a_delete(self):
        self.add_rows(('a', '1'))
        one, other = self.instance(), self.instance()
        one.delete_metadata_key('a')
        other.metadata = {**other.metadata, 'b': '2'}
        other.save()
        self.assertEqual([('a', '1'), ('b', '2')], sorted(self.rows()))


class RacesSQLiteTestCase(RaceTests, StockTests, base.DatabaseTestCase):
    database = base.SQLITE


class RacesMariaDBTestCase(RaceTests, StockTests, base.DatabaseTestCase):
    database = base.MARIADB


class RacesMariaDBSnapshotTestCase(RaceTests, StockTests,
                                   base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


class RacesPostgreSQLTestCase(RaceTests, StockTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
