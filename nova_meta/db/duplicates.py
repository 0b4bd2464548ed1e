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

"""Duplicate rows of a map: rows of one owner and one key, left by races.

``instance_metadata`` and ``instance_system_metadata`` have no constraint
against them. Readers show the last row of a key.
"""

import collections

import sqlalchemy as sa


def find(connection, binding, after, limit):
    """Find live parents whose map has duplicate rows, a page at a time.

    :param connection: a SQLAlchemy Connection; no locks are taken
    :param binding: a :class:`nova_meta.db.swap.Binding`
    :param after: "" for the first page; for the next what this one returns
    :param limit: the size of the page, in parents
    :returns: a tuple: a dict of identities to the number of surplus rows, and
        ``after`` for the next page, None if this is the last
    """
    parent, child = binding.identity.table, binding.owner.table
    live = [child.c.deleted == 0] if binding.soft else []
    suspects = (
        sa.select(binding.owner)
        .join_from(child, parent, binding.owner == binding.identity)
        .where(binding.owner > after, parent.c.deleted == 0, *live)
        .group_by(binding.owner, child.c.key)
        .having(sa.func.count() > 1).subquery())
    found = connection.execute(
        sa.select(suspects).distinct().order_by(*suspects.c)
        .limit(limit)).scalars().all()
    rows = connection.execute(
        sa.select(binding.owner, child.c.key)
        .where(binding.owner.in_(found), *live)).all()
    # The collation of the database may equate keys that Python does not.
    keys = collections.defaultdict(list)
    for identity, key in rows:
        keys[identity].append(key)
    return ({identity: len(its) - len(set(its))
             for identity, its in sorted(keys.items())
             if len(its) > len(set(its))},
            found[-1] if len(found) == limit else None)
