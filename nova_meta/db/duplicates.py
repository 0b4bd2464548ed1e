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


def find(connection, binding, after, size):
    """Find live parents whose map has duplicate rows, a step at a time.

    :param connection: a SQLAlchemy Connection; no locks are taken
    :param binding: a :class:`nova_meta.db.swap.Binding`
    :param after: "" for the first step; for the next what this one returns
    :param size: how many rows of the table to look at; all of one parent are
        in one step
    :returns: a tuple: a dict of identities to the number of surplus rows, and
        ``after`` for the next step, None if this is the last
    """
    parent, child, owner = (binding.identity.table, binding.owner.table,
                            binding.owner)
    live = [child.c.deleted == 0] if binding.soft else []
    # The index of the owners is walked; a step begins where the last ended.
    last = connection.execute(
        sa.select(owner).where(owner > after).order_by(owner)
        .offset(size - 1).limit(1)).scalar()
    step = [owner > after] + ([] if last is None else [owner <= last])
    suspects = connection.execute(
        sa.select(owner).where(*step, *live).group_by(owner, child.c.key)
        .having(sa.func.count() > 1)).scalars().all()
    rows = connection.execute(
        sa.select(owner, child.c.key)
        .join_from(child, parent, owner == binding.identity)
        .where(owner.in_({*suspects}), parent.c.deleted == 0, *live)
    ).all() if suspects else []
    # The collation of the database may equate keys that Python does not.
    keys = collections.defaultdict(list)
    for identity, key in rows:
        keys[identity].append(key)
    return {identity: len(its) - len(set(its))
            for identity, its in sorted(keys.items())
            if len(its) > len(set(its))}, last
