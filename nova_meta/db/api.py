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

"""Drop-in for functions of nova.db.main.api that write the maps of a server.

The context's cell is honoured. What differs is told in each function.
"""

import inspect

from nova.db.main import api as main_db_api
from nova.db.main import models
from nova.db.utils import require_context
from nova import exception as nova_exception

from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta.db import transaction
from nova_meta import delta
from nova_meta import exception

_SERVERS = models.Instance.__table__.c

INSTANCE_METADATA = swap.Binding(
    identity=_SERVERS.uuid,
    version=_SERVERS.updated_at,
    guards=(_SERVERS.uuid, _SERVERS.vm_state, _SERVERS.task_state,
            _SERVERS.launched_at, _SERVERS.locked),
    owner=models.InstanceMetadata.__table__.c.instance_uuid,
    soft=True,
)

# Upstream reads and writes this map of servers that are marked as deleted,
# too, and the rows of it with no regard to their own marks.
INSTANCE_SYSTEM_METADATA = INSTANCE_METADATA._replace(
    guards=(), owner=models.InstanceSystemMetadata.__table__.c.instance_uuid,
    soft=False, nullable=True)

# Without its transaction, and without its retries, which begin below what the
# caller has read.
_instance_update_and_get_original = inspect.unwrap(
    main_db_api.instance_update_and_get_original)


@require_context
def instance_metadata_get(context, instance_uuid, must_exist=False):
    """Get all metadata of a server.

    :param must_exist: whether it matters that there is such a server
    :returns: a dict
    :raises: InstanceNotFound if there is no such server, and it matters
    """
    reader = main_db_api.get_context_manager(context).reader
    try:
        with reader.connection.using(context) as connection:
            return swap.read(connection, INSTANCE_METADATA, instance_uuid)
    except swap.ParentNotFound:
        if must_exist:
            raise nova_exception.InstanceNotFound(instance_id=instance_uuid)
        return {}


@require_context
def instance_metadata_update(context, instance_uuid, metadata, delete):
    """Set metadata of a server.

    :param metadata: the pairs to set
    :param delete: whether all other keys are removed
    :returns: the whole map as it is then (upstream's: only ``metadata``)
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    change = delta.replace(metadata) if delete else delta.merge(metadata)
    return instance_metadata_swap(
        context, instance_uuid,
        lambda server, current: change.apply(current), change.apply).after


@require_context
def instance_metadata_delete(context, instance_uuid, key):
    """Remove one key, and that very key, from the metadata of a server.

    Upstream's leaves the comparison to the database, where ``Foo`` may equal
    ``foo``.

    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    change = delta.remove(key)
    instance_metadata_swap(
        context, instance_uuid,
        lambda server, current: change.apply(current))


@require_context
def instance_metadata_swap(context, instance_uuid, decide, ask=None):
    """Change the metadata of a server by a decision on what it is now.

    :param decide: called with the locked row of the server and its metadata,
        returns the new metadata; see :func:`nova_meta.db.swap.swap`. It may
        be called several times.
    :param ask: by which to look for the change when it is not known whether it
        was made, see :func:`nova_meta.db.transaction.run`
    :returns: a :class:`nova_meta.db.swap.Swap`
    :raises: DBConnectionError if it is still not known
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    return _transact(
        context, instance_uuid,
        lambda change: change(INSTANCE_METADATA, decide), ask)


@require_context
def instance_map_heal(context, instance_uuid, binding):
    """Remove the duplicate rows of a map of a server, and change nothing else.

    Of the rows of a key the one stays that readers show: the last one.

    :param binding: INSTANCE_METADATA or INSTANCE_SYSTEM_METADATA
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    # What no decision changes is written without them.
    _transact(context, instance_uuid,
              lambda change: change(binding, lambda server, current: current),
              ask=lambda current: current)


@require_context
def instance_update_and_get_original(context, instance_uuid, values,
                                     columns_to_join=None):
    """Update a server: its columns and its maps, in one transaction.

    :param values: as upstream's: column values, and what states the server is
        expected to be in. But ``metadata`` and ``system_metadata``, if given,
        are not maps but :class:`nova_meta.delta.Delta`.
    :param columns_to_join: as upstream's
    :returns: a tuple of the server before, with the new maps already, and
        after
    :raises: DBNotAllowed in a process that is to have no database
    :raises: InstanceNotFound, UnexpectedTaskStateError,
        UnexpectedDeletingTaskStateError, InstanceUpdateConflict as upstream's
    :raises: MetadataUpdateConflict if the retry budget is spent
    :raises: DBConnectionError if the connection is lost at COMMIT; as
        upstream's, it leaves open whether the update was made
    """
    columns = dict(values)
    deltas = [(binding, columns.pop(name))
              for name, binding in (
                  ('metadata', INSTANCE_METADATA),
                  ('system_metadata', INSTANCE_SYSTEM_METADATA))
              if name in columns]

    def update(change):
        done = [change(binding, lambda server, current: delta.apply(current))
                for binding, delta in deltas]
        # Upstream's UPDATE would set a "now" of its own, and undo the swap. Of
        # two swaps the second may have gone back to where the first began.
        swapped = {'updated_at': each.version for each in reversed(done)
                   if each.version}
        return _instance_update_and_get_original(
            context, instance_uuid, {**columns, **swapped},
            columns_to_join=columns_to_join)

    return _transact(context, instance_uuid, update, ask=None)


def _transact(context, instance_uuid, work, ask):
    main_db_api._check_db_access()
    writer = main_db_api.get_context_manager(context).writer
    try:
        return transaction.run(writer, context, instance_uuid, work,
                               ask, f'server {instance_uuid}')
    except swap.ParentNotFound:
        raise nova_exception.InstanceNotFound(instance_id=instance_uuid)
    except retry.RetriesExhausted as exc:
        raise exception.MetadataUpdateConflict(
            instance_uuid=instance_uuid) from exc
