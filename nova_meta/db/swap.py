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

"""The engine: change the map that belongs to a row, as one atomic step.

The server 5a3e... has the metadata ``{'role': 'db'}``. To set another key::

    with writer.independent.using(context) as session:
        done = swap(session.connection(), INSTANCE_METADATA, '5a3e...',
                    lambda current: {**current, 'team': 'blue'})

sends, on MariaDB::

    SELECT updated_at, uuid, vm_state, ... FROM instances
        WHERE uuid = '5a3e...' FOR UPDATE               -- 09:30:00, active
    SELECT id, key, value FROM instance_metadata
        WHERE instance_uuid = '5a3e...' AND deleted = 0 -- (7, role, db)
    UPDATE instances SET updated_at = '09:30:07'
        WHERE uuid = '5a3e...' AND updated_at = '09:30:00'
    INSERT INTO instance_metadata (key, value, instance_uuid)
        VALUES ('team', 'blue', '5a3e...')
    COMMIT

and ``done.after`` is ``{'role': 'db', 'team': 'blue'}``. The order of the
statements is what makes it right:

1. Lock the parent row, and read it.
2. Read the live rows of the map. Not earlier: under REPEATABLE READ the first
   plain read fixes the view, and the lock may have waited for a writer.
3. Compute the new map, and check it, by functions of the caller.
4. Compare-and-swap the version of the parent.
5. Write the rows that differ.

The lock makes the writers of one database server queue. Writers of different
Galera nodes do not see each other's locks. For them there is the
compare-and-swap: it puts the parent row into the write set of each, and the
certification lets only one of them pass.

The rows of the map are not locked. Under REPEATABLE READ that takes gap locks,
and two servers without metadata would deadlock.

This module knows tables. The caller chooses the tables, the database and the
transaction, see :mod:`nova_meta.db.transaction`.
"""

import datetime
import functools
from typing import NamedTuple
from typing import Optional

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_meta.db import galera

# How many rows one statement gives new values.
MOST_ROWS = 200


class Binding(NamedTuple):
    """The tables of one kind of map.

    The table of the map has the columns ``id``, ``key`` and ``value``.

    :param identity: the column of the parent that callers name it by
    :param version: the timestamp of the parent that is compared and swapped
    :param guards: further columns of the parent that checks need
    :param owner: the column of the map's table that refers to ``identity``
    :param soft: whether a row is deleted by marking it, in ``deleted`` and
        ``deleted_at``. Rows and parents with that mark do not exist then. If
        False, the marks are ignored.
    :param nullable: whether a value may be None. If False, a NULL that
        somebody has put there is read as an empty string.
    """

    identity: sa.Column
    version: sa.Column
    guards: tuple
    owner: sa.Column
    soft: bool
    nullable: bool = False


class Swap(NamedTuple):
    """The map before and after a change, and the version that was set.

    The version is None if nothing was written.
    """

    before: dict
    after: dict
    version: Optional[datetime.datetime]


class ParentNotFound(Exception):
    """There is no live row with this identity."""


class VersionMismatch(Exception):
    """Another transaction has changed the parent; nothing was written."""


def refuse_nothing(parent, before, after):
    """The check of a change that nothing can refuse."""


def swap(connection, binding, identity, change, check=refuse_nothing):
    """Change a map once; the caller commits, or rolls back and starts over.

    :param connection: a SQLAlchemy Connection that has just begun its
        transaction, and has read nothing in it
    :param binding: a :class:`Binding`
    :param identity: which parent, a value of ``binding.identity``
    :param change: a pure function of the map, returns the new map
    :param check: called under the row lock with the row of the parent
        (``binding.guards`` are its attributes), the map before, and the map
        after. To refuse the change it raises an exception, which is passed on.
    :returns: a :class:`Swap`
    :raises: ParentNotFound
    :raises: VersionMismatch if another transaction was faster; try again
    """
    parent = _lock(connection, binding, identity)
    rows = _read(connection, binding, identity)
    # No constraint forbids two live rows of one key, and earlier races have
    # left some. Rows are ordered by ID, so the last one wins, as upstream.
    before = {key: value for row_id, key, value in rows}
    after = change(dict(before))
    check(parent, before, after)
    version = None
    if after != before or len(rows) != len(before):
        version = _compare_and_swap(connection, binding, identity,
                                    parent.version)
        _write(connection, binding, identity, rows, before, after)
    return Swap(before, after, version)


def read(connection, binding, identity):
    """Read a map.

    :param connection: a SQLAlchemy Connection
    :param binding: a :class:`Binding`
    :param identity: which parent, a value of ``binding.identity``
    :returns: a dict
    :raises: ParentNotFound
    """
    rows = connection.execute(_select_both(binding),
                              {'identity': identity}).all()
    if not rows:
        raise ParentNotFound()
    return {key: value for row_id, key, value in rows if row_id is not None}


def _lock(connection, binding, identity):
    if connection.dialect.name == 'sqlite':
        # SQLite has no SELECT FOR UPDATE, and a transaction that begins with
        # a read fails at its first write if others have written since. Without
        # a value, the onupdate of the column would set one.
        connection.execute(sa.update(binding.identity.table)
                           .where(binding.identity == identity)
                           .values({binding.version: binding.version}))
    parent = connection.execute(_select_parent(binding),
                                {'identity': identity}).one_or_none()
    if parent is None or binding.soft and parent.deleted:
        raise ParentNotFound()
    return parent


def _read(connection, binding, identity):
    return connection.execute(_select_rows(binding),
                              {'identity': identity}).all()


# Each statement is made once for each binding: that takes about as long as to
# run it.

@functools.cache
def _select_parent(binding):
    # The WHERE has the unique column alone: with a condition on "deleted"
    # MySQL may use an index that is not unique, and lock gaps in that.
    # key_share: on PostgreSQL, inserts that refer to this row do not wait.
    return (
        sa.select(binding.version.label('version'), *binding.guards, *(
                  [binding.identity.table.c.deleted] if binding.soft else []))
        .where(binding.identity == sa.bindparam('identity'))
        .with_for_update(key_share=True))


@functools.cache
def _select_rows(binding):
    child = binding.owner.table
    return (
        sa.select(child.c.id, child.c.key, _value(binding, child))
        .where(binding.owner == sa.bindparam('identity'),
               *_live(binding, child))
        .order_by(child.c.id))


@functools.cache
def _select_both(binding):
    parent, child = binding.identity.table, binding.owner.table
    return (
        sa.select(child.c.id, child.c.key, _value(binding, child))
        .select_from(parent.outerjoin(child, sa.and_(
            binding.owner == binding.identity, *_live(binding, child))))
        .where(binding.identity == sa.bindparam('identity'),
               *_live(binding, parent))
        .order_by(child.c.id))


@functools.cache
def _update_version(binding):
    return (
        sa.update(binding.identity.table)
        .where(binding.identity == sa.bindparam('identity'),
               binding.version.is_not_distinct_from(sa.bindparam('seen')))
        .values({binding.version: sa.bindparam('new')}))


def _value(binding, child):
    if binding.nullable:
        return child.c.value
    return sa.func.coalesce(child.c.value, '').label('value')


def _live(binding, table):
    return [table.c.deleted == 0] if binding.soft else []


def _compare_and_swap(connection, binding, identity, seen):
    # The column of MySQL and MariaDB keeps whole seconds. MySQL rounds what it
    # is given, MariaDB truncates it. On other databases the value has the
    # full precision, or a poll with changes-since could miss the change.
    now = timeutils.utcnow()
    if connection.dialect.name in ('mysql', 'mariadb'):
        now = now.replace(microsecond=0)
    new = _next_version(now, seen, galera.certifies(connection))
    swapped = connection.execute(_update_version(binding), {
        'identity': identity, 'seen': seen, 'new': new})
    if swapped.rowcount != 1:
        raise VersionMismatch()
    return new


def _next_version(now, seen, replicated):
    """Return the version that follows another one.

    :param now: a datetime, in the precision that the column keeps
    :param seen: the present version; None if there is none yet
    :param replicated: whether writers of other nodes must notice the change
    """
    if replicated:
        # An UPDATE that changes nothing puts no row into a write set.
        return now + datetime.timedelta(seconds=1) if now == seen else now
    # The lock orders the writers, and an UPDATE matches even if the value
    # stays the same. The value must not go back: a poll with changes-since
    # would miss the change.
    return now if seen is None else max(now, seen)


def _write(connection, binding, identity, rows, before, after):
    child = binding.owner.table
    shown = {key: row_id for row_id, key, value in rows}
    changed = {shown[key]: after[key] for key in before
               if key in after and after[key] != before[key]}
    gone = [row_id for row_id, key, value in rows
            if key not in after or row_id != shown[key]]
    added = [{'key': key, 'value': value, binding.owner.name: identity}
             for key, value in after.items() if key not in shown]
    for some in _parts(changed):
        connection.execute(
            sa.update(child).where(child.c.id.in_(some))
            .values(value=sa.case(some, value=child.c.id)))
    if gone:
        delete = sa.update(child).values(
            deleted=child.c.id, deleted_at=timeutils.utcnow()
        ) if binding.soft else sa.delete(child)
        connection.execute(delete.where(child.c.id.in_(gone)))
    if added:
        connection.execute(sa.insert(child), added)


def _parts(values):
    # One statement for many rows. But it takes the database the square of
    # their number to find each one's value.
    pairs = list(values.items())
    for first in range(0, len(pairs), MOST_ROWS):
        yield dict(pairs[first:first + MOST_ROWS])
