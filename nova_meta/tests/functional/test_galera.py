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

"""A Galera cluster that is written through all its nodes."""

import contextlib
import datetime
import functools
import itertools
import random
from unittest import mock

import sqlalchemy as sa

from nova_meta.db import api as db_api
from nova_meta.db import galera as db_galera
from nova_meta.db import swap
from nova_meta import delta
from nova_meta import etag
from nova_meta import exception
from nova_meta.race import history
from nova_meta.race import order
from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta.tests.functional import mutants
from nova_meta.tests.functional import test_faults
from nova_meta.tests.functional import test_flavors
from nova_meta.tests.functional import test_lost
from nova_meta.tests.functional import test_objects
from nova_meta.tests.functional import test_orders
from nova_meta.tests.functional import test_rows
from nova_meta.tests.functional import test_status
from nova_meta.tests.functional import test_workloads
from nova_meta_lab import calls
from nova_meta_lab import faults
from nova_meta_lab import galera
from nova_meta_lab import host


def operation(call, pairs, answer, begun):
    """Return an acknowledged operation that takes one second."""
    return history.Operation(call=call, key=None, pairs=pairs, status=200,
                             answer=answer, begun=begun, ended=begun + 1)


@functools.cache
def shared_cluster(kind):
    """Return the cluster of the test cases that do no harm to it."""
    return kind().__enter__()


class GaleraTestCase(base.DatabaseTestCase):
    """Has a cluster, of its own if it makes servers of its own."""

    kind = galera.Cluster

    @classmethod
    def database_url(cls):
        def shared():
            return contextlib.nullcontext(shared_cluster(cls.kind))

        cls.cluster = cls.start(cls.kind if cls.servers_made else shared)
        return cls.cluster.url


class LaggingNodeTests:
    """Node 1 does not know yet what node 0 has acknowledged.

    Each is also seen to fail if nodes are trusted to know everything, which
    is what a single server does.
    """

    servers_made = 20

    def behind(self, before, acknowledged, then, **kwargs):
        """Let something happen on node 1 that is behind.

        :param before: the metadata, known to both
        :param acknowledged: a Delta, known to node 0
        :param then: a Delta of a request to node 1
        :param kwargs: its check, its condition
        :returns: what the request returned or raised, and the metadata in the
            end
        """
        self.change(delta.replace(before))
        self.cluster.wait_until_applied()
        with self.cluster.lagging(self.cluster.nodes[1]):
            self.change(acknowledged)
            running = self.in_thread(self.change, then,
                                     context=self.context(node=1), **kwargs)
            if self.trusted:
                running.wait()
            else:
                self.assertTrue(running.waits, 'it does not wait')
        try:
            outcome = running.result()
        except Exception as exc:
            outcome = exc
        self.cluster.wait_until_applied()
        return outcome, dict(self.rows())

    trusted = False

    @contextlib.contextmanager
    def trusting(self):
        """Trust a node to know everything, as a single server does."""
        self.trusted = True
        with mock.patch.object(db_galera, 'may_lag', return_value=False):
            yield
        self.trusted = False

    def set_what_it_shows(self):
        return self.behind({'k': '1'}, delta.merge({'k': '2'}),
                           delta.merge({'k': '1'}))

    def test_value_that_it_still_shows(self):
        _, left = self.set_what_it_shows()
        self.assertEqual({'k': '1'}, left)

    def test_value_that_it_still_shows_is_lost_if_trusted(self):
        with self.trusting():
            _, left = self.set_what_it_shows()
        self.assertEqual({'k': '2'}, left)

    def delete_what_it_does_not_show(self):
        def check(server, before, after):
            if 'k' not in before:
                raise exception.MetadataItemNotFound()

        return self.behind({}, delta.merge({'k': '1'}), delta.remove('k'),
                           check=check)

    def test_key_that_it_does_not_show_yet(self):
        outcome, left = self.delete_what_it_does_not_show()
        self.assertEqual({'k': '1'}, outcome.before)
        self.assertEqual({}, left)

    def test_key_that_it_does_not_show_yet_is_404_if_trusted(self):
        with self.trusting():
            outcome, left = self.delete_what_it_does_not_show()
        self.assertIsInstance(outcome, exception.MetadataItemNotFound)
        self.assertEqual({'k': '1'}, left)

    def replace_if(self, current_tag):
        """Replace through node 1 on the condition of a tag.

        :param current_tag: whether it is that of what node 0 has acknowledged,
            or of what node 1 still shows
        """
        tag = etag.of_map({'k': '2' if current_tag else '1'})
        return self.behind(
            {'k': '1'}, delta.merge({'k': '2'}), delta.replace({'k': '3'}),
            condition=etag.Condition.of(etag.of_map, f'"{tag}"', None))

    def test_condition_that_it_refuses(self):
        _, left = self.replace_if(current_tag=True)
        self.assertEqual({'k': '3'}, left)

    def test_condition_that_it_refuses_is_412_if_trusted(self):
        with self.trusting():
            outcome, left = self.replace_if(current_tag=True)
        self.assertIsInstance(outcome, exception.PreconditionFailed)
        self.assertEqual({'k': '2'}, left)

    def test_condition_that_it_satisfies(self):
        # What is to be written is certified.
        outcome, left = self.replace_if(current_tag=False)
        self.assertIsInstance(outcome, exception.PreconditionFailed)
        self.assertEqual({'k': '2'}, left)

    def test_does_not_try_in_vain(self):
        # Until node 1 has caught up, all that it writes fails at COMMIT.
        tries = []

        def check(server, before, after):
            tries.append(before)

        self.behind({'k': '1'}, delta.merge({'k': '2'}),
                    delta.merge({'other': '1'}), check=check)
        self.assertEqual([{'k': '1'}, {'k': '2'}], tries)

    def replace_by_c(self):
        """Replace the map through node 1, which knows of no b."""
        _, left = self.behind({'a': '1'}, delta.merge({'b': '2'}),
                              delta.replace({'c': '3'}))
        return order.exists({'a': '1'}, [
            operation(history.MERGE, {'b': '2'}, {'a': '1', 'b': '2'}, 0),
            operation(history.REPLACE, {'c': '3'}, {'c': '3'}, 2)], left)

    def test_replace_of_what_it_does_not_know(self):
        self.assertTrue(self.replace_by_c())

    def test_read_may_be_behind(self):
        self.update({'k': '1'})
        self.cluster.wait_until_applied()
        with self.cluster.lagging(self.cluster.nodes[1]):
            self.update({'k': '2'})
            self.assertEqual({'k': '1'}, db_api.instance_metadata_get(
                self.context(node=1), self.server))


class LaggingNodeTestCase(LaggingNodeTests, test_workloads.Play,
                          test_status.StatusTests, GaleraTestCase):

    processes = 1
    # For nova-api; here it would hide what is tested.
    nova_options = {'database': {'mysql_wsrep_sync_wait': 1}}

    def test_lock_alone_loses(self):
        # A node does not see the locks of another one. What differs between
        # the rows of the two requests collides with nothing.
        with mock.patch.object(swap, '_compare_and_swap'):
            self.assertFalse(self.replace_by_c())

    def test_read_that_waits(self):
        # What mysql_wsrep_sync_wait does to each connection.
        self.update({'k': '1'})
        waiting = self.context({
            'init_command': 'SET SESSION wsrep_sync_wait = 1'}, node=1)
        with self.cluster.lagging(self.cluster.nodes[1]):
            self.update({'k': '2'})
            running = self.in_thread(db_api.instance_metadata_get, waiting,
                                     self.server)
            self.assertTrue(running.waits)
        self.assertEqual({'k': '2'}, running.result())

    def test_status(self):
        _status, found = self.run_command(node=1)
        self.assertEqual(0, found['Databases'][0])
        self.assertIn('cell1): Galera, and reads wait', found['Galera'][1])

    def test_reads_that_wait_are_linearizable(self):
        self.serve(host.OURS)
        one = workload.named('mixed')
        result = self.play(one, 8, 20 * test_faults.ROUNDS)
        self.assertNothingWrong(result, one.name)


class GaleraWorkloadsTestCase(test_workloads.WorkloadTests, GaleraTestCase):
    """Clients of three nova-api, each of which has a node of its own."""

    workloads = workload.WITHOUT_READS
    processes = 1

    def setUp(self):
        super().setUp()
        self.addCleanup(self.check_nodes)

    def check_nodes(self):
        """See that all nodes have the same rows."""
        found = [self.rows(node=node)
                 for node in range(len(self.cluster.nodes))]
        self.assertEqual([found[0]] * len(found), found)


class GaleraVersionTestCase(test_rows.NeverUpdatedTests, GaleraTestCase):
    """The updated_at of a server has to differ, or nodes do not collide."""

    def test_differs_and_stays_with_the_clock(self):
        self.freeze()
        seen = [self.version()]
        for n in range(4):
            self.update({'a': str(n)})
            seen.append(self.version())
            self.assertNotEqual(seen[-2], seen[-1])
            self.assertLessEqual(abs(seen[-1] - self.NOW),
                                 datetime.timedelta(seconds=1))

    def test_clock_that_is_behind(self):
        self.freeze()
        self.set_version(self.NOW + datetime.timedelta(minutes=5))
        self.update({'a': '1'})
        self.assertEqual(self.NOW.replace(microsecond=0), self.version())

    def test_stale_version_of_the_same_second(self):
        self.freeze()
        self.update({'a': '1'})
        stale = self.version()
        self.update({'a': '2'})
        with self.host.database.begin() as connection:
            self.assertRaises(
                swap.VersionMismatch, swap._compare_and_swap, connection,
                db_api.INSTANCE_METADATA, self.server, stale)


class GaleraLostTestCase(test_lost.EachStepTests, test_lost.ObservedTests,
                         GaleraTestCase):
    """A node is lost to a client, and others write through another one."""

    processes = 1


@base.periodic_class
class GaleraSaverTestCase(test_objects.SaverWorkloadTests,
                          test_objects.ObjectTestCase, GaleraTestCase):
    """Services save a server through one node after the other."""

    def setUp(self):
        self._nodes = itertools.cycle(range(len(self.cluster.nodes)))
        super().setUp()

    def context(self, *args, **kwargs):
        return super().context(*args, **{'node': next(self._nodes), **kwargs})


@base.periodic_class
class GaleraFlavorTestCase(test_flavors.WorkloadTests,
                           test_flavors.FlavorTestCase, GaleraTestCase):
    """Clients change extra specs through one node after the other."""

    processes = 1
    # Reads may be behind.
    workloads = [one for one in workload.EXTRA_SPECS if one.name != 'mixed']

    def new_flavor(self, **specs):
        super().new_flavor(**specs)
        # All nodes have to know it before anybody asks them for it.
        for database in self.host.engines['api']:
            with database.connect() as connection:
                connection.execute(sa.text('SELECT 1'))


@base.periodic_class
class GaleraOrdersTestCase(test_orders.OrdersTests, GaleraTestCase):

    def test_outcomes_of_all_orders(self):
        # All, or some by chance, lead nowhere else than those that are played.
        for pair in [calls.LIST, calls.MERGE], [calls.MERGE, calls.MERGE]:
            with self.playing() as played:
                found = {one.outcome for one in played.all_of(pair)}
                some = {one.outcome for one in played.some_of(
                    pair, 40, random.Random(1650188))}
            self.assertLessEqual(some, found)

    def test_lock_alone(self):
        # They write different rows. An INSERT would collide with the lock of
        # the other node, for the foreign key.
        with self.playing(mutants.path_of(mutants.lock_alone)) as played:
            wrong = [str(one) for one in played.all_of([calls.MERGE_ONE] * 2)
                     if not one.is_explained]
        self.assertIn("merge {'b': 'B'}: 200 {'a': '0', 'b': 'B'}", wrong[0])


@base.periodic_class
class GaleraFaultTestCase(test_faults.Faults, GaleraTestCase):
    """Nodes that come to harm while clients are at work."""

    processes = 1

    def harm(self, function):
        """Do something to a node after the other, while clients are at work.

        :param function: called with a Node
        """
        def harm(n):
            function(self.cluster.nodes[n % len(self.cluster.nodes)])
            self.cluster.wait_until_whole()

        self.during_load(harm)

    def test_killed(self):
        self.harm(lambda node: faults.kill(node, 3))

    def test_frozen(self):
        self.harm(faults.freeze)

    def test_cut_off(self):
        self.harm(faults.cut_off)

    def test_failover(self):
        # Through an address that leads to another node afterwards.
        dying, other = self.cluster.nodes[:2]
        address = galera.VirtualAddress(dying.port)
        address.__enter__()
        self.addCleanup(address.close)
        context = self.context(port=address.port)
        self.update({'a': '1'}, context=context)
        tries = []

        def check(server, before, after):
            tries.append(before)
            if len(tries) == 1:
                dying.kill()
                address.leads_to = other.port

        # Before COMMIT it is known that nothing was changed.
        self.change(delta.merge({'b': '2'}), check, context=context)
        self.assertEqual([{'a': '1'}] * 2, tries)
        dying.start()
        self.cluster.wait_until_whole()
        for node in range(len(self.cluster.nodes)):
            self.host.databases[node].dispose()
            self.assertEqual([('a', '1'), ('b', '2')], self.rows(node=node))
