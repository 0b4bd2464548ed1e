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

"""How fast nova-meta is, as ratios to stock Nova in the same run.

With the metadata of servers, or the extra specs of a flavor. And, if asked
for, as ratios to another version of nova-meta.

All serve at the same time, each with databases of its own on one server, and
take turns. With them runs the bare driver, which only commits the rows that
the requests leave behind.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import itertools
import json
import statistics
import subprocess
import sys
import time

from nova.db.api import models as api_models
from rich import console
from rich import table
import sqlalchemy as sa

from nova_meta.race import client
from nova_meta_lab import host as private
from nova_meta_lab import series
from nova_meta_lab import servers
from nova_meta_lab import target as targets

STOCK, OURS, OTHER, SERIES, DRIVER = (
    'stock', 'nova-meta', 'other', 'series', 'bare driver')

# Keys that the map grows to in the contended runs.
KEYS = 512
SERVERS = 100
# What the quota allows is found in several ways: the option, and the limit of
# the project.
QUOTAS = {'option': (2 * KEYS, None), 'unlimited': (-1, None),
          'project': (4 * KEYS, 2 * KEYS)}

TEN = [f'key {n}' for n in range(10)]

# One request at a time: what is sent, by the number of the request.
CALLS = {
    'GET': lambda one, n: one.list(),
    'POST': lambda one, n: one.merge({TEN[n % 10]: str(n)}),
    'PUT item': lambda one, n: one.set(TEN[n % 10], str(n)),
    'PUT': lambda one, n: one.replace({
        **dict.fromkeys(TEN, str(n)), f'removed {n}': 'next time'}),
    'DELETE': lambda one, n: one.delete(f'key {n}'),
}


class Bench:
    """Novas and the means to measure them.

    :param hosts: {contestant: :class:`nova_meta_lab.host.Host`}
    :param key: which of :data:`nova_meta_lab.target.TARGETS` is written
    :param processes: worker processes of each nova-api
    :param nova: the path of a tree of Nova with the series, if that is one of
        the contestants
    """

    def __init__(self, hosts, key, processes, out, nova=None):
        self.hosts = hosts
        self.nova = nova
        self.key = key
        self.target = targets.TARGETS[key]
        self.processes = processes
        self.out = out
        self._turn = itertools.count()

    def serve(self, quota):
        """Serve all of them, with one of QUOTAS."""
        option, project = QUOTAS[quota]
        for name, host in self.hosts.items():
            with self.next_of(host.engines['api']).begin() as connection:
                limits = api_models.Quota.__table__
                connection.execute(sa.delete(limits))
                if project:
                    connection.execute(sa.insert(limits).values(
                        project_id=client.PROJECT, resource='metadata_items',
                        hard_limit=project))
            host.configure({'quota': {'metadata_items': option}})
            host.serve(private.STOCK if name in (STOCK, SERIES)
                       else private.NOVA_META, self.processes,
                       nova=self.nova if name == SERIES else None)

    def client(self, name, owner=0):
        host = self.hosts[name]
        return self.target.client(self.next_of(host.urls),
                                  host.names(self.target)[owner])

    def begin(self, name):
        """Begin a transaction of the database that is written."""
        return self.next_of(
            self.hosts[name].engines[self.target.database]).begin()

    def next_of(self, nodes):
        """Take one node after the other, if there are several."""
        return nodes[next(self._turn) % len(nodes)]

    def clear(self, name):
        """Remove all that was written."""
        with self.begin(name) as connection:
            self.target.clear(connection)

    def latencies(self, turns, requests, calls=tuple(CALLS)):
        """Measure single requests, one after the other.

        :returns: {call: {contestant: median latency in ms}}
        """
        medians = {}
        for call in calls:
            if call == 'PUT' and not hasattr(self.target.client, 'replace'):
                continue
            send = CALLS[call]
            seen = {name: [] for name in self.hosts}
            for name in self.hosts:
                self.clear(name)
                self.acknowledged(name, self.client(name).merge({
                    f'key {n}': 'old' for n in range(turns * requests)}))
            for turn, name in itertools.product(range(turns), self.hosts):
                one = self.client(name)
                for n in range(turn * requests, (turn + 1) * requests):
                    done = self.acknowledged(name, send(one, n))
                    seen[name].append(1000 * (done.ended - done.begun))
            medians[call] = {name: round(statistics.median(values), 2)
                             for name, values in seen.items()}
            self.out.print(f'{call}: {medians[call]}')
        return medians

    @staticmethod
    def acknowledged(name, done):
        """Return what was done; an error if it was refused."""
        if not done.acknowledged:
            raise private.HostError(f'{name}: {done}')
        return done

    def rates(self, writers, owners, turns):
        """Measure many writers that each add keys of their own.

        :returns: {contestant: {"acknowledged" and "kept": a second}}
        """
        totals = {name: {'acknowledged': 0, 'kept': 0, 'seconds': 0}
                  for name in (*self.hosts, DRIVER)}
        for _ in range(turns):
            for name, total in totals.items():
                storer = OURS if name == DRIVER else name
                self.clear(storer)
                add = (self.insert if name == DRIVER
                       else lambda owner, key, one=name: self.client(
                           one, owner).merge({key: 'v'}).acknowledged)
                begun = time.monotonic()
                total['acknowledged'] += self.add_keys(add, writers, owners)
                total['seconds'] += time.monotonic() - begun
                total['kept'] += self.count(storer)
        rates = {name: {what: round(total[what] / total['seconds'], 1)
                        for what in ('acknowledged', 'kept')}
                 for name, total in totals.items()}
        self.out.print(f'{writers} writers, {owners} maps: {rates}')
        return rates

    @staticmethod
    def add_keys(add, writers, owners):
        """Call add(owner, key) for KEYS keys; return how many it granted."""
        def writer(me):
            return sum(add(n % owners, f'{me}.{n}')
                       for n in range(me, KEYS, writers))

        with concurrent.futures.ThreadPoolExecutor(writers) as pool:
            return sum(pool.map(writer, range(writers)))

    def insert(self, owner, key):
        """Add a key with nothing but the driver; True if it was committed."""
        name = self.hosts[OURS].names(self.target)[owner]
        now = datetime.datetime.now().replace(microsecond=0)
        with contextlib.suppress(sa.exc.OperationalError):
            with self.begin(OURS) as connection:
                self.target.touch(connection, name, now)
                self.target.insert(connection, name, [(key, 'v')])
            return True
        return False

    def count(self, name):
        with self.begin(name) as connection:
            return self.target.count(connection)

    def costs(self):
        """Count what is spent in nova-api.

        :returns: {contestant: as :mod:`nova_meta_lab.costs` prints it}
        """
        return {name: self.costs_of(host) for name, host in self.hosts.items()}

    def costs_of(self, host):
        done = subprocess.run(
            [sys.executable, '-m', 'nova_meta_lab.costs'],
            input=json.dumps({
                'target': self.key,
                'name': host.names(self.target)[-1],
                'database': host.url(self.target.database)}), text=True,
            env=host.environment(), cwd=host.path, capture_output=True)
        if done.returncode:
            raise private.HostError(done.stderr)
        return json.loads(done.stdout)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='bench', description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--database', metavar='URL',
                        help='of a server, as for nova-meta-demo; those of '
                             'the nodes of a cluster, with spaces between')
    parser.add_argument('--target', choices=sorted(targets.TARGETS),
                        default='metadata', help='what is written')
    parser.add_argument('--against', metavar='TREE',
                        help='a source tree with another version of '
                             'nova-meta, to hold against this one')
    parser.add_argument('--series', metavar='TREE',
                        help='a source tree of Nova with the series, as for '
                             'nova-meta-demo')
    parser.add_argument('--only', choices=('single', 'many'),
                        help='measure single requests, or many writers, only')
    parser.add_argument('--turns', type=int, default=4,
                        help='how often the contestants alternate')
    parser.add_argument('--requests', type=int, default=25,
                        help='single requests in a turn')
    parser.add_argument('--processes', type=int, default=2,
                        help='worker processes of each nova-api')
    parser.add_argument('--json', metavar='FILE', default='bench.json')
    return parser.parse_args(argv)


def main(argv=None):
    options = parse(argv)
    servers.end_on_sigterm()
    trees = {STOCK: None, OURS: None}
    if options.against:
        trees[OTHER] = options.against
    if options.series:
        trees[SERIES] = None
    figures = {'target': options.target}
    with contextlib.ExitStack() as stack:
        hosts = {name: stack.enter_context(private.Host(
            options.database, SERVERS, tree=tree))
            for name, tree in trees.items()}
        figures['database'] = hosts[STOCK].database.dialect.name
        bench = Bench(hosts, options.target, options.processes,
                      console.Console(),
                      options.series and series.checked(options.series))
        if options.only != 'many':
            measure_single(bench, options, figures)
        if options.only != 'single':
            measure_many(bench, options, figures)
    with open(options.json, 'w') as target:
        json.dump(figures, target, indent=2)
    show(figures, bench.out)


def measure_single(bench, options, figures):
    latencies = figures['latency ms'] = {}
    for quota in reversed(QUOTAS):
        if quota != 'option' and bench.target is not targets.METADATA:
            # Extra specs have no quota.
            continue
        bench.serve(quota)
        for call, medians in bench.latencies(
                options.turns, options.requests,
                CALLS if quota == 'option' else ('POST', 'PUT item')).items():
            latencies[call if quota == 'option' else f'{call}, {quota}'] = (
                medians)
    figures['costs'] = bench.costs()


def measure_many(bench, options, figures):
    bench.serve('option')
    rates = figures['rates'] = {}
    for writers, owners in (1, 1), (16, 1), (64, 1), (16, SERVERS):
        # There is one flavor.
        if owners <= len(bench.hosts[STOCK].names(bench.target)):
            rates[f'{writers} writers, {owners} maps'] = bench.rates(
                writers, owners, max(1, options.turns // 2))


class View(table.Table):
    """A table of contestants, with ratios of nova-meta to each other."""

    def __init__(self, title, contestants):
        super().__init__(title=title, title_justify='left')
        self._others = [name for name in contestants
                        if name not in (OURS, DRIVER)]
        for column in ('', *contestants, *(
                f'{OURS} : {name}' for name in self._others)):
            self.add_column(column,
                            justify='right' if self.columns else 'left')

    def add(self, what, numbers, shown=str, ratio=None):
        """Add a row.

        :param numbers: {contestant: a number}
        :param shown: how a number is written
        :param ratio: of ours and another number, if not the quotient
        """
        ratio = ratio or (lambda ours, other: ours / other)
        self.add_row(what, *map(shown, numbers.values()), *(
            f'{ratio(numbers[OURS], numbers[name]):.2f}'
            for name in self._others))


def show(figures, out):
    where = f'{figures["target"]}, {figures["database"]}'
    if 'costs' in figures:
        show_single(figures['latency ms'], figures['costs'], where, out)
    if 'rates' in figures:
        rates = figures['rates']
        view = View(f'Keys added a second, acknowledged (kept): {where}. '
                    'Ratio: kept to acknowledged',
                    next(iter(rates.values())))
        for case, rate in rates.items():
            view.add(case, rate,
                     lambda one: f'{one["acknowledged"]} ({one["kept"]})',
                     lambda ours, other: ours['kept'] / other['acknowledged'])
        out.print(view)


def show_single(latencies, costs, where, out):
    view = View(f'One request at a time: {where}', costs)
    for call, medians in latencies.items():
        view.add(f'{call}, median ms', medians)
    view.add('POST : GET', {
        name: latencies['POST'][name] / latencies['GET'][name]
        for name in costs}, '{:.2f}'.format)
    view.add_section()
    for call in costs[OURS]['calls']:
        counts = {name: cost['calls'][call] for name, cost in costs.items()}
        view.add(f'{call}, SQL statements (commits)', counts,
                 lambda one: f'{one["statements"]} ({one["commits"]})',
                 lambda ours, other: ours['statements'] / other['statements'])
    view.add_section()
    sizes = list(costs[OURS]['cpu'])
    for size in sizes:
        view.add(f'POST of one key of {size}, CPU ms', {
            name: cost['cpu'][size] for name, cost in costs.items()})
    for size in sizes[1:]:
        view.add(f'CPU, {size} keys : {sizes[0]} keys', {
            name: cost['cpu'][size] / cost['cpu'][sizes[0]]
            for name, cost in costs.items()}, '{:.2f}'.format)
    out.print(view)


if __name__ == '__main__':
    main()
