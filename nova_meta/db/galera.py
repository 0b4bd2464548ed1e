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

"""Galera: a node that may not have applied yet what others have committed.

Whatever a transaction writes is certified against what the others have
committed, so it does not matter what its node has not seen: the transaction
fails, and is tried again. But a decision to write nothing is certified by
nobody. By what a node knows that lags behind, a key may have the wanted value
already, or not be there, or a condition may be false, while the opposite was
acknowledged to a client of another node.

Such a decision is made again, after the node has caught up.
"""

import sqlalchemy as sa

VARIABLES = ('wsrep_on', 'wsrep_sync_wait',
             'group_replication_single_primary_mode')

# MariaDB; Percona XtraDB Cluster.
CATCH_UP = {True: 'SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1',
            False: 'SELECT /*+ SET_VAR(wsrep_sync_wait = 1) */ 1'}


class Unconfirmed(Exception):
    """Nothing is to be written, by what a node knows that may lag behind."""


def wary(connection, decide):
    """Make of a decision one that a node which lags behind may not make.

    :param connection: a SQLAlchemy Connection, to any database
    :param decide: as for :func:`nova_meta.db.swap.swap`
    :returns: the same, if the node cannot lag behind; or one that raises
        Unconfirmed instead of refusing, or of leaving the map as it is
    """
    if not may_lag(connection):
        return decide

    def decide_to_write(parent, current):
        try:
            after = decide(parent, dict(current))
        except Exception as exc:
            raise Unconfirmed() from exc
        if after == current:
            raise Unconfirmed()
        return after

    return decide_to_write


def certifies(connection):
    """Whether writers on other servers notice each other by what they write.

    On a node of a cluster, and in a group of MySQL servers that may all be
    written to.

    :param connection: a SQLAlchemy Connection, to any database
    """
    found = _variables(connection)
    return (found.get('wsrep_on') == 'ON' or
            found.get('group_replication_single_primary_mode') == 'OFF')


def may_lag(connection):
    """Whether the node of a connection may be behind others.

    :param connection: a SQLAlchemy Connection, to any database
    :returns: False on any database that is not Galera, and if the operator
        lets all reads wait (``[database]/mysql_wsrep_sync_wait``)
    """
    found = _variables(connection)
    return (found.get('wsrep_on') == 'ON' and
            not int(found['wsrep_sync_wait']) & 1)


def _variables(connection):
    if connection.dialect.name not in ('mysql', 'mariadb'):
        return {}
    # Asked once for each connection to the database.
    if 'nova_meta' not in connection.info:
        connection.info['nova_meta'] = dict(map(tuple, connection.execute(
            sa.text('SHOW VARIABLES WHERE Variable_name IN :names').bindparams(
                sa.bindparam('names', VARIABLES, expanding=True))).all()))
    return connection.info['nova_meta']


def catch_up(connection):
    """Wait until what was committed anywhere in the cluster is applied here.

    :param connection: a SQLAlchemy Connection, in whose transaction nothing
        was done yet: later, the node would not wait
    :raises: DBDeadlock (a lock wait timeout) if it takes longer than the
        ``repl.causal_read_timeout`` of the node
    """
    if may_lag(connection):
        connection.execute(sa.text(CATCH_UP[connection.dialect.is_mariadb]))
