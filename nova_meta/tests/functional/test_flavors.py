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

"""The extra specs of flavors: by what saves a flavor, and over HTTP.

Each loss is shown with upstream's class and nova-api, too.
"""

import concurrent.futures
import contextlib
import itertools
import json
import urllib.error
import urllib.request

import fixtures
from nova import context as nova_context
from nova.db.api import api as api_db_api
from nova import exception as nova_exception
from nova.objects import flavor as upstream
from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import enginefacade
import sqlalchemy as sa

from nova_meta.db import swap
from nova_meta import delta
from nova_meta import etag
from nova_meta import exception
from nova_meta.objects import flavor
from nova_meta.race import client
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta.tests.functional import test_workloads
from nova_meta_lab import host
from nova_meta_lab import target

ROWS = sa.table('flavor_extra_specs', *map(sa.column, (
    'id', 'flavor_id', 'key', 'value')))
FLAVORS = sa.table('flavors', sa.column('id'),
                   sa.column('updated_at', sa.DateTime))


class FlavorTestCase(base.DatabaseTestCase):
    """Has flavors in the API database."""

    names = itertools.count()

    def setUp(self):
        super().setUp()
        manager = enginefacade.transaction_context()
        manager.configure(connection=self.host.url('api'))
        self.addCleanup(lambda: manager.writer.get_engine().dispose())
        self.addCleanup(api_db_api.context_manager.patch_factory(manager))
        self.notified = self.useFixture(fixtures.MockPatch(
            'nova.objects.flavor.Flavor._send_notification')).mock
        self.api_database = self.host.engines['api'][0]
        self.new_flavor()

    def new_flavor(self, **specs):
        """Take another flavor, with extra specs."""
        made = flavor.Flavor(
            self.admin(), flavorid=f'flavor-{next(self.names)}',
            name=f'flavor-{next(self.names)}', memory_mb=1, vcpus=1, root_gb=1,
            ephemeral_gb=0, swap=0, disabled=False, is_public=True,
            extra_specs=specs)
        made.create()
        self.flavor, self.flavor_id = made.id, made.flavorid

    def admin(self):
        return nova_context.RequestContext(client.USER, client.PROJECT,
                                           is_admin=True)

    def load(self, cls=flavor.Flavor):
        return cls.get_by_id(self.admin(), self.flavor)

    def specs(self):
        """Return the extra specs that are in the database."""
        with self.api_database.connect() as connection:
            return dict(map(tuple, connection.execute(
                sa.select(ROWS.c.key, ROWS.c.value).where(
                    ROWS.c.flavor_id == self.flavor))))

    def version(self):
        with self.api_database.connect() as connection:
            return connection.execute(sa.select(FLAVORS.c.updated_at).where(
                FLAVORS.c.id == self.flavor)).scalar_one()


class Interleavings:
    """Two requests that have both read the flavor before either saves it.

    Upstream's controller has a request save the specs that it has read, with
    its own among them, or without the one that it deletes.
    """

    def both(self, first, second, cls=flavor.Flavor, **before):
        """Save two copies of a flavor.

        :param first: changes the extra specs of the one that is saved first
        :param second: of the other
        :returns: what is there then
        """
        self.new_flavor(**before)
        one, other = self.load(cls), self.load(cls)
        for change, copy in (first, one), (second, other):
            change(copy.extra_specs)
            copy.save()
        found = self.specs()
        if cls is flavor.Flavor:
            self.assertEqual(found, other.extra_specs)
            self.assertEqual(set(), other.obj_what_changed())
        return found

    def with_specs(self, **specs):
        return lambda current: current.update(specs)

    def without(self, key):
        return lambda current: current.pop(key)


class InterleavingTests(Interleavings):

    def test_update_and_update(self):
        self.assertEqual({'a': '1', 'b': '1'}, self.both(
            self.with_specs(a='1'), self.with_specs(b='1'), a='0', b='0'))

    def test_delete_and_create(self):
        self.assertEqual({'c': '1'}, self.both(
            self.without('a'), self.with_specs(c='1'), a='0'))

    def test_delete_and_update(self):
        self.assertEqual({'b': '1'}, self.both(
            self.without('a'), self.with_specs(b='1'), a='0', b='0'))

    def test_update_and_delete(self):
        self.assertEqual({'a': '1'}, self.both(
            self.with_specs(a='1'), self.without('b'), a='0', b='0'))

    def test_create_and_create(self):
        self.assertEqual({'a': '2', 'b': '1'}, self.both(
            self.with_specs(a='1', b='1'), self.with_specs(a='2')))

    def test_delete_and_delete(self):
        self.assertRaises(nova_exception.FlavorExtraSpecsNotFound, self.both,
                          self.without('a'), self.without('a'), a='0')
        self.assertEqual({}, self.specs())

    def test_keys_that_differ_in_case(self):
        def both():
            return self.both(self.with_specs(A='1'), self.with_specs(a='1'))

        if self.host.database.dialect.name == 'mysql':
            # To its collation they are one, and the keys are unique.
            collide = self.assertRaises(exception.ExtraSpecKeysCollide, both)
            self.assertNotIn('retries', str(collide))
            self.assertEqual({'A': '1'}, self.specs())
        else:
            self.assertEqual({'A': '1', 'a': '1'}, both())


class StockInterleavingTests(Interleavings):

    def both(self, *args, **kwargs):
        return super().both(*args, cls=upstream.Flavor, **kwargs)

    def test_stock_reverts_an_update(self):
        self.assertEqual({'a': '0', 'b': '1'}, self.both(
            self.with_specs(a='1'), self.with_specs(b='1'), a='0', b='0'))

    def test_stock_brings_a_deleted_spec_back(self):
        self.assertEqual({'a': '0', 'c': '1'}, self.both(
            self.without('a'), self.with_specs(c='1'), a='0'))

    def test_stock_reverts_an_update_by_a_delete(self):
        self.assertEqual({'a': '0'}, self.both(
            self.with_specs(a='1'), self.without('b'), a='0', b='0'))


class SaveTests:
    """What else a save is."""

    def test_other_columns(self):
        self.new_flavor(a='0', b='0')
        changed = self.load()
        changed.description = 'new'
        changed.extra_specs = {'b': '1'}
        self.notified.reset_mock()
        changed.save()
        self.assertEqual({'b': '1'}, self.specs())
        self.assertEqual('new', self.load().description)
        self.assertEqual(1, self.notified.call_count)

    def test_projects(self):
        changed = self.load()
        changed.projects = ['one']
        changed.extra_specs['a'] = '1'
        changed.save()
        other = self.load()
        other.projects.append('two')
        changed.projects.remove('one')
        changed.save()
        other.save()
        self.assertEqual(['two'], self.load().projects)
        self.assertEqual({'a': '1'}, self.specs())

    def test_nothing(self):
        self.new_flavor(a='0')
        version = self.version()
        changed = self.load()
        changed.extra_specs = {'a': '0'}
        changed.save()
        self.assertEqual(version, self.version())

    def test_version_does_not_go_back(self):
        changed = self.load()
        for number in range(3):
            before = self.version()
            changed.extra_specs['a'] = str(number)
            changed.save()
            self.assertIsNotNone(self.version())
            self.assertLessEqual(before or self.version(), self.version())

    def test_flavor_is_deleted_meanwhile(self):
        if self.host.database.dialect.name == 'sqlite':
            self.skipTest('SQLite has one writer at a time')
        self.new_flavor(a='0')
        changed, write, running = self.load(), swap._write, []

        def write_later(*args):
            if not running:
                running.append(self.in_thread(self.load().destroy))
                self.assertTrue(running[0].waits)
            write(*args)

        self.useFixture(fixtures.MockPatchObject(swap, '_write', write_later))
        changed.extra_specs['a'] = '1'
        with contextlib.suppress(nova_exception.FlavorNotFound):
            changed.save()
        running[0].result()
        self.assertEqual({}, self.specs())

    def test_flavor_that_is_gone(self):
        changed = self.load()
        self.load().destroy()
        changed.extra_specs['a'] = '1'
        self.assertRaises(nova_exception.FlavorNotFound, changed.save)

    def test_same_new_key_while_stock_inserts_it(self):
        # As on a nova-api without nova-meta. It takes no lock.
        if self.database is base.SQLITE:
            self.skipTest('SQLite has one writer at a time')
        changed = self.load()
        changed.extra_specs['a'] = '2'
        with self.api_database.begin() as connection:
            connection.execute(sa.insert(ROWS).values(
                flavor_id=self.flavor, key='a', value='1'))
            waiting = self.in_thread(changed.save)
            self.assertTrue(waiting.waits)
        waiting.result()
        self.assertEqual({'a': '2'}, self.specs())

    def test_budget_is_spent(self):
        self.flags(max_retries=1)
        self.useFixture(fixtures.MockPatchObject(
            swap, 'swap', side_effect=db_exc.DBDeadlock()))
        changed = self.load()
        changed.extra_specs['a'] = '1'
        self.assertRaises(exception.ExtraSpecUpdateConflict, changed.save)

    def test_what_a_request_sets_is_written(self):
        # Though it seemed to be there already.
        self.new_flavor(a='1')
        stale, other = self.load(), self.load()
        other.extra_specs['a'] = '2'
        other.save()
        stale.change_extra_specs(delta.merge({'a': '1'}), etag.UNCONDITIONAL)
        self.assertEqual({'a': '1'}, self.specs())
        self.assertEqual({'a': '1'}, stale.extra_specs)

    def test_condition(self):
        self.new_flavor(a='1')
        seen, changed = self.load(), self.load()
        changed.extra_specs['b'] = '1'
        changed.save()
        self.assertRaises(
            exception.PreconditionFailed, seen.change_extra_specs,
            delta.merge({'a': '2'}), etag.Condition.of(
                etag.of(), f'"{etag.of_map({"a": "1"})}"', None))
        self.assertEqual({'a': '1', 'b': '1'}, self.specs())


class Clients:
    """Clients of the compute API."""

    writers = 16

    def serve(self, app_factory):
        super().serve(app_factory)
        self.urls = itertools.cycle(self.host.urls)

    def request(self, method, path='', body=None, **headers):
        """Send a request.

        :returns: a tuple: status, headers, and what the body says
        """
        request = urllib.request.Request(
            f'{next(self.urls)}/flavors/{self.flavor_id}/os-extra_specs{path}',
            data=json.dumps(body).encode() if body else None, method=method,
            headers={**client.HEADERS, **target.HEADERS, 'X-Roles': 'admin',
                     **headers})
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            answer, text = error, error.read()
        return (answer.status, answer.headers,
                json.loads(text) if text else None)

    def create(self, specs, **headers):
        return self.request('POST', body={'extra_specs': specs}, **headers)

    def update(self, key, value, **headers):
        return self.request('PUT', f'/{key}', {key: value}, **headers)

    def delete(self, key, **headers):
        return self.request('DELETE', f'/{key}', **headers)

    def at_once(self, do):
        """Have all writers do something, called with their numbers."""
        with concurrent.futures.ThreadPoolExecutor(self.writers) as pool:
            return list(pool.map(do, range(self.writers)))


class WorkloadTests(Clients, test_workloads.WorkloadTests):

    target = target.EXTRA_SPECS
    workloads = workload.EXTRA_SPECS
    stock_faults = [('count', 'lost updates'),
                    ('delete and merge', 'resurrected deletes')]

    @property
    def name(self):
        return self.flavor_id

    def test_one_of_many_with_one_tag(self):
        self.serve(host.OURS)
        seen = self.create({'a': '1'})[1]['ETag']
        statuses = [status for status, *_ in self.at_once(
            lambda me: self.create({'a': f'of {me}'},
                                   **{'If-Match': seen}))]
        self.assertEqual([200] + [412] * (self.writers - 1), sorted(statuses))


class HTTPTests(Clients):

    def test_answers(self):
        self.serve(host.OURS)
        self.assertEqual((200, {'extra_specs': {'a': '1'}}),
                         self.create({'a': '1'})[::2])
        self.assertEqual((200, {'b': 2}), self.update('b', 2)[::2])
        self.assertEqual((200, {'extra_specs': {'a': '1', 'b': '2'}}),
                         self.request('GET')[::2])
        self.assertEqual((200, {'b': '2'}), self.request('GET', '/b')[::2])
        self.assertEqual((200, None), self.delete('a')[::2])
        status, _headers, answer = self.delete('a')
        self.assertEqual(404, status)
        self.assertEqual(
            f'Flavor {self.flavor_id} has no extra specs with key a.',
            answer['itemNotFound']['message'])

    def test_numbers(self):
        self.serve(host.OURS)
        self.create({'a': '1', 'b': '1', 'c': '1'})
        body = {'a': 4, 'b': 2.5, 'c': 'x', 'd': 7}
        status, headers, answer = self.create(body)
        self.assertEqual((200, {'extra_specs': body}), (status, answer))
        self.assertEqual({'a': '4', 'b': '2.5', 'c': 'x', 'd': '7'},
                         self.specs())
        self.assertEqual(headers['ETag'], self.request('GET')[1]['ETag'])
        # RFC 9110, section 9.3.4: what was written is not what was sent.
        self.assertNotIn('ETag', self.update('d', 7)[1])
        self.assertIn('ETag', self.update('d', '7')[1])
        flavor = self.load()
        # Again, it changes nothing.
        self.assertEqual(headers['ETag'], self.create(body)[1]['ETag'])
        self.assertEqual(flavor.updated_at, self.load().updated_at)

    def test_conditions(self):
        self.serve(host.OURS)
        seen = self.create({'a': '1'})[1]['ETag']
        self.assertEqual(f'"{etag.of_map({"a": "1"})}"', seen)
        # The answer has the new spec only, the tag is that of all of them.
        after = self.create({'b': '1'}, **{'If-Match': seen})[1]['ETag']
        self.assertEqual(after, self.request('GET')[1]['ETag'])
        status, headers, answer = self.create({'c': '1'},
                                              **{'If-Match': seen})
        self.assertEqual((412, after), (status, headers['ETag']))
        self.assertEqual(412, answer['preconditionFailed']['code'])
        self.assertEqual(304, self.request(
            'GET', **{'If-None-Match': after})[0])

        item = self.request('GET', '/a')[1]['ETag']
        self.assertNotEqual(seen, item)
        changed = self.update('a', '2', **{'If-Match': item})[1]['ETag']
        self.assertEqual(changed, self.request('GET', '/a')[1]['ETag'])
        self.assertEqual(412, self.delete('a', **{'If-Match': item})[0])
        self.assertEqual(404, self.delete('z', **{'If-Match': item})[0])
        self.assertEqual(412, self.update('a', '3',
                                          **{'If-None-Match': '*'})[0])
        self.assertEqual(200, self.update('c', '3',
                                          **{'If-None-Match': '*'})[0])
        self.assertEqual({'a': '2', 'b': '1', 'c': '3'}, self.specs())

    def test_condition_of_a_request_that_sets_nothing(self):
        self.serve(host.OURS)
        for headers in {'If-Match': '"other"'}, {'If-None-Match': '*'}:
            self.assertEqual(412, self.create({}, **headers)[0], headers)
        seen = self.request('GET')[1]['ETag']
        self.assertEqual((200, seen), (lambda answer: (
            answer[0], answer[1]['ETag']))(self.create(
                {}, **{'If-Match': seen})))


class FlavorsSQLiteTestCase(InterleavingTests, SaveTests, HTTPTests,
                            WorkloadTests, FlavorTestCase):
    database = base.SQLITE
    # With more of them reads wait longer for the file than SQLite lets them.
    writers, many_writers = 4, 8


class FlavorsMariaDBTestCase(InterleavingTests, SaveTests, HTTPTests,
                             WorkloadTests, FlavorTestCase):
    database = base.MARIADB


class FlavorsPostgreSQLTestCase(InterleavingTests, SaveTests, HTTPTests,
                                WorkloadTests, FlavorTestCase):
    database = base.POSTGRESQL


class StockFlavorsSQLiteTestCase(StockInterleavingTests, FlavorTestCase):
    database = base.SQLITE


class StockFlavorsMariaDBTestCase(StockInterleavingTests, FlavorTestCase):
    database = base.MARIADB


class StockFlavorsPostgreSQLTestCase(StockInterleavingTests, FlavorTestCase):
    database = base.POSTGRESQL
