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

The order of the statements is what makes it right:

1. lock the parent row, and read its version and what decisions need of it;
2. read the live rows of the map. Only now: under REPEATABLE READ the first
   plain read fixes the view, so a read before the lock would see the past;
3. decide, in Python, what the map shall be;
4. compare-and-swap the version of the parent;
5. write the rows that differ.

The lock makes the writers of one database server queue. The compare-and-swap
makes the writers of different Galera nodes, which do not see each other's
locks, collide visibly: it puts the parent row into both write sets, and the
certification lets only one of them pass.

The rows of the map themselves are never locked first: under REPEATABLE READ
that takes gap locks, and two servers without metadata would deadlock.

This module knows tables. Which tables, in which database, in whose transaction
is its caller's business, see :mod:`nova_meta.db.api`.
"""

import datetime
from typing import NamedTuple

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_meta.db import galera


class Binding(NamedTuple):
    """The tables of one kind of map.

    The map's table is expected to have the columns ``id``, ``key`` and
    ``value``.

    :param identity: the parent's column that a caller names it by
    :param version: the parent's timestamp that is compared and swapped
    :param guards: further columns of the parent that decisions are made on
    :param owner: the column of the map's table that points to ``identity``
    :param soft: whether rows are not deleted but marked so, in ``deleted`` and
        ``deleted_at``; then neither they nor a parent with that mark exist.
        Without it a mark means nothing.
    :param nullable: whether a value may be None; if not, a NULL that somebody
        has put there is read as an empty string
    """

    identity: sa.Column
    version: sa.Column
    guards: tuple
    owner: sa.Column
    soft: bool
    nullable: bool = False


class Swap(NamedTuple):
    """What was done: the map before and after.

    And the version that the parent got; None if nothing was written.
    """

    before: dict
    after: dict
    version: datetime.datetime | None


class ParentNotFound(Exception):
    """There is no live row that the map could belong to."""


class Unsettled(Exception):
    """A change would still have to be made: it is not there, or no longer."""


class VersionMismatch(Exception):
    """The parent row is not the one that was read: nothing was written."""


def swap(connection, binding, identity, decide):
    """Change a map once; the caller commits, or rolls back and starts over.

    :param connection: a SQLAlchemy Connection that has just begun its
        transaction: nothing may have been read in it
    :param binding: a :class:`Binding`
    :param identity: which parent, a value of ``binding.identity``
    :param decide: called with the parent's row (``binding.guards`` as
        attributes) and the map as a dict that it may keep; returns the map
        that shall be. What it raises is passed on. It is called under the row
        lock, and again on every try.
    :returns: a :class:`Swap`
    :raises: ParentNotFound
    :raises: VersionMismatch if another transaction was faster; try again
    """
    parent, rows = _lock_and_read(connection, binding, identity)
    before = _map(rows)
    after = decide(parent, dict(before))
    version = None
    if _differs(rows, before, after):
        version = _compare_and_swap(connection, binding, identity,
                                    parent.version)
        _write(connection, binding, identity, rows, after)
    return Swap(before, after, version)


def ask(connection, binding, identity, change):
    """Find out whether a change is there, after a COMMIT without an answer.

    Nothing is written. If the change, made now, would change nothing, it holds
    now, whoever made it.

    :param connection, binding, identity: as for :func:`swap`
    :param change: called with the map, returns what the change makes of it
    :returns: the map
    :raises: Unsettled if the change would change something
    :raises: ParentNotFound
    """
    _, rows = _lock_and_read(connection, binding, identity)
    current = _map(rows)
    if _differs(rows, current, change(dict(current))):
        raise Unsettled()
    return current


def read(connection, binding, identity):
    """Read a map.

    :param connection: a SQLAlchemy Connection
    :param binding: a :class:`Binding`
    :param identity: which parent, a value of ``binding.identity``
    :returns: a dict
    :raises: ParentNotFound
    """
    parent, child = binding.identity.table, binding.owner.table
    rows = connection.execute(
        sa.select(child.c.id, child.c.key, _value(binding, child))
        .select_from(parent.outerjoin(child, sa.and_(
            binding.owner == binding.identity, *_live(binding, child))))
        .where(binding.identity == identity, *_live(binding, parent))
        .order_by(child.c.id)).all()
    if not rows:
        raise ParentNotFound()
    return {row.key: row.value for row in rows if row.id is not None}


def _lock_and_read(connection, binding, identity):
    parent = _lock(connection, binding, identity)
    return parent, _read(connection, binding, identity)


def _map(rows):
    # Nothing forbids two live rows of one key, and earlier races have left
    # some. They come in the order of their IDs, so the last one wins, as it
    # does for upstream.
    return {row.key: row.value for row in rows}


def _differs(rows, before, after):
    """Whether rows have to be written for the map to be another one."""
    # Or two rows of a key are there, which no write leaves.
    return after != before or len(rows) != len(before)


def _lock(connection, binding, identity):
    this = binding.identity == identity
    if connection.dialect.name == 'sqlite':
        # No SELECT FOR UPDATE here, and a transaction that begins with a read
        # fails when it wants to write after somebody else did. The value is
        # given or the column's onupdate would change it.
        connection.execute(sa.update(binding.identity.table).where(this)
                           .values({binding.version: binding.version}))
    # Looked up by the unique column alone: with the condition on "deleted"
    # MySQL may take an index that is not unique, and lock gaps of it.
    # key_share: on PostgreSQL, foreign keys that point here do not wait.
    parent = connection.execute(
        sa.select(binding.version.label('version'), *binding.guards, *(
                  [binding.identity.table.c.deleted] if binding.soft else []))
        .where(this).with_for_update(key_share=True)).one_or_none()
    if parent is None or binding.soft and parent.deleted:
        raise ParentNotFound()
    return parent


def _read(connection, binding, identity):
    child = binding.owner.table
    return connection.execute(
        sa.select(child.c.id, child.c.key, _value(binding, child))
        .where(binding.owner == identity, *_live(binding, child))
        .order_by(child.c.id)).all()


def _value(binding, child):
    if binding.nullable:
        return child.c.value
    return sa.func.coalesce(child.c.value, '').label('value')


def _live(binding, table):
    return [table.c.deleted == 0] if binding.soft else []


def _compare_and_swap(connection, binding, identity, seen):
    # The column of MySQL and MariaDB keeps whole seconds; the one rounds what
    # it is given, the other truncates. Elsewhere a coarser value than the
    # column's own could hide the change from a poll with changes-since.
    now = timeutils.utcnow()
    if connection.dialect.name in ('mysql', 'mariadb'):
        now = now.replace(microsecond=0)
    new = _next_version(now, seen, galera.certifies(connection))
    swapped = connection.execute(
        sa.update(binding.identity.table)
        .where(binding.identity == identity,
               binding.version.is_not_distinct_from(seen))
        .values({binding.version: new}))
    if swapped.rowcount != 1:
        raise VersionMismatch()
    return new


def _next_version(now, seen, replicated):
    """Return the version after another.

    :param now: a datetime, in the precision that the column keeps
    :param seen: the version that is there; None if there is none yet
    :param replicated: whether writers on other nodes are to notice
    """
    if replicated:
        # An UPDATE that changes nothing puts no row into a write set.
        return now + datetime.timedelta(seconds=1) if now == seen else now
    # The lock has put the writers in order, and an UPDATE that leaves the
    # value as it is matches, too. So it may stand still, and does not go back,
    # where a poll with changes-since would miss it.
    return now if seen is None else max(now, seen)


def _write(connection, binding, identity, rows, after):
    child = binding.owner.table
    shown = {row.key: row for row in rows}
    changed = {row.id: after[row.key] for row in shown.values()
               if row.key in after and row.value != after[row.key]}
    gone = [row.id for row in rows
            if row.key not in after or row is not shown[row.key]]
    added = [{'key': key, 'value': value, binding.owner.name: identity}
             for key, value in after.items() if key not in shown]
    if changed:
        # One statement, however many rows.
        connection.execute(
            sa.update(child).where(child.c.id.in_(changed))
            .values(value=sa.case(changed, value=child.c.id)))
    if gone:
        delete = sa.update(child).values(
            deleted=child.c.id, deleted_at=timeutils.utcnow()
        ) if binding.soft else sa.delete(child)
        connection.execute(delete.where(child.c.id.in_(gone)))
    if added:
        connection.execute(sa.insert(child), added)
