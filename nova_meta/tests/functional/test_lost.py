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
seen it is not undone. All that can happen, on all databases: ``tox -e
failures``.
"""

from nova_meta.race import client
from nova_meta.race import history
from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import calls
from nova_meta_lab import failures
from nova_meta_lab import losing

ALONE = {'alone': None}
OBSERVERS = {
    **failures.OBSERVERS,
    'overwritten unseen': failures.Observer('a', reads=False),
    'overwritten on a condition': failures.Observer('a', conditional=True),
}
ANSWER_OF_COMMIT = (losing.COMMIT, 'after')


class LostTests:
    """Requests that say what is to be lost."""

    def setUp(self):
        super().setUp()
        self.serve(losing.OURS)

    def name(self, call):
        return self.server if call.target is calls.METADATA else client.FLAVOR

    def client(self, call):
        return self.clients(call).client(call.client)

    def clients(self, call):
        return failures.Clients(self.host, self.name(call))

    def points(self, call):
        return failures.Points(self.host, call.target, self.name(call),
                               self.clients(call))

    def writes(self):
        for call in (*calls.PLAIN, *calls.SPECS):
            if call.name in history.WRITES:
                yield self.points(call), call

    def lose_answer(self, points, call, observer='alone'):
        return points.play(call, failures.Lost(), ANSWER_OF_COMMIT, observer,
                           OBSERVERS[observer])


class EachStepTests(LostTests):

    def test_each_step(self):
        for points, call in self.writes():
            found = list(points.all_of(call, failures.Lost(), ALONE))
            self.assertEqual([], [str(one) for one in found if one.wrong])
            self.assertLessEqual({one.answer for one in found},
                                 {'200', '204', '500'})
            self.assertGreater(len(found), 10)


class ObservedTests(LostTests):
    """The answer of COMMIT is lost, and meanwhile others write."""

    def test_observed(self):
        wrong = []
        for points, call in self.writes():
            for observer in OBSERVERS:
                one = self.lose_answer(points, call, observer)
                # It is asked for, and said if it holds. An answer with the
                # whole map would have what came later.
                holds = observer == 'alone' and call.name != 'delete' or (
                    observer == 'other key set' and call.name == 'set')
                if one.wrong or one.writes != 1 or (
                        one.answer != ('200' if holds else '500')):
                    wrong.append(str(one))
        self.assertEqual([], wrong)

    def test_tag_of_what_is_there(self):
        for points, call in self.writes():
            if call.name != 'delete':
                done = self.lose_answer(points, call).operations[0]
                one = self.client(call)
                seen = one.show('a') if call.name == 'set' else one.list()
                self.assertEqual(seen.etag, done.etag, call)

    def test_condition(self):
        # It is made false by the change itself.
        for points, call in self.writes():
            one = self.lose_answer(points, call._replace(conditional=True))
            self.assertEqual(('', '500', 1, True), (
                one.wrong, one.answer, one.writes, one.is_done), call)


class ReplayTests(LostTests):

    def test_replay(self):
        # It shows only if somebody has seen the change.
        self.serve(mutants.path_of(mutants.replays))
        points = self.points(calls.MERGE)
        self.assertEqual('', self.lose_answer(points, calls.MERGE).wrong)
        wrong = self.lose_answer(points, calls.MERGE, 'overwritten').wrong
        self.assertIn('No order explains these:', wrong)
        self.assertIn("set 'a' {'a': 'B'}: 200", wrong)


class LostSQLiteTestCase(EachStepTests, ObservedTests, base.DatabaseTestCase):
    database = base.SQLITE


class LostMariaDBTestCase(EachStepTests, ObservedTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class LostPostgreSQLTestCase(EachStepTests, ObservedTests,
                             base.DatabaseTestCase):
    database = base.POSTGRESQL


class ReplayTestCase(ReplayTests, base.DatabaseTestCase):
    database = base.SQLITE


@base.periodic_class
class KilledMariaDBTestCase(base.WithKilledServer, LostTests,
                            base.DatabaseTestCase):
    """The database server is killed at each step."""

    database = base.MARIADB
    servers_made = 1

    def test_killed(self):
        found = list(self.points(calls.MERGE).all_of(
            calls.MERGE, failures.ServerKilled(self.killed)))
        self.assertEqual([], [str(one) for one in found if one.wrong])
        self.assertGreater(len(found), 15)
