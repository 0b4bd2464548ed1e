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

import testtools

from nova_meta.race import history
from nova_meta_lab import calls
from nova_meta_lab import failures
from nova_meta_lab import losing

LOCK = 'SELECT instances.uuid \nFROM instances \nWHERE uuid = ? FOR UPDATE'
INSERT = 'INSERT INTO instance_metadata (key) VALUES (?)'


class PlanTestCase(testtools.TestCase):

    def take(self, plan):
        """Take steps that nothing happens at."""
        for statement in ('SELECT quotas.x \nFROM quotas', losing.COMMIT,
                          LOCK, INSERT, losing.COMMIT, losing.COMMIT):
            with plan.step(None, None, statement):
                pass
        return plan

    def test_all_steps(self):
        plan = self.take(losing.Plan(table='instance_metadata'))
        self.assertEqual((6, 1), (len(plan.steps), plan.writes))

    def test_steps_that_touch_rows(self):
        plan = self.take(losing.Plan(table='instance_metadata',
                                     owners='instances'))
        self.assertEqual([LOCK, INSERT, losing.COMMIT], plan.steps)

    def test_killed_before(self):
        # What the driver says then is up to the driver.
        plan = self.take(losing.Plan('before', 2, 'instance_metadata',
                                     'instances', killed=True))
        self.assertEqual((True, 0), (plan.lost, plan.writes))

    def test_names(self):
        for name, statement in (
                ('SELECT instances FOR UPDATE', LOCK),
                ('SELECT flavors FOR NO KEY UPDATE',
                 'SELECT x FROM flavors FOR NO KEY UPDATE'),
                ('INSERT instance_metadata', INSERT),
                ('UPDATE instances', 'UPDATE instances SET updated_at=?'),
                ('SHOW VARIABLES', 'SHOW VARIABLES WHERE x'),
                ('COMMIT', losing.COMMIT)):
            self.assertEqual(name, losing.name_of(statement))


def operation(call, key, pairs, status, answer=None, begun=0, ended=9):
    return history.Operation(call, key, pairs, status, answer, begun, ended)


def outcome(status, final, *others, request=(history.SET, 'a', {'a': 'A'}),
            **changed):
    return failures.Outcome(**{
        'failure': 'connection lost', 'point': (3, 'before'),
        'step': 'COMMIT', 'observer': 'alone', 'writes': 1,
        'silenced': False, 'before': BEFORE, 'final': [*final.items()],
        'operations': [operation(*request, status, {'a': 'A'}), *others],
        **changed})


BEFORE = calls.BEFORE
AFTER = {**BEFORE, 'a': 'A'}
SEEN = operation(history.LIST, None, None, 200, AFTER, 1, 2)
OVERWRITTEN = operation(history.SET, 'a', {'a': 'B'}, 200, {'a': 'B'}, 3, 4)


class OutcomeTestCase(testtools.TestCase):

    def test_right(self):
        for one in (
                outcome(200, AFTER), outcome(500, AFTER),
                outcome(500, BEFORE), outcome(409, BEFORE),
                outcome(None, AFTER, silenced=True),
                outcome(500, {**BEFORE, 'a': 'B'}, SEEN, OVERWRITTEN),
                outcome(500, BEFORE, request=(history.LIST, None, None))):
            self.assertEqual('', one.wrong, one)

    def test_wrong(self):
        for words, one in (
                ('No order', outcome(200, BEFORE)),
                ('No order', outcome(409, AFTER)),
                ('No order', outcome(404, AFTER, request=(
                    history.DELETE, 'b', None))),
                ('No order', outcome(500, AFTER, SEEN, OVERWRITTEN)),
                ('not answered', outcome(None, AFTER)),
                ('not answered', outcome(
                    200, AFTER, OVERWRITTEN._replace(status=500))),
                ('Written 2 times', outcome(200, AFTER, writes=2)),
                ('duplicate', outcome(200, AFTER)._replace(
                    final=[*AFTER.items(), ('a', 'A')]))):
            self.assertIn(words, one.wrong, one)

    def test_is_done(self):
        self.assertTrue(outcome(500, AFTER).is_done)
        self.assertFalse(outcome(500, BEFORE).is_done)
        self.assertTrue(outcome(500, {**BEFORE, 'a': 'B'}, SEEN).is_done)
        delete = (history.DELETE, 'a', None)
        self.assertTrue(outcome(500, {'b': '0'}, request=delete).is_done)
        self.assertFalse(outcome(500, BEFORE, request=delete).is_done)
        self.assertFalse(outcome(
            200, BEFORE, request=(history.SHOW, 'x', None)).is_done)


class PageTestCase(testtools.TestCase):

    found = [outcome(200, AFTER), outcome(500, BEFORE, point=(3, 'after')),
             outcome(200, BEFORE, observer='overwritten')]

    def test_count(self):
        self.assertEqual(
            '3 failures at 2 points, 200: 2, 500: 1, 1 done, 1 wrong',
            str(failures.Count.of(self.found)))

    def test_further_step(self):
        found = [outcome(500, BEFORE, observer=observer, point=(
            number, 'before'), step=step) for observer, steps in (
                ('alone', ('COMMIT', 'COMMIT')),
                ('overwritten', ('SHOW VARIABLES', 'COMMIT', 'COMMIT')))
            for number, step in enumerate(steps)]
        self.assertEqual(
            [('COMMIT', 2), ('COMMIT', 2), ('SHOW VARIABLES', 1)],
            [(step, len(there)) for (_, step, _), there
             in failures.by_point(found).items()])

    def test_page(self):
        page = failures.page({('sqlite', 'metadata', 'set',
                               'connection lost'): self.found}, ['sqlite'], 1)
        self.assertIn('Points of failure: sqlite\n====', page)
        self.assertIn('   * - before COMMIT\n     - 200, done\n'
                      '     - 200, WRONG\n   * - after COMMIT\n     - 500\n'
                      '     -\n', page)
