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

"""nova-meta-race, against private Novas that lose updates and that do not."""

import argparse
import contextlib
import io
import itertools
import json
import os
import pathlib
import signal
import threading
from unittest import mock
from xml.etree import ElementTree

import fixtures
import openstack
import sqlalchemy as sa

from nova_meta.cmd import race
from nova_meta.race import cloud
from nova_meta.race import judge
from nova_meta.race import plot
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta_lab import host
from nova_meta_lab import services

# Stock loses in the first round, nearly always.
MOST_RUNS = 5
# One has the name of an argument of the SDK's functions.
THEIRS = [('server', 'old'), ('theirs too', 'old')]


class RaceTestCase(base.WithServices, base.DatabaseTestCase):

    servers_made = 20

    def setUp(self):
        super().setUp()
        self.be('user')
        # There is one database, and little else to wait for.
        self.patch(cloud, 'LAG', 0)
        self.patch(cloud, 'PAUSES', (0, .1))
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        handler = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, handler)
        self.add_rows(*THEIRS)

    def serve(self, app_factory):
        super().serve(app_factory)
        self.services.nova = self.url

    def be(self, user, **kwargs):
        """Act as a user; see :meth:`services.Services.environment`."""
        for name, value in {'OS_CLOUD': None, **self.services.environment(
                user, **kwargs)}.items():
            self.useFixture(fixtures.EnvironmentVariable(name, value))

    def race(self, *argv):
        """Run the command on the server.

        :returns: its exit status, and what it says
        """
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            with contextlib.redirect_stderr(said):
                status = race.main(['--server', self.server, '--rounds', '1',
                                    *argv])
        # The lines are those of a terminal.
        return status, ' '.join(said.getvalue().split())

    def assertRefused(self, says, *argv):
        before = self.rows()
        status, said = self.race(*argv)
        self.assertEqual(2, status, said)
        self.assertIn(says, said)
        self.assertEqual(before, self.rows())

    def change_server(self, **values):
        instances = sa.table('instances', *map(sa.column, ['uuid', *values]))
        with self.host.database.begin() as changing:
            changing.execute(sa.update(instances).where(
                instances.c.uuid == self.server).values(**values))

    @contextlib.contextmanager
    def watched(self, react=lambda keys: None):
        """Collect the keys that there are meanwhile.

        :param react: called with the own keys of a race, if there are any
        :returns: a context manager of a set
        """
        seen, ended = set(), threading.Event()

        def watch():
            while not ended.wait(.05):
                mine = {key for key, _ in self.rows()} - dict(THEIRS).keys()
                seen.update(mine)
                if mine:
                    react(mine)

        running = self.in_thread(watch)
        try:
            yield seen
        finally:
            ended.set()
            running.result()

    def test_stock_loses(self):
        self.serve(host.STOCK)
        figures, picture = self.path / 'json', self.path / 'svg'
        for _ in range(MOST_RUNS):
            status, said = self.race(
                '--workload', 'merge', '--json', str(figures),
                '--plot', str(picture))
            self.assertEqual(THEIRS, self.rows())
            if status == 1:
                break
        else:
            self.fail('stock Nova loses nothing')
        [result] = json.loads(figures.read_text())['results'].values()
        lost = result['total']['lost updates']
        self.assertGreater(lost, 0)
        self.assertIn(f'lost updates │ {lost} │', said)
        self.assertIn('Updates were lost', said)
        self.assertIn('16 writers, one server, 127.0.0.1', said)
        self.assertNotIn('duplicate rows', said)
        # Each of them is in the picture.
        fills = [bar.get('fill') for bar in
                 ElementTree.parse(picture).getroot().iter() if len(bar)]
        self.assertEqual(lost, fills.count(plot.KINDS['lost updates'][0]))

    def test_nothing_lost(self):
        self.serve(host.NOVA_META)
        with self.watched() as seen:
            status, said = self.race('--workload', 'delete and merge',
                                     '--workload', 'same key')
        self.assertEqual(0, status, said)
        self.assertIn('Nothing was lost', said)
        self.assertIn('lost updates │ 0 │', said)
        self.assertEqual(THEIRS, self.rows())
        self.assertGreater(len(seen), 0)
        self.assertEqual(
            [], [key for key in seen if not key.startswith(cloud.PREFIX)])
        self.assertEqual(1, len({key.split('.')[0] for key in seen}))

    def test_server_of_its_own(self):
        self.serve(host.NOVA_META)
        compute = openstack.connect().compute
        metadata = cloud.Metadata(compute, compute.get_server(self.server),
                                  workload.QUOTA, whole=True)
        results, panels, _ = found = race.Found({}, {}, None)
        race.play(metadata, race.WORKLOADS,
                  argparse.Namespace(writers=16, rounds=1), found,
                  lambda *args: None)
        total = sum(results.values(), judge.Result())
        self.assertEqual({}, dict(+total.faults))
        self.assertEqual({one.name for one in race.WORKLOADS}, set(panels))
        for name, result in results.items():
            self.assertGreater(result.acknowledged, 0, name)
            self.assertEqual(0, result.errors, (name, result.statuses))
        # Those that are refused for the quota are, so there was a full map.
        self.assertEqual({200: 8, 403: 8}, dict(results['quota'].statuses))

    def test_few_items_left(self):
        self.serve(host.NOVA_META)
        self.add_rows(*((f'more {n}', 'old') for n in range(118)))
        self.assertRefused('--writers 8')
        before = self.rows()
        status, said = self.race('--writers', '8', '--workload', 'merge',
                                 '--json', '-')
        self.assertEqual(0, status, said)
        # As many requests as there are items.
        self.assertIn('"200": 8', said)
        self.assertEqual(before, self.rows())

    def test_server_of_others(self):
        self.serve(host.NOVA_META)
        self.be('admin', project='c' * 32)
        self.assertRefused('is not of the project')
        # Nova does not let others look at it.
        self.be('user', project='c' * 32)
        self.assertRefused('No Server found')

    def test_server_that_takes_none(self):
        self.serve(host.NOVA_META)
        self.change_server(locked=True, locked_by='owner')
        self.assertRefused('is locked')
        self.change_server(locked=False, locked_by=None, vm_state='building')
        self.assertRefused('while it is in vm_state building')

    def test_keys_of_another_race(self):
        self.serve(host.NOVA_META)
        self.add_rows((f'{cloud.PREFIX}0000.1.0.0', 'new'))
        self.assertRefused(f'remove {cloud.PREFIX}0000.1.0.0')

    def test_terminated(self):
        self.serve(host.NOVA_META)
        killed = []

        def kill(keys):
            # That of a round, not the one that is tried out.
            if not killed and any('.1.' in key for key in keys):
                killed.append(True)
                os.kill(os.getpid(), signal.SIGTERM)

        with self.watched(kill) as seen:
            error = self.assertRaises(SystemExit, self.race)
        self.assertEqual(143, error.code)
        self.assertGreater(len(seen), 0)
        self.assertEqual(THEIRS, self.rows())

    def test_keys_of_others_are_put_back(self):
        self.serve(mutants.path_of(mutants.merges_replace))
        status, said = self.race('--workload', 'same key')
        self.assertEqual(1, status, said)
        self.assertIn('are put back: server, theirs too', said)
        self.assertIn('Keys of others were lost.', said)
        self.assertEqual(THEIRS, sorted(self.rows()))

    def test_keys_that_others_change_are_left(self):
        self.serve(host.NOVA_META)
        compute = openstack.connect().compute
        server = compute.get_server(self.server)
        metadata = cloud.Metadata(compute, server, workload.QUOTA)
        metadata.prepare({'key': 'old'})
        server.set_metadata(compute, {'server': 'new', 'more': 'new'})
        self.assertEqual(([], ['server']), metadata.restore())
        self.assertEqual({**dict(THEIRS), 'server': 'new', 'more': 'new'},
                         dict(self.rows()))

    def test_verdict_without_clean_up(self):
        self.serve(host.NOVA_META)
        self.patch(cloud.Metadata, 'restore', mock.Mock(
            side_effect=cloud.CloudError('the broken cloud')))
        status, said = self.race('--workload', 'same key')
        self.assertEqual(2, status, said)
        self.assertIn('lost updates │ 0 │', said)
        self.assertIn('this was there before: ' + json.dumps(dict(THEIRS)),
                      said)
        self.assertIn('the broken cloud', said)

    def test_restored_in_spite_of_hiccups(self):
        self.serve(host.NOVA_META)
        self.patch(cloud, 'PAUSES', (0,) * 10)
        compute = openstack.connect().compute
        metadata = cloud.Metadata(compute, compute.get_server(self.server),
                                  workload.QUOTA)
        metadata.prepare({'key': 'old'})
        compute, numbers = services.Handler.compute, itertools.count(1)
        self.patch(services.Handler, 'compute', lambda *args: (
            compute(*args) if next(numbers) % 3 else (503, {}, {})))
        self.assertEqual(([], []), metadata.restore())
        self.assertGreater(next(numbers), 6)
        self.assertEqual(THEIRS, self.rows())

    def test_prefix(self):
        self.serve(host.NOVA_META)
        compute = openstack.connect().compute
        mine = cloud.Client(compute, self.server, 'mine.')
        self.assertEqual({'a b': '1'}, mine.merge({'a b': '1'}).answer)
        self.assertEqual({'c': '2'}, mine.set('c', '2').answer)
        self.assertEqual({'a b': '1', 'c': '2'}, mine.list().answer)
        self.assertEqual({'c': '2'}, mine.show('c').answer)
        self.assertEqual(204, mine.delete('c').status)
        self.assertEqual(404, mine.delete('theirs').status)
        self.assertEqual(THEIRS + [('mine.a b', '1')], self.rows())

    def test_no_connection(self):
        self.serve(host.NOVA_META)
        self.services.nova = 'http://127.0.0.1:9'
        sent = cloud.Client(openstack.connect().compute, self.server,
                            'mine.').set('a', '1')
        self.assertIsNone(sent.status)
        self.assertTrue(sent.unknown)
