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

"""What the command line of nova-meta-race means."""

import argparse
import collections
import contextlib
import io
from unittest import mock

import fixtures
import openstack.config
from rich import console
import testtools

from nova_meta.cmd import race
from nova_meta.race import cloud
from nova_meta.race import judge


class RaceTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        # As on a machine that knows no cloud.
        home = self.useFixture(fixtures.TempHomeDir())
        for variable, value in (('OS_CLOUD', None), ('OS_AUTH_TYPE', None),
                                ('XDG_CONFIG_HOME', home.path),
                                ('OS_CLIENT_CONFIG_FILE', None)):
            self.useFixture(fixtures.EnvironmentVariable(variable, value))
        self.patch(openstack.config.loader, 'CONFIG_FILES', [])

    def names(self, *argv):
        options = race.parse(argv, openstack.config.OpenStackConfig())
        return {one.name for one in race.chosen(options)}

    def test_workloads(self):
        everything = self.names()
        shared = self.names('--server', 'one')
        self.assertEqual({'replace', 'quota', 'mixed writes'},
                         everything - shared)
        self.assertEqual({'merge', 'set', 'delete and merge', 'same key',
                          'delete same key'}, shared)
        self.assertEqual({'set'}, self.names('--server', 'one',
                                             '--workload', 'set'))
        self.assertEqual({'quota'}, self.names('--workload', 'quota'))

    def verdict(self, acknowledged=1, lost=(), **faults):
        """Return the exit status for a result.

        :param faults: with underscores for spaces
        """
        result = judge.Result(acknowledged, faults=collections.Counter({
            name.replace('_', ' '): count for name, count in faults.items()}))
        return race.verdict(
            race.Found({'merge': result}, {}, cloud.Others(list(lost), [])),
            console.Console(quiet=True))

    def test_verdict(self):
        self.assertEqual(0, self.verdict(lost_updates=0))
        self.assertEqual(1, self.verdict(lost_updates=1))
        self.assertEqual(1, self.verdict(lost=['theirs']))
        self.assertEqual(1, self.verdict(lost_updates=1, undecided_rounds=1))
        # Lost, by those whose requests nobody acknowledged.
        self.assertEqual(1, self.verdict(acknowledged=0, lost=['theirs']))

    def test_no_verdict(self):
        # Nothing but errors proves nothing.
        for result in ({'acknowledged': 0}, {'undecided_rounds': 1}):
            self.assertRaises(cloud.CloudError, self.verdict, **result)

    def test_worst_round_is_kept(self):
        class Player:
            played = None

            def __init__(self, metadata):
                self._lost = iter((1, 3, 2))

            def play(self, one, writers):
                self.verdict = judge.Result(faults=collections.Counter(
                    {'lost updates': next(self._lost)}))
                return self.verdict

        self.patch(race.workload, 'Player', Player)
        found = race.Found({}, {}, cloud.Others([], []))
        race.play(None, race.WORKLOADS[:1],
                  argparse.Namespace(rounds=3, writers=2), found,
                  lambda *args: None)
        kept, = found.rounds.values()
        self.assertIn('round 2 of 3', kept.title)
        self.assertEqual({'lost updates': 3}, kept.verdict.faults)

    def test_bug(self):
        # Not the exit status that says that something was lost.
        with mock.patch.object(race, 'race', side_effect=KeyError('a bug')):
            status, said = self.refused('--os-auth-type', 'none',
                                        '--os-endpoint', 'http://127.0.0.1:9')
        self.assertEqual(2, status)
        self.assertIn('a bug', said)

    def test_files_that_cannot_be_written(self):
        for option in ('--json', '--plot'):
            status, said = self.refused(
                '--os-auth-type', 'none', '--os-endpoint',
                'http://127.0.0.1:9', option, '/nowhere/file')
            self.assertEqual(2, status)
            self.assertIn('/nowhere/file', said)

    def refused(self, *argv):
        """Run the command; return its exit status and what it says."""
        with contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                status = race.main(argv)
            except SystemExit as exc:
                status = exc.code
        return status, err.getvalue()

    def test_refused(self):
        for argv, says in (
                (['--server', 'one', '--workload', 'replace'],
                 'keeps what it has'),
                (['--server', 'one', '--image', 'two'],
                 'either named or made'),
                (['--rounds', '0'], 'positive'),
                (['--writers', '1001'], 'no more than 1000'),
                (['--os-cloud', 'nowhere'], 'nowhere'),
                (['--os-auth-type', 'none', '--os-endpoint',
                  'http://127.0.0.1:9'], '127.0.0.1')):
            status, said = self.refused(*argv)
            self.assertEqual(2, status, argv)
            self.assertIn(says, said)
