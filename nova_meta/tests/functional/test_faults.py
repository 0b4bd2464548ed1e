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

"""Servers that come to harm while clients are at work.

What was acknowledged has to be there in the end, and nothing else.
"""

import os

from testtools import content

from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import faults
from nova_meta_lab import host
from nova_meta_lab import load
from nova_meta_lab import losing
from nova_meta_lab import target

ROUNDS = int(os.environ.get('NOVA_META_TEST_ROUNDS', 1))


class Faults:
    """What a test case needs to let servers come to harm."""

    servers_made = 4
    nova_options = {'quota': {'metadata_items': -1}}
    app_factory = host.OURS
    # What each client does, and how much they do in each round and afterwards.
    actors = [load.write] * 12 + [load.observe] * 4
    acknowledged = 50

    def during_load(self, harm):
        """Let something happen while clients are at work.

        :param harm: called with the number of the round
        """
        self.serve(self.app_factory)
        with load.Load(load.clients_of(
                self.host, target.MetadataClient, self.server,
                *self.actors)) as clients:
            for n in range(ROUNDS):
                clients.go_on(self.acknowledged)
                harm(n)
            clients.go_on(self.acknowledged)
        answers = f'{dict(clients.statuses)}, slowest {clients.longest:.1f} s'
        self.addDetail('answers', content.text_content(answers))
        for node, engine in enumerate(self.host.databases):
            engine.dispose()
            rows = self.rows(node=node)
            self.assertEqual(len(dict(rows)), len(rows))
            self.assertEqual('', clients.contradiction(dict(rows)), answers)
        # 500 or none: the connection was lost. 404: a key that was not set
        # therefore, or whose delete was answered 500. 409: the node took
        # longer to come back than a request is tried again. 412: somebody
        # else has overwritten it.
        self.assertLessEqual(set(clients.statuses),
                             {200, 204, 404, 409, 412, 500, None}, answers)


class KilledTests(base.WithKilledServer, Faults):

    def test_killed(self):
        self.during_load(lambda n: faults.kill(self.killed))


class KilledMariaDBTestCase(KilledTests, base.DatabaseTestCase):
    database = base.MARIADB


class KilledPostgreSQLTestCase(KilledTests, base.DatabaseTestCase):
    database = base.POSTGRESQL


class KilledSQLiteTestCase(Faults, base.DatabaseTestCase):
    database = base.SQLITE

    def test_killed(self):
        # Who has the file open is killed: nova-api.
        self.during_load(lambda n: self.host.serve(host.OURS))


class LostAnswersTests(Faults):
    """One COMMIT in five has no answer, and others see what it has done."""

    app_factory = mutants.path_of(losing.often_factory)
    actors = [load.write] * 4 + [load.observe] * 12
    acknowledged = 250

    def test_answers_lost(self):
        self.during_load(lambda n: None)


@base.periodic_class
class LostAnswersSQLiteTestCase(LostAnswersTests, base.DatabaseTestCase):
    database = base.SQLITE


@base.periodic_class
class LostAnswersMariaDBTestCase(LostAnswersTests, base.DatabaseTestCase):
    database = base.MARIADB


class LostAnswersPostgreSQLTestCase(LostAnswersTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
