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

"""The transactions that change maps, from the first try to the last.

A change is made once, or nobody knows. When the connection is lost at COMMIT
it may have been made. Made again, it would undo what somebody has written who
has seen it. So nothing is written any more: the next transactions only ask
whether the change is there, or the error is passed on.
"""

import functools

from oslo_db import exception as db_exc

from nova_meta import conf
from nova_meta.db import galera
from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta import exception

CONF = conf.CONF


def run(writer, context, identity, work, ask, what):
    """Run a transaction of its own until it meets no conflict.

    :param writer: of an enginefacade transaction context manager
    :param context: a request context; has the session while work is done. It
        may have a ``condition``, a :class:`nova_meta.etag.Condition`, that has
        to hold for the map that was read, after all other decisions. It gets
        the map that was written last as ``written``.
    :param identity: which parent, see :func:`nova_meta.db.swap.swap`
    :param work: called with a function that takes a binding and a decision and
        returns a :class:`nova_meta.db.swap.Swap`. It may be called several
        times.
    :param ask: by which to look for the change when it is not known whether it
        was made: when the connection is lost at COMMIT. Called with a map,
        returns what the one change of ``work`` makes of it. None if it cannot
        be told from the map, or would be falsified by the change itself.
    :param what: names in the log what is changed
    :returns: what it returns
    :raises: ParentNotFound
    :raises: PreconditionFailed if the condition does not hold
    :raises: RetriesExhausted if the retry budget is spent
    :raises: DBConnectionError if the connection is lost, and nobody knows
        whether the change was made
    """
    transaction = _Transaction(writer, context, identity, work, ask)
    try:
        return retry.run(transaction.attempt, CONF.nova_meta.max_retries,
                         CONF.nova_meta.retry_timeout, transaction.may_retry,
                         what)
    except Exception as exc:
        if transaction.lost in (None, exc):
            raise
        raise transaction.lost from exc


class _Transaction:

    def __init__(self, writer, context, identity, work, ask):
        self._writer = writer
        self._context = context
        self._identity = identity
        self._work = work
        self._condition = getattr(context, 'condition', None)
        # A change makes its own condition false, as a rule.
        self._ask = None if self._condition else ask
        self._behind = self._committing = self._duplicate = False
        self._binding = self._done = None
        # The error at COMMIT that leaves open whether the change was made.
        self.lost = None

    def attempt(self):
        try:
            return self._attempt()
        except (galera.Unconfirmed, swap.ParentNotFound):
            if self._behind:
                raise
        finally:
            # After a conflict, too: while a node lags behind, it would meet
            # the same one each time.
            self._behind = True
        return self._attempt()

    def _attempt(self):
        self._committing = False
        # Independent: within a transaction of a caller's the view would be as
        # old as that.
        with self._writer.independent.using(self._context) as session:
            connection = session.connection()
            if self._behind:
                galera.catch_up(connection)
            if self.lost:
                return self._look_for_it(connection)
            done = self._work(functools.partial(self._change, connection))
            self._committing = True
        return done

    def _change(self, connection, binding, decide):
        if self._condition:
            decide = _conditional(self._condition, decide)
        if not self._behind:
            decide = galera.wary(connection, decide)
        self._binding = binding
        self._done = swap.swap(connection, binding, self._identity, decide)
        self._context.written = self._done.after
        return self._done

    def _look_for_it(self, connection):
        there = swap.ask(connection, self._binding, self._identity, self._ask)
        # What the answer tells of has to be what the change has made, or no
        # order explains it: who has seen the change may have gone on.
        if self._condition is not None and (
                self._condition.tag(there) !=
                self._condition.tag(self._done.after)):
            raise swap.Unsettled()
        self._context.written = there
        return self._done._replace(after=there)

    def may_retry(self, exc):
        if retry.is_connection_lost(exc):
            if self._committing and not self.lost:
                self.lost = exc
            return not self.lost or self._ask is not None
        if isinstance(exc, db_exc.DBDuplicateEntry) and not self._duplicate:
            # Somebody takes no lock: Nova without nova-meta. Fresh reads show
            # the row, unless the database takes two keys for one.
            self._duplicate = True
            return True
        return retry.is_conflict(exc)


def _conditional(condition, decide):
    def decide_if_it_holds(parent, current):
        after = decide(parent, dict(current))
        tag = condition.tag(current)
        if not condition.holds(tag):
            raise exception.PreconditionFailed(etag=tag)
        return after

    return decide_if_it_holds
