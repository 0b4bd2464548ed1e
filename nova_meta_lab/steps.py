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

"""A nova-api that goes on one step at a time; its own program.

Loads nova-api into its own process, so OS_NOVA_CONFIG_DIR has to be set and
there are no arguments. Each line of standard input asks for one request, in
JSON: {"client": one of CLIENTS, "name": whose map, "call": method of the
client, "arguments": [...], "headers": {...}}.

A step is a statement that reads or writes rows of a server or a flavor, or the
COMMIT of what has written some. Before each of them a line is printed,
{"step": what it is, "connection": by which the database server knows the
connection}, and a line of input is awaited. When the request has been answered
its Operation is printed, as {"done": {...}}.

Of SQLite it is told, too, when what may wait for the lock of the file begins
and ends, {"writing": whether it does}, and {"committing": true} for what is no
step. And a line of input is awaited before the first statement after a COMMIT,
{"committed": true}: the lock is free then, and whoever waits for it has it
before this process can want it again.
"""

import functools
import json
import re
import sqlite3
import sys

# First: Nova's threading backend wants to be chosen before anything else of it
# is imported.
from nova_meta_lab import wsgi

import sqlalchemy as sa  # noqa: H306
from sqlalchemy import event
import webob

from nova_meta_lab import compute
from nova_meta_lab import target as targets

TABLES = re.compile(r'\b(instances|instance_metadata|instance_system_metadata|'
                    r'flavors|flavor_extra_specs)\b')
# PostgreSQL: FOR NO KEY UPDATE, which others may lock the key of.
LOCK = re.compile(r'FOR (NO KEY )?UPDATE')


class InProcess:
    """Makes a client ask the nova-api of its own process."""

    def _send(self, method, path, body):
        request = webob.Request.blank(path, method=method,
                                      headers=self.headers)
        if body is not None:
            request.body = body.encode()
        response = request.get_response(wsgi.application)
        return (response.status_int, response.headers.get('ETag'),
                json.loads(response.text) if response.text else {})


def client_of(cls, name, headers=None):
    """Make a client of the nova-api of this process.

    :param cls: one of :mod:`nova_meta.race.client`
    """
    return type('Client', (InProcess, cls), {})('/v2.1', name, headers)


CLIENTS = {'service': compute.saved_client, **{
    name: functools.partial(client_of, cls)
    for name, cls in targets.CLIENTS.items()}}
# Who reads the map, if a client does not.
FIRST = {'rebuild': 'metadata'}


# Milliseconds that SQLite waits for a lock: longer than another one is held.
PATIENCE = 180000


@event.listens_for(sa.engine.Engine, 'connect')
def connect(connection, record):
    if isinstance(connection, sqlite3.Connection):
        connection.execute(f'PRAGMA busy_timeout = {PATIENCE}')


class Steps:
    """Waits before each step of what this process does."""

    def __init__(self):
        self._changing = set()
        self._committed = False
        event.listen(sa.engine.Engine, 'before_cursor_execute', self._execute)
        event.listen(sa.engine.Engine, 'after_cursor_execute', self._executed)
        event.listen(sa.engine.Engine, 'commit', self._commit)
        event.listen(sa.engine.Engine, 'rollback', self._roll_back)

    def _execute(self, connection, cursor, statement, *args):
        if self._committed:
            self._committed = False
            self._hold({'committed': True})
        table = TABLES.search(statement)
        if table:
            step = f'{statement.split()[0].upper()} {table.group()}'
            lock = LOCK.search(statement)
            if lock:
                step += f' {lock.group()}'
            if lock or not step.startswith('SELECT'):
                self._changing.add(id(connection))
            self._wait(step, connection)
        if self._is_told(connection, statement):
            say({'writing': True})

    def _executed(self, connection, cursor, statement, *args):
        if self._is_told(connection, statement):
            say({'writing': False})

    @staticmethod
    def _is_told(connection, statement='COMMIT'):
        return (connection.dialect.name == 'sqlite' and
                not statement.startswith('SELECT'))

    def _commit(self, connection):
        if id(connection) in self._changing:
            self._changing.remove(id(connection))
            self._wait('COMMIT', connection)
        elif self._is_told(connection):
            say({'committing': True})
        self._committed = self._is_told(connection)

    def _roll_back(self, connection):
        self._changing.discard(id(connection))

    def _wait(self, step, connection):
        driver = connection.connection.dbapi_connection
        number = next((getattr(driver, name)() for name in (
            'thread_id', 'get_backend_pid') if hasattr(driver, name)), None)
        self._hold({'step': step, 'connection': number})

    @staticmethod
    def _hold(what):
        say(what)
        sys.stdin.readline()


def say(what):
    # Nova has threads, and print() writes the end of a line apart.
    sys.stdout.write(json.dumps(what) + '\n')
    sys.stdout.flush()


def main():
    steps = None
    for line in sys.stdin:
        asked = json.loads(line)
        one = CLIENTS[asked['client']](asked['name'], asked['headers'])
        if steps is None:
            # Whatever is done only once is done by now.
            CLIENTS[FIRST.get(asked['client'], asked['client'])](
                asked['name']).list()
            steps = Steps()
        done = getattr(one, asked['call'])(*asked['arguments'])
        say({'done': done._replace(condition=None)._asdict()})


if __name__ == '__main__':
    main()
