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

"""What each call costs in nova-api, in numbers; its own program.

SQL statements and transactions of each call, and the CPU time of a POST of one
key to maps of several sizes.

Loads nova-api into its own process, so OS_NOVA_CONFIG_DIR has to be set and
there are no arguments. Standard input has JSON: {"target": which of
nova_meta_lab.target.TARGETS, "name": whose map, "database": URL of the
database that it is in}. Prints JSON: {"calls": {call: {"statements": of both
databases, "commits": of those that wrote}}, "cpu": {size: median in ms}}.
"""

import json
import statistics
import sys
import time

import sqlalchemy as sa
from sqlalchemy import event

from nova_meta_lab import steps
from nova_meta_lab import target as targets

TEN = {f'key {n}': 'old' for n in range(10)}

# How many keys the map has, and of how many requests the median is taken.
SIZES = 10, 100, 1000
REPEATS = 25

# Each call with what there is before: a change in every case.
CALLS = {
    'GET': ({}, lambda one: one.list()),
    'POST': (TEN, lambda one: one.merge({'key 0': 'new'})),
    'POST, new key': (TEN, lambda one: one.merge({'new': 'new'})),
    'PUT item': (TEN, lambda one: one.set('key 0', 'new')),
    'PUT, 10 changed, 1 removed': (
        {**TEN, 'more': 'old'},
        lambda one: one.replace(dict.fromkeys(TEN, 'new'))),
    'DELETE': (TEN, lambda one: one.delete('key 0')),
}


class Counter:
    """Counts what goes to any database."""

    def __init__(self):
        self.statements = self.commits = 0
        self._wrote = set()
        event.listen(sa.engine.Engine, 'before_cursor_execute', self._executed)
        event.listen(sa.engine.Engine, 'commit', self._committed)

    def _executed(self, connection, cursor, statement, parameters, context,
                  executemany):
        verb = statement.split()[0].upper()
        # The drivers make one statement of the rows of an INSERT, and one for
        # each row of anything else.
        self.statements += (len(parameters) if executemany and
                            verb != 'INSERT' else 1)
        if verb != 'SELECT':
            self._wrote.add(id(connection))

    def _committed(self, connection):
        if id(connection) in self._wrote:
            self.commits += 1
        self._wrote.discard(id(connection))


def main():
    asked = json.load(sys.stdin)
    target, name = targets.TARGETS[asked['target']], asked['name']
    one = steps.client_of(target.client, name)
    database = sa.create_engine(asked['database'])
    calls = {call: how for call, how in CALLS.items()
             if 'PUT, ' not in call or hasattr(one, 'replace')}
    # Whatever is done only once is done here.
    one.merge(TEN)

    def prepare(pairs):
        with database.begin() as connection:
            target.prepare(connection, name, pairs.items())

    json.dump({'calls': count(calls, one, prepare), 'cpu': cpu(one, prepare)},
              sys.stdout)


def acknowledged(done):
    if not done.acknowledged:
        raise RuntimeError(done.told())


def count(calls, one, prepare):
    counts = {}
    counter = Counter()
    for call, (before, send) in calls.items():
        prepare(before)
        counter.statements = counter.commits = 0
        acknowledged(send(one))
        counts[call] = {'statements': counter.statements,
                        'commits': counter.commits}
    return counts


def cpu(one, prepare):
    medians = {}
    for size in SIZES:
        prepare({f'key {n}': 'old' for n in range(size)})
        spent = []
        for n in range(REPEATS):
            begun = time.process_time()
            acknowledged(at_depth(
                n, lambda: one.merge({'key 0': str(n)})))
            spent.append(1000 * (time.process_time() - begun))
        medians[size] = round(statistics.median(spent), 2)
    return medians


def at_depth(n, call):
    """Call a function from n frames further down.

    CPython 3.11 allocates its stack in pieces. A loop whose calls cross from
    one to the next takes four times as long, and only luck decides where.
    """
    return at_depth(n - 1, call) if n else call()


if __name__ == '__main__':
    main()
