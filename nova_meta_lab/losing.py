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

"""Connections to the database that are lost where somebody wants it.

A request is a series of steps: its statements, and its COMMITs. Before a step,
or after it, the connection can be closed, and the driver says that it is lost:
before, the server has not seen the step; after, it has done it, and its answer
is lost. Or the request is held there, while something is killed.

Over HTTP, :func:`factory` is named in api-paste.ini, and the request says in
the header :data:`HEADER` what is to be lost.
"""

import contextlib
import json
import os
import pathlib
import pkgutil
import random
import re
import threading
import time

import sqlalchemy as sa

from nova_meta_lab import host

# What is named in api-paste.ini: ours, so that it can lose connections.
OURS = f'{__name__}:factory'

HEADER = 'X-Lose'
# Of the answer: its steps, and whether anything was lost.
STEPS = 'X-Steps'
COMMIT = 'COMMIT'

PATIENCE = 60

_local = threading.local()


class Plan:
    """What one request loses, and what it has done.

    :param when: "before" or "after"
    :param step: the number of the step, or the words that it begins with: the
        first such step, of a transaction that has written to ``table``
    :param table: of the map
    :param owners: the table of what has the map. If given, only such steps are
        numbered as touch one of the two, and COMMITs of what was written.
    :param gate: a path. When the request has come to the step a file of this
        name is made, which says where it is, and the request goes on when it
        has been removed.
    :param killed: whether something is killed meanwhile. Then the connection
        is left alone before a step, and the driver finds out.
    """

    def __init__(self, when=None, step=None, table='_', owners=None,
                 gate=None, killed=False):
        self._when = when
        self._step = step
        self._table = table
        self._owners = owners
        self._gate = gate and pathlib.Path(gate)
        self._killed = killed
        self._wrote = False
        self.steps = []
        self.lost = False
        # COMMITs of transactions that have written to the table.
        self.writes = 0

    @contextlib.contextmanager
    def step(self, dialect, cursor, statement):
        """Take a step, unless the connection is lost before it."""
        here = self._is_here(statement) and not self.lost
        if here and self._when == 'before':
            self._lose(dialect, cursor, statement)
        yield
        if statement == COMMIT:
            self.writes += self._wrote
            self._wrote = False
        elif self._table in statement and not statement.startswith('SELECT'):
            self._wrote = True
        if here and self._when == 'after':
            self._lose(dialect, cursor, statement)

    def _is_here(self, statement):
        is_numbered = self._is_numbered(statement)
        if is_numbered:
            self.steps.append(statement)
        if isinstance(self._step, int):
            return is_numbered and len(self.steps) - 1 == self._step
        return self._wrote and statement.startswith(self._step or '\0')

    def _is_numbered(self, statement):
        return (not self._owners or
                self._wrote and statement == COMMIT or
                self._table in statement or self._owners in statement)

    def _lose(self, dialect, cursor, statement):
        self.lost = True
        self._wrote = False
        if self._killed and self._when == 'before':
            self._wait(statement)
        else:
            lose(dialect, cursor, lambda: self._wait(statement))

    def _wait(self, statement):
        """Wait until somebody opens the gate."""
        if self._gate:
            written = self._gate.with_suffix('.new')
            written.write_text(json.dumps({
                'process': os.getpid(), 'step': name_of(statement)}))
            written.rename(self._gate)
            wait_for(lambda: not self._gate.exists())


def name_of(statement):
    """Return what a statement does, and to which table, in short."""
    words = statement.split()
    table = re.search(r'\b(FROM|INTO|UPDATE)\s+(\w+)', statement)
    lock = re.search(r'\bFOR (NO KEY )?UPDATE\b', statement)
    return ' '.join([words[0], *([table.group(2)] if table else words[1:2]),
                     *([lock.group()] if lock else ())])


def lose(dialect, cursor, then=lambda: None):
    """Close a connection, and raise what the driver says when it is lost.

    :param cursor: of the connection, or that itself
    :param then: what to do between the two
    """
    connection = getattr(cursor, 'connection', cursor)
    if dialect.name == 'sqlite':
        # Or it keeps the file locked.
        connection.rollback()
        cursor.close()
    connection.close()
    then()
    error = dialect.dbapi.OperationalError
    if dialect.name == 'sqlite':
        raise dialect.dbapi.ProgrammingError(
            'Cannot operate on a closed database.')
    if dialect.name == 'postgresql':
        raise error('server closed the connection unexpectedly')
    raise error(2013, 'Lost connection to MySQL server during query')


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError('it never comes to this')
        time.sleep(.01)


@contextlib.contextmanager
def losing(plan):
    """Let what this thread does meanwhile lose connections.

    :param plan: a :class:`Plan`, or something else that has its ``step``
    """
    if not sa.event.contains(sa.engine.Engine, 'engine_connect', _watch):
        sa.event.listen(sa.engine.Engine, 'engine_connect', _watch)
    _local.plan = plan
    try:
        yield plan
    finally:
        del _local.plan


def _watch(connection, *is_branch):
    """Have each step of an engine taken by the plan of the thread.

    :param is_branch: SQLAlchemy 1.4 tells this, too
    """
    dialect = connection.dialect
    if 'do_commit' in vars(dialect):
        return
    execute, many, commit = (dialect.do_execute, dialect.do_executemany,
                             dialect.do_commit)

    def step(cursor, statement):
        plan = getattr(_local, 'plan', None)
        return (plan.step(dialect, cursor, statement) if plan
                else contextlib.nullcontext())

    def do_execute(cursor, statement, *args):
        with step(cursor, statement):
            execute(cursor, statement, *args)

    def do_executemany(cursor, statement, *args):
        with step(cursor, statement):
            many(cursor, statement, *args)

    def do_commit(connection):
        with step(connection.dbapi_connection, COMMIT):
            commit(connection)

    dialect.do_execute, dialect.do_executemany, dialect.do_commit = (
        do_execute, do_executemany, do_commit)


class _Application:
    """Lets each request lose what it asks for."""

    def __init__(self, application):
        self._application = application

    def __call__(self, environ, start_response):
        wanted = environ.get('HTTP_' + HEADER.upper().replace('-', '_'))
        with losing(Plan(**json.loads(wanted or '{}'))) as plan:
            def start(status, headers, *args):
                told = {'steps': len(plan.steps), 'lost': plan.lost,
                        'writes': plan.writes}
                return start_response(
                    status, [*headers, (STEPS, json.dumps(told))], *args)

            return self._application(environ, start)


def factory(global_config, **local_config):
    return _Application(_ours(global_config, **local_config))


def _ours(global_config, **local_config):
    return pkgutil.resolve_name(host.OURS)(global_config, **local_config)


class Often:
    """Loses the answers of many COMMITs that have written to a map."""

    def __init__(self):
        self._wrote = False

    @contextlib.contextmanager
    def step(self, dialect, cursor, statement):
        yield
        wrote, self._wrote = self._wrote, 'metadata' in statement and (
            not statement.startswith('SELECT')) or self._wrote
        if statement == COMMIT:
            self._wrote = False
            if wrote and random.random() < .2:
                # Long enough for others to see it, and to act on that.
                lose(dialect, cursor, lambda: time.sleep(.2))


def often_factory(global_config, **local_config):
    application = _ours(global_config, **local_config)

    def losing_often(environ, start_response):
        with losing(Often()):
            return application(environ, start_response)

    return losing_often
