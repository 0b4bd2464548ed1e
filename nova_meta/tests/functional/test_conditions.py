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

"""Conditions under load: one winner, and nothing lost between two requests."""

import concurrent.futures
import json
import os
import pathlib
import random
import runpy
import threading
import time

from keystoneauth1 import noauth
from keystoneauth1 import session
from openstack import connection

from nova_meta.race import client
from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import host
from nova_meta_lab import losing
from nova_meta_lab import target

GUIDE = pathlib.Path(__file__).parents[3].joinpath(
    'doc', 'source', 'user', 'change_metadata.py')

ROUNDS = int(os.environ.get('NOVA_META_TEST_ROUNDS', 2))
CLIENTS = 32
COUNTERS, INCREMENTS = 8, 4 * ROUNDS

# What is sent, and what is there if it wins, beside the other key.
CALLS = {
    'merge': (lambda one, me: one.merge({'key': me}), lambda me: me),
    'replace': (lambda one, me: one.replace({'key': me, 'other': 'old'}),
                lambda me: me),
    'set': (lambda one, me: one.set('key', me), lambda me: me),
    'delete': (lambda one, me: one.delete('key'), lambda me: None),
}


class ConditionTests:

    def client(self, **headers):
        return target.MetadataClient(self.url, self.server, {
            name.replace('_', '-'): value for name, value in headers.items()})

    def together(self, count, function):
        """Call function(number, barrier) in threads; return the results."""
        barrier = threading.Barrier(count)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(function, range(count), [barrier] * count))

    def race(self, call):
        """Let all clients send a request on the condition of one tag.

        :returns: the numbers of those that were acknowledged
        """
        send, left = CALLS[call]
        one = self.client()
        seen = one.replace({'key': 'old', 'other': 'old'})
        if call in ('set', 'delete'):
            seen = one.show('key')

        def conditional(me, barrier):
            mine = self.client(if_match=seen.etag)
            barrier.wait()
            return send(mine, str(me))

        answers = self.together(CLIENTS, conditional)
        # 404: the key is gone, and that is told first.
        self.assertLessEqual({op.status for op in answers},
                             {200, 204, 412, 404 if call == 'delete' else 412})
        winners = [me for me, op in enumerate(answers) if op.acknowledged]
        rows = dict(self.rows())
        self.assertEqual('old', rows['other'])
        self.assertIn(rows.get('key'), [left(str(me)) for me in winners])
        return winners

    def test_one_winner(self):
        self.serve(host.OURS)
        for call in CALLS:
            for _ in range(ROUNDS):
                self.assertEqual(1, len(self.race(call)), call)

    def test_one_creates(self):
        self.serve(host.OURS)
        for _ in range(ROUNDS):
            self.client().replace({})

            def create(me, barrier):
                mine = self.client(if_none_match='*')
                barrier.wait()
                return mine.set('key', str(me))

            statuses = [op.status for op in self.together(CLIENTS, create)]
            self.assertEqual([200] + [412] * (CLIENTS - 1), sorted(statuses))

    def test_more_winners_if_checked_before_the_transaction(self):
        # As Cinder does. If this is not seen, the test above sees nothing.
        self.serve(mutants.path_of(mutants.checked_before))
        for _ in range(20):
            if len(self.race('merge')) > 1:
                return
        self.fail('the fault is not seen')

    @base.periodic(base.MARIADB)
    def test_counter(self):
        self.serve(host.OURS)
        self.client().replace({'counter': '0'})

        def count(me, barrier):
            barrier.wait()
            for _ in range(INCREMENTS):
                self.increment()

        self.together(COUNTERS, count)
        self.assertEqual([('counter', str(COUNTERS * INCREMENTS))],
                         self.rows())

    def increment(self):
        """Add one to the counter, as the user guide has it."""
        for attempt in range(1000):
            seen = self.client().show('counter')
            done = self.client(if_match=seen.etag).set(
                'counter', str(int(seen.answer['counter']) + 1))
            if done.status != 412:
                break
            time.sleep(random.uniform(0, min(2, .05 * 2 ** attempt)))
        self.assertEqual(200, done.status)

    def test_user_guide(self):
        # Its function, that is: replace, with a condition, until it is true.
        change_metadata = runpy.run_path(str(GUIDE))['change_metadata']
        self.serve(host.OURS)

        def add(me, barrier):
            cloud = connection.Connection(
                session=session.Session(noauth.NoAuth(endpoint=self.url),
                                        additional_headers=client.HEADERS),
                compute_endpoint_override=self.url, compute_api_version='2.1')
            barrier.wait()
            for n in range(3):
                change_metadata(cloud.compute, self.server, lambda metadata: {
                    **metadata, f'{me}.{n}': 'new'})

        self.together(8, add)
        self.assertEqual({(f'{me}.{n}', 'new')
                          for me in range(8) for n in range(3)},
                         set(self.rows()))

    def test_answer_of_commit_lost(self):
        # Made again, it would find its own change and say 412.
        self.add_rows(('key', 'old'))
        self.serve(losing.OURS)
        seen = self.client().show('key')
        answer = self.client(if_match=seen.etag, x_lose=json.dumps({
            'when': 'after', 'step': losing.COMMIT,
            'table': target.METADATA.table.name})).set('key', 'new')
        self.assertEqual(500, answer.status)
        self.assertEqual([('key', 'new')], self.rows())


@base.periodic_class
class ConditionsSQLiteTestCase(ConditionTests, base.DatabaseTestCase):
    database = base.SQLITE


class ConditionsMariaDBTestCase(ConditionTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class ConditionsMariaDBSnapshotTestCase(ConditionTests,
                                        base.DatabaseTestCase):
    database = base.MARIADB_SNAPSHOT


class ConditionsPostgreSQLTestCase(ConditionTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
