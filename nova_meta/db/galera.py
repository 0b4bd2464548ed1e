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

"""Clusters: a node may lag behind what other nodes have committed.

So it is with Galera, and with MySQL Group Replication.

What a transaction writes is certified against what others have committed. If
its node lags behind, the transaction fails and is tried again. But nothing
certifies a transaction that writes nothing. On a node that lags behind, a key
seems to have the wanted value already, or to be absent, or a condition seems
false, while the opposite was acknowledged to a client of another node.

So before a change writes nothing, or is refused, the node has to catch up.
"""

import sqlalchemy as sa

VARIABLES = ('wsrep_on', 'wsrep_sync_wait', 'group_replication_consistency',
             'group_replication_single_primary_mode')

# What a database may be a node of.
GALERA = 'Galera'
XTRADB_CLUSTER = 'Percona XtraDB Cluster'
GROUP_REPLICATION = 'MySQL Group Replication'

# What makes a node wait in a transaction that has just begun, and leaves that
# as it is.
CATCH_UP = {
    GALERA: ('SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1',),
    XTRADB_CLUSTER: ('SELECT /*+ SET_VAR(wsrep_sync_wait = 1) */ 1',),
    # It cannot be set within a transaction, and BEGIN is what waits.
    GROUP_REPLICATION: (
        "SET SESSION group_replication_consistency = 'BEFORE'", 'BEGIN',
        'COMMIT', 'SET SESSION group_replication_consistency = DEFAULT'),
}

# The group_replication_consistency with which no member that may be written to
# shows what was there before an acknowledged change, by the single-primary
# mode.
CONSISTENT = {
    'OFF': ('BEFORE', 'AFTER', 'BEFORE_AND_AFTER'),
    'ON': ('BEFORE_ON_PRIMARY_FAILOVER', 'BEFORE', 'AFTER',
           'BEFORE_AND_AFTER'),
}


class Unconfirmed(Exception):
    """A node that may lag behind would refuse a change, or write nothing."""


def confirmed(connection, check):
    """Add to a check that a change must write, on a node that may lag behind.

    :param connection: a SQLAlchemy Connection, to any database
    :param check: as for :func:`nova_meta.db.swap.swap`
    :returns: a check; if the node may lag behind, it raises Unconfirmed if the
        other one refuses, and if the map stays as it is
    """
    if not may_lag(connection):
        return check

    def check_that_it_writes(parent, before, after):
        try:
            check(parent, before, after)
        except Exception as exc:
            raise Unconfirmed() from exc
        if after == before:
            raise Unconfirmed()

    return check_that_it_writes


def certifies(connection):
    """Whether the database certifies what writers of other servers write.

    Galera does, and so does a MySQL group with several primary servers.

    :param connection: a SQLAlchemy Connection, to any database
    """
    found = variables(connection)
    return (found.get('wsrep_on') == 'ON' or
            found.get('group_replication_single_primary_mode') == 'OFF')


def cluster(connection):
    """Tell which kind of cluster a database is a node of.

    :param connection: a SQLAlchemy Connection, to any database
    :returns: one of the names here; None if it is a single server
    """
    found = variables(connection)
    if found.get('wsrep_on') == 'ON':
        return (GALERA if connection.dialect.is_mariadb
                else XTRADB_CLUSTER)
    if 'group_replication_single_primary_mode' in found:
        return GROUP_REPLICATION
    return None


def may_lag(connection):
    """Whether the node of a connection may be behind others.

    :param connection: a SQLAlchemy Connection, to any database
    :returns: False on a single server, and if the operator lets all reads wait
        (``[database]/mysql_wsrep_sync_wait``; the
        ``group_replication_consistency`` of a MySQL group)
    """
    found = variables(connection)
    if found.get('wsrep_on') == 'ON':
        return not int(found['wsrep_sync_wait']) & 1
    # Any MySQL server has the latter since 8.0.14.
    mode = found.get('group_replication_single_primary_mode')
    consistency = found.get('group_replication_consistency')
    return (mode is not None and consistency is not None and
            consistency not in CONSISTENT[mode])


def variables(connection):
    """Return what a database says of its cluster, as {name: text}.

    :param connection: a SQLAlchemy Connection, to any database
    """
    if connection.dialect.name not in ('mysql', 'mariadb'):
        return {}
    found = connection.info.get('nova_meta')
    # They do not change while a connection lives, but a MySQL group can be
    # given several primary servers at any time.
    if found is None or 'group_replication_single_primary_mode' in found:
        found = connection.info['nova_meta'] = dict(map(
            tuple, connection.execute(sa.text(
                'SHOW VARIABLES WHERE Variable_name IN :names').bindparams(
                    sa.bindparam('names', VARIABLES, expanding=True))).all()))
    return found


def catch_up(connection):
    """Wait until what was committed anywhere in the cluster is applied here.

    :param connection: a SQLAlchemy Connection that has just begun its
        transaction; later in it, the node would not wait
    :raises: DBDeadlock (a lock wait timeout) if it takes longer than the
        ``repl.causal_read_timeout`` of the node
    """
    if not may_lag(connection):
        return
    try:
        for statement in CATCH_UP[cluster(connection)]:
            connection.execute(sa.text(statement))
    except Exception:
        # Or the next one to have it would wait at each BEGIN.
        connection.invalidate()
        raise
