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

"""The connection to the database is lost: at each step, and seen by others.

Whatever is answered must be explained by an order of the requests: nothing is
half applied, nothing is applied twice, and what others have written who have
seen it is not undone.
"""

import json
import pathlib

import fixtures

from nova_meta.race import client
from nova_meta.race import history
from nova_meta.race import order
from nova_meta.tests.functional import base
from nova_meta.tests.functional import losing
from nova_meta.tests.functional import mutants
from nova_meta_lab import target

BEFORE = {'k': 'old', 'other': 'kept'}

# What is sent, and what it makes of the map.
CALLS = {
    'merge': (lambda one: one.merge({'k': 'A', 'new': 'A'}),
              {'k': 'A', 'other': 'kept', 'new': 'A'}),
    'replace': (lambda one: one.replace({'k': 'A', 'new': 'A'}),
                {'k': 'A', 'new': 'A'}),
    'set': (lambda one: one.set('k', 'A'), {'k': 'A', 'other': 'kept'}),
    'delete': (lambda one: one.delete('k'), {'other': 'kept'}),
}
# What the one who has sent it may ask for afterwards.
ASKED = ('merge', 'replace', 'set')


class LostTests:
    """One map, and clients that know what is to be lost."""

    def setUp(self):
        super().setUp()
        self.serve(mutants.path_of(losing.factory))
        self.directory = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path)

    def calls(self):
        for kind in target.METADATA, target.EXTRA_SPECS:
            for name, (send, after) in CALLS.items():
                if name != 'replace' or kind is target.METADATA:
                    yield kind, name, send, after

    def prepare(self, kind):
        """Give a kind of map, of this test, what is there before."""
        self.kind = kind
        self.name = self.server if kind is target.METADATA else client.FLAVOR
        with self.host.engines[kind.database][0].begin() as connection:
            kind.prepare(connection, self.name, BEFORE.items())

    def left(self):
        with self.host.engines[self.kind.database][0].connect() as connection:
            rows = self.kind.rows(connection, self.name)
        self.assertEqual(len(dict(rows)), len(rows))
        return dict(rows)

    def client(self, number=0, headers=None, **lost):
        """Return a client of a nova-api.

        :param number: which, if there are several
        :param headers: of its requests
        :param lost: what its request loses, see :class:`losing.Plan`
        """
        return self.kind.client(
            self.host.urls[number % len(self.host.urls)], self.name,
            {**(headers or {}), losing.HEADER: json.dumps(lost)})

    def told(self, one):
        """Return what nova-api tells of the last request of a client."""
        return json.loads(one.answered[losing.STEPS])


class EachStepTests(LostTests):

    def test_each_step(self):
        for kind, name, send, after in self.calls():
            for when in 'before', 'after':
                step = 0
                while self.loses(kind, (kind.database, name, when, step),
                                 send, after, when=when, step=step):
                    step += 1
                self.assertGreater(step, 5)

    def loses(self, kind, what, send, after, **lost):
        """Let a request lose the connection.

        :returns: whether it has had so many steps
        """
        self.prepare(kind)
        one = self.client(table=kind.table.name, **lost)
        done = send(one)
        told = self.told(one)
        self.assertLessEqual(told['writes'], 1, what)
        self.assertIn(done.status, (200, 204, 500), what)
        self.assertIn(self.left(), [after] if done.acknowledged
                      else [BEFORE, after], what)
        return told['lost']


class ObservedTests(LostTests):
    """The answer of COMMIT is lost, and meanwhile others write."""

    def alone(self):
        return []

    def seen(self):
        return self.overwritten(history.SHOW)

    def unseen(self):
        return self.overwritten(None)

    def seen_with_a_condition(self):
        return self.overwritten(history.SHOW, with_tag=True)

    def seen_and_other_key_written(self):
        # An answer with the whole map would have what came later.
        return self.overwritten(history.SHOW, key='another')

    def overwritten(self, read, with_tag=False, key='k'):
        """Overwrite what is there, as another client, perhaps after a look."""
        headers = {}
        reader = self.client(1)
        if read:
            # A node of a cluster may show it a little later.
            losing.wait_for(lambda: reader.show('k').answer != {'k': 'old'})
            if with_tag and reader.operations[-1].etag:
                headers['If-Match'] = reader.operations[-1].etag
        writer = self.client(1, headers)
        self.assertEqual(200, writer.set(key, 'B').status)
        return reader.operations[-1:] + writer.operations

    def observed(self, kind, send, others, headers=None):
        """Lose the answer of COMMIT, and have others see what it did.

        :returns: a tuple: the operation, what nova-api tells, whether an order
            of all operations explains all of it
        """
        self.prepare(kind)
        gate = self.directory / 'gate'
        one = self.client(0, headers, when='after', step=losing.COMMIT,
                          table=kind.table.name, gate=str(gate))
        running = self.in_thread(send, one)
        losing.wait_for(gate.exists)
        operations = others()
        gate.unlink()
        done = running.result()
        left = self.left()
        return done, self.told(one), left, order.exists(
            BEFORE, [done, *operations], left)

    def test_observed(self):
        wrong = []
        for kind, name, send, _after in self.calls():
            for others in (self.alone, self.seen, self.unseen,
                           self.seen_with_a_condition,
                           self.seen_and_other_key_written):
                done, told, left, explained = self.observed(
                    kind, send, others)
                # It is asked for, and said if it holds.
                holds = others == self.alone and name in ASKED or (
                    others == self.seen_and_other_key_written and
                    name == 'set')
                if not explained or told['writes'] != 1 or (
                        done.status != (200 if holds else 500)):
                    wrong.append((kind.database, name, others.__name__,
                                  done.status, told, left, explained))
        self.assertEqual([], wrong)

    def test_tag_of_what_is_there(self):
        for kind, name, send, after in self.calls():
            if name in ASKED:
                done, *_ = self.observed(kind, send, self.alone)
                one = self.client()
                seen = one.show('k') if name == 'set' else one.list()
                self.assertEqual(seen.etag, done.etag, name)

    def test_condition(self):
        # It is made false by the change itself.
        for kind, name, send, after in self.calls():
            self.prepare(kind)
            one = self.client()
            seen = (one.show('k') if name in ('set', 'delete')
                    else one.list())
            done, told, left, explained = self.observed(
                kind, send, self.alone, {'If-Match': seen.etag})
            self.assertEqual((500, 1, after), (
                done.status, told['writes'], left), name)


class LostSQLiteTestCase(EachStepTests, ObservedTests, base.DatabaseTestCase):
    database = base.SQLITE


class LostMariaDBTestCase(EachStepTests, ObservedTests, base.DatabaseTestCase):
    database = base.MARIADB


class LostPostgreSQLTestCase(EachStepTests, ObservedTests,
                             base.DatabaseTestCase):
    database = base.POSTGRESQL
