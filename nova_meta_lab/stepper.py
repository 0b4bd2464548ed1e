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

"""A nova-api that goes on one step at a time, and whether it waits."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time

import sqlalchemy as sa

from nova_meta import etag
from nova_meta.race import history
from nova_meta_lab import host as private

GLANCE = 0.002
# A statement of SQLite that takes longer than this, while another one holds
# the lock, waits for it.
LONG = 0.03
# A COMMIT of SQLite that takes longer waits for one who has not yet fetched
# all that he reads; and a read that does, for such a COMMIT.
LONG_COMMIT = 2


class Locks:
    """Knows who waits for a lock."""

    def __init__(self, engine):
        self._engine = engine

    def waits(self, stepper):
        """Whether the step that has been taken waits.

        :param stepper: a :class:`Stepper`
        """
        with self._engine.connect() as asking:
            kind = ('mariadb' if getattr(asking.dialect, 'is_mariadb', False)
                    else asking.dialect.name)
            return getattr(self, kind)(asking, stepper)

    def postgresql(self, asking, stepper):
        return asking.execute(sa.text(
            'SELECT cardinality(pg_blocking_pids(:pid)) > 0'),
            {'pid': stepper.connection}).scalar_one()

    def mysql(self, asking, stepper):
        # The status leaves out who has not written yet, and waits to check a
        # foreign key.
        return asking.execute(sa.text(
            'SELECT count(*) > 0 FROM performance_schema.data_lock_waits '
            'JOIN performance_schema.threads '
            'ON thread_id = requesting_thread_id '
            'WHERE processlist_id = :connection'),
            {'connection': stepper.connection}).scalar_one()

    def mariadb(self, asking, stepper):
        # The table of transactions is made anew ten times a second only.
        status = asking.execute(sa.text(
            'SHOW ENGINE INNODB STATUS')).first()[2]
        return any(f'thread id {stepper.connection},' in one and
                   'LOCK WAIT' in one
                   for one in status.split('---TRANSACTION'))

    def sqlite(self, asking, stepper):
        long = LONG if stepper.is_writing else LONG_COMMIT
        if time.monotonic() - stepper.since < long:
            return False
        # Not back into the pool: whoever gets it would not wait for a lock.
        asking.detach()
        driver = asking.connection.dbapi_connection
        try:
            driver.execute('PRAGMA busy_timeout = 0')
            driver.execute('BEGIN IMMEDIATE')
        except self._engine.dialect.dbapi.OperationalError:
            return True
        driver.execute('ROLLBACK')
        return False


class Stepper:
    """A nova-api that goes on one step at a time.

    :param host: a :class:`nova_meta_lab.host.Host` that has served
    :param number: of the node that it writes to
    :ivar step: that it has come to
    :ivar taken: the last one that it has taken
    :ivar is_changing: whether it has a transaction that has changed something
    :ivar is_committing: whether it is in a COMMIT
    :ivar is_writing: whether it is in a statement that takes the lock of
        SQLite
    :ivar is_held: whether it has committed, and waits to be released
    """

    def __init__(self, host, number):
        self._host = host
        self._log = host.path / f'steps-{number}'
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'nova_meta_lab.steps'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log.open('wb'), env=host.environment(number),
            cwd=host.path, text=True)
        # Nothing is asked of it yet.
        self.step = self.taken = self._request = None
        self.is_changing = self.is_committing = False
        self.is_writing = self.is_held = False
        self._said = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)

    def ask(self, requests):
        """Begin a request, and go on to its first step.

        :param requests: an iterator of that, and of those that follow when the
            one before has been answered
        """
        self.operations = []
        self._requests = requests
        self._next()

    def _next(self):
        self.step = self.taken = self.connection = None
        self.is_changing = False
        self._request = next(self._requests, None)
        if self._request:
            self._send(json.dumps(self._request))

    @property
    def is_done(self):
        return self._request is None

    def go_on(self):
        """Take the step that it has come to."""
        self.taken, self.step = self.step, None
        self.is_committing = self.taken == 'COMMIT'
        self.is_changing = not self.is_committing and (
            self.is_changing or not self.taken.startswith('SELECT'))
        self._send('')

    def release(self):
        """Let it go on after a COMMIT."""
        self.is_held = False
        self._send('')

    def _send(self, line):
        self.since = time.monotonic()
        self._process.stdin.write(line + '\n')
        self._process.stdin.flush()

    def look(self):
        """Whether it has come to the next step, or to the end."""
        if self.step is None and not self.is_done and not self.is_held:
            with contextlib.suppress(queue.Empty):
                said = self._said.get(timeout=GLANCE)
                if said is None:
                    # oslo.log has an excepthook.
                    raise private.HostError(self._log.read_text() +
                                            self._host.log())
                self._hear(said)
        return self.step is not None or self.is_done

    def _hear(self, said):
        self.since = time.monotonic()
        self.is_writing = said.get('writing', False)
        self.is_committing = said.get('committing', False)
        if 'done' in said:
            self._end(history.Operation(**said['done']))
        elif 'step' in said:
            self.step, self.connection = said['step'], said['connection']
        else:
            self.is_held = 'committed' in said

    def _end(self, done):
        headers = self._request['headers']
        condition = etag.Condition.of(
            etag.of(done.key), headers.get('If-Match'),
            headers.get('If-None-Match')) if headers else None
        self.operations.append(done._replace(condition=condition))
        self._next()

    def close(self):
        self._process.kill()
        self._process.wait()
