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

"""The transactions that change maps, from the first try to the last."""

import functools

from nova_meta import conf
from nova_meta.db import galera
from nova_meta.db import retry
from nova_meta.db import swap

CONF = conf.CONF


def run(writer, context, identity, work, repeatable, what):
    """Run a transaction of its own until it meets no conflict.

    :param writer: of an enginefacade transaction context manager
    :param context: a request context; has the session while work is done
    :param identity: which parent, see :func:`nova_meta.db.swap.swap`
    :param work: called with a function that takes a binding and a decision and
        returns a :class:`nova_meta.db.swap.Swap`. It may be called several
        times.
    :param repeatable: whether it may be called again when it is not known
        whether its effect is there: when the connection is lost at COMMIT
    :param what: names in the log what is changed
    :returns: what it returns
    :raises: ParentNotFound
    :raises: RetriesExhausted if the retry budget is spent
    """
    transaction = _Transaction(writer, context, identity, work, repeatable)
    return retry.run(transaction.attempt, CONF.nova_meta.max_retries,
                     CONF.nova_meta.retry_timeout, transaction.may_retry, what)


class _Transaction:

    def __init__(self, writer, context, identity, work, repeatable):
        self._writer = writer
        self._context = context
        self._identity = identity
        self._work = work
        self._repeatable = repeatable
        self._behind = self._committing = False

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
            done = self._work(functools.partial(self._change, connection))
            self._committing = True
        return done

    def _change(self, connection, binding, decide):
        if not self._behind:
            decide = galera.wary(connection, decide)
        return swap.swap(connection, binding, self._identity, decide)

    def may_retry(self, exc):
        if retry.is_connection_lost(exc):
            return self._repeatable or not self._committing
        return retry.is_conflict(exc)
