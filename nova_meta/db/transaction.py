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

"""The transaction of a change: begun, committed, and tried again.

A change is made once, or its client is told that nobody knows. If the
connection is lost at COMMIT, the change may have been made. To make it again
could undo what others have written since, who have seen it. So nothing more is
written: the next transaction only asks whether the change is there. If it is
not, or if that cannot be told, the error is passed on.

If there is no connection to be had for the first try, there is no other one.
Requests to a cell that is down would fill the threads that those to other
cells need, and requests that only read fail at once, too.
"""

import functools

from oslo_db import exception as db_exc

from nova_meta import conf
from nova_meta.db import galera
from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta import exception

CONF = conf.CONF


class Unsettled(Exception):
    """The change is not there, or not any more."""


def change_map(writer, context, identity, what, binding, delta,
               check=swap.refuse_nothing, condition=None):
    """Change one map, in a transaction of its own.

    :param writer: the writer of an enginefacade transaction context manager
    :param context: a request context
    :param identity, binding, check: as for :func:`nova_meta.db.swap.swap`; the
        check is called on every try
    :param what: names the map in the log
    :param delta: a :class:`nova_meta.delta.Delta`
    :param condition: a :class:`nova_meta.etag.Condition`, decided under the
        row lock after the check; None if no client gets an entity tag
    :returns: a :class:`nova_meta.db.swap.Swap`
    :raises: ParentNotFound
    :raises: PreconditionFailed if the condition is false
    :raises: RetriesExhausted if the retry budget is spent
    :raises: DBConnectionError if the connection was lost, and it is not known
        whether the change was made
    """
    def check_all(parent, before, after):
        check(parent, before, after)
        if condition and not condition.holds(condition.tag(before)):
            raise exception.PreconditionFailed(etag=condition.tag(before))

    def ask(change, made):
        there = change(binding, delta.apply)
        # If it has written, this rolls back. Others who have seen the change
        # may have changed the map further: no order explains that answer.
        if there.version or condition is not None and (
                condition.tag(there.after) != condition.tag(made.after)):
            raise Unsettled()
        return made._replace(after=there.after)

    # A change makes its own condition false. And if a key is not there, it
    # cannot be told who has removed it.
    askable = not condition and not delta.drop
    return run(writer, context, identity, what,
               lambda change: change(binding, delta.apply, check_all),
               ask if askable else None)


def run(writer, context, identity, what, work, ask=None):
    """Run a transaction of its own until it meets no conflict.

    :param writer, context, identity, what: as for :func:`change_map`
    :param work: called on every try, while the context has the session, with a
        function that changes a map of the parent: it takes a binding, a change
        and a check as :func:`nova_meta.db.swap.swap` does
    :param ask: called instead after the connection was lost at COMMIT, with
        such a function and with what ``work`` has returned. Returns that, as
        it is now, or raises Unsettled. None if there is no way to tell.
    :returns: what ``work`` returns
    :raises: as :func:`change_map`
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
        self._ask = ask
        self._made = None
        self._begun = self._catch_up = False
        self._committing = self._duplicate = False
        # The error at COMMIT that leaves open whether the change was made.
        self.lost = None

    def attempt(self):
        try:
            return self._attempt()
        except (galera.Unconfirmed, swap.ParentNotFound):
            if self._catch_up:
                raise
        finally:
            # After a conflict, too: while a node lags behind, each try would
            # meet the same one.
            self._catch_up = True
        return self._attempt()

    def _attempt(self):
        self._committing = False
        # Independent: the view of the caller's transaction may be old.
        with self._writer.independent.using(self._context) as session:
            connection = session.connection()
            self._begun = True
            if self._catch_up:
                galera.catch_up(connection)
            change = functools.partial(self._change, connection)
            if self.lost:
                return self._ask(change, self._made)
            self._made = self._work(change)
            self._committing = True
        return self._made

    def _change(self, connection, binding, change, check=swap.refuse_nothing):
        if not self._catch_up:
            check = galera.confirmed(connection, check)
        return swap.swap(connection, binding, self._identity, change, check)

    def may_retry(self, exc):
        if retry.is_connection_lost(exc):
            if not self._begun:
                return False
            if self._committing and not self.lost:
                self.lost = exc
            return not self.lost or self._ask is not None
        if isinstance(exc, db_exc.DBDuplicateEntry) and not self._duplicate:
            # Services of an older release take no lock, and may have inserted
            # the row meanwhile. Fresh reads show it, unless the database takes
            # two keys for one.
            self._duplicate = True
            return True
        return retry.is_conflict(exc)
