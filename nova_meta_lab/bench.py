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

With the metadata of servers, or the extra specs of a flavor.

Both serve at the same time, each with databases of its own on one server, and
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

from rich import console
from rich import table
import sqlalchemy as sa

from nova_meta_lab import host as private
from nova_meta_lab import target as targets

CONTESTANTS = {'stock': private.STOCK, 'nova-meta': private.NOVA_META}
DRIVER = 'driver'

# Keys that the map grows to in the contended runs.
KEYS = 512
SERVERS = 100
OPTIONS = {'quota': {'metadata_items': 2 * KEYS}}

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
    """Two Novas and the means to measure them.

    :param hosts: {contestant: :class:`nova_meta_lab.host.Host`}
    :param key: which of :data:`nova_meta_lab.target.TARGETS` is written
    """

    def __init__(self, hosts, key, out):
        self.hosts = hosts
        self.key = key
        self.target = targets.TARGETS[key]
        self.out = out
        self._turn = itertools.count()

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

    def latencies(self, turns, requests):
        """Measure single requests, one after the other.

        :returns: {call: {contestant: median latency in ms}}
        """
        medians = {}
        for call, send in CALLS.items():
            if call == 'PUT' and not hasattr(self.target.client, 'replace'):
                continue
            seen = {name: [] for name in CONTESTANTS}
            for name in CONTESTANTS:
                self.clear(name)
                self.client(name).merge({
                    f'key {n}': 'old' for n in range(turns * requests)})
            for turn, name in itertools.product(range(turns), CONTESTANTS):
                one = self.client(name)
                for n in range(turn * requests, (turn + 1) * requests):
                    done = send(one, n)
                    if not done.acknowledged:
                        raise private.HostError(f'{name}: {done}')
                    seen[name].append(1000 * (done.ended - done.begun))
            medians[call] = {name: round(statistics.median(values), 2)
                             for name, values in seen.items()}
            self.out.print(f'{call}: {medians[call]}')
        return medians

    def rates(self, writers, owners, turns):
        """Measure many writers that each add keys of their own.

        :returns: {contestant: {"acknowledged" and "kept": a second}}
        """
        totals = {name: {'acknowledged': 0, 'kept': 0, 'seconds': 0}
                  for name in (*CONTESTANTS, DRIVER)}
        for _ in range(turns):
            for name, total in totals.items():
                storer = 'nova-meta' if name == DRIVER else name
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
        name = self.hosts['nova-meta'].names(self.target)[owner]
        now = datetime.datetime.now().replace(microsecond=0)
        with contextlib.suppress(sa.exc.OperationalError):
            with self.begin('nova-meta') as connection:
                self.target.touch(connection, name, now)
                self.target.insert(connection, name, [(key, 'v')])
            return True
        return False

    def count(self, name):
        with self.begin(name) as connection:
            return self.target.count(connection)

    def statements(self):
        """Count SQL statements.

        :returns: {call: {contestant: {"statements", "commits"}}}
        """
        found = {}
        for name, host in self.hosts.items():
            counted = json.loads(subprocess.run(
                [sys.executable, '-m', 'nova_meta_lab.statements'],
                input=json.dumps({
                    'target': self.key,
                    'name': host.names(self.target)[-1],
                    'database': host.url(self.target.database)}), text=True,
                env=host.environment(),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                check=True).stdout)
            for call, counts in counted.items():
                found.setdefault(call, {})[name] = counts
        return found


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='bench', description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--database', metavar='URL',
                        help='of a server, as for nova-meta-demo; those of '
                             'the nodes of a cluster, with spaces between')
    parser.add_argument('--target', choices=sorted(targets.TARGETS),
                        default='metadata', help='what is written')
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
    out = console.Console()
    with contextlib.ExitStack() as stack:
        hosts = {name: stack.enter_context(private.Host(
            options.database, SERVERS, OPTIONS)) for name in CONTESTANTS}
        for name, host in hosts.items():
            host.serve(CONTESTANTS[name], options.processes)
        bench = Bench(hosts, options.target, out)
        figures = {
            'database': str(hosts['stock'].database.dialect.name),
            'target': options.target,
            'statements': bench.statements(),
            'latency ms': bench.latencies(options.turns, options.requests),
            'rates': {
                f'{writers} writers, {owners} maps': bench.rates(
                    writers, owners, max(1, options.turns // 2))
                for writers, owners in ((1, 1), (16, 1), (64, 1),
                                        (16, SERVERS))
                # There is one flavor.
                if owners <= len(hosts['stock'].names(bench.target))},
        }
    with open(options.json, 'w') as target:
        json.dump(figures, target, indent=2)
    show(figures, out)


def show(figures, out):
    where = f'{figures["target"]}, {figures["database"]}'
    view = table.Table(title=f'One request at a time: {where}',
                       title_justify='left')
    for column in ('call', 'stock', 'nova-meta', 'ratio'):
        view.add_column(column, justify='right' if view.columns else 'left')
    for call, medians in figures['latency ms'].items():
        view.add_row(f'{call}, median ms', *map(str, medians.values()),
                     f'{medians["nova-meta"] / medians["stock"]:.2f}')
    view.add_section()
    for call, counts in figures['statements'].items():
        stock, ours = counts['stock'], counts['nova-meta']
        view.add_row(
            f'{call}, SQL statements (commits)',
            *(f'{count["statements"]} ({count["commits"]})'
              for count in (stock, ours)),
            f'{ours["statements"] / stock["statements"]:.2f}')
    out.print(view)
    view = table.Table(title=f'Keys added a second: {where}',
                       title_justify='left')
    for column in ('', 'stock: acknowledged (kept)', 'nova-meta',
                   'bare driver', 'nova-meta kept / stock acknowledged'):
        view.add_column(column, justify='right' if view.columns else 'left')
    for case, rates in figures['rates'].items():
        ratio = rates['nova-meta']['kept'] / rates['stock']['acknowledged']
        view.add_row(case, *(f'{rate["acknowledged"]} ({rate["kept"]})'
                             for rate in rates.values()), f'{ratio:.2f}')
    out.print(view)


if __name__ == '__main__':
    main()
