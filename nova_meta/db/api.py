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

"""Counterparts of functions of nova.db.main.api that write maps of a server.

They honour the cell of the context. Each docstring tells what is different.
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
from nova_meta import etag
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

# Upstream reads and writes this map of deleted servers, too, and ignores the
# marks of its rows.
INSTANCE_SYSTEM_METADATA = INSTANCE_METADATA._replace(
    guards=(), owner=models.InstanceSystemMetadata.__table__.c.instance_uuid,
    soft=False, nullable=True)

# Without its transaction and its retries: those repeat the write and not what
# the caller has read before.
_instance_update_and_get_original = inspect.unwrap(
    main_db_api.instance_update_and_get_original)


@require_context
def instance_metadata_get(context, instance_uuid, must_exist=False):
    """Get all metadata of a server.

    :param must_exist: whether it is an error if there is no such server
    :returns: a dict
    :raises: InstanceNotFound if ``must_exist`` and there is no such server
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
def instance_metadata_update(context, instance_uuid, metadata, delete,
                             check=swap.refuse_nothing,
                             condition=etag.UNCONDITIONAL):
    """Set metadata of a server: merge it, or replace all that is there.

    :param metadata: the pairs to set
    :param delete: whether all other keys are removed
    :param check: called under the row lock with the row of the server, the
        metadata before, and the metadata after; raises to refuse the change.
        The row has uuid, vm_state, task_state, launched_at and locked. It may
        be called several times.
    :param condition: a :class:`nova_meta.etag.Condition`, decided after that
    :returns: a :class:`nova_meta.db.swap.Swap` (upstream's returns
        ``metadata``)
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    :raises: PreconditionFailed, DBConnectionError as
        :func:`nova_meta.db.transaction.change_map`
    """
    change = delta.replace(metadata) if delete else delta.merge(metadata)
    return _transact(transaction.change_map, context, instance_uuid,
                     INSTANCE_METADATA, change, check, condition)


@require_context
def instance_metadata_delete(context, instance_uuid, key,
                             check=swap.refuse_nothing,
                             condition=etag.UNCONDITIONAL):
    """Remove one key from the metadata of a server.

    Only this very key: upstream's leaves the comparison to the database, where
    ``Foo`` may equal ``foo``.

    :param check, condition: as for :func:`instance_metadata_update`
    :returns: a :class:`nova_meta.db.swap.Swap` (upstream's returns nothing)
    :raises: as :func:`instance_metadata_update`
    """
    return _transact(transaction.change_map, context, instance_uuid,
                     INSTANCE_METADATA, delta.remove(key), check, condition)


@require_context
def instance_map_heal(context, instance_uuid, binding):
    """Remove the duplicate rows of a map of a server, and change nothing else.

    The last row of a key stays: it is the one that readers show.

    :param binding: INSTANCE_METADATA or INSTANCE_SYSTEM_METADATA
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    _transact(transaction.change_map, context, instance_uuid, binding,
              delta.Delta())


@require_context
def instance_update_and_get_original(context, instance_uuid, values,
                                     columns_to_join=None):
    """Update a server: its columns and its maps, in one transaction.

    :param values: as upstream's: the values of columns, and the states that
        are expected. But ``metadata`` and ``system_metadata`` must be
        :class:`nova_meta.delta.Delta` objects, not dicts.
    :param columns_to_join: as upstream's
    :returns: a tuple of the server before, which has the new maps already, and
        the server after
    :raises: as upstream's; DBConnectionError may mean that the update was made
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    columns = dict(values)
    changes = [(binding, columns.pop(name))
               for name, binding in (
                   ('metadata', INSTANCE_METADATA),
                   ('system_metadata', INSTANCE_SYSTEM_METADATA))
               if name in columns]

    def update(change_map):
        done = [change_map(binding, change.apply)
                for binding, change in changes]
        # Upstream's UPDATE would set "now", and so undo the compare-and-swap.
        # The first version is used: on Galera the second may equal the version
        # before both.
        version = {'updated_at': each.version for each in reversed(done)
                   if each.version}
        return _instance_update_and_get_original(
            context, instance_uuid, {**columns, **version},
            columns_to_join=columns_to_join)

    return _transact(transaction.run, context, instance_uuid, update)


def _transact(run, context, instance_uuid, *args):
    main_db_api._check_db_access()
    writer = main_db_api.get_context_manager(context).writer
    try:
        return run(writer, context, instance_uuid, f'server {instance_uuid}',
                   *args)
    except swap.ParentNotFound:
        raise nova_exception.InstanceNotFound(instance_id=instance_uuid)
    except retry.RetriesExhausted as exc:
        raise exception.MetadataUpdateConflict(
            instance_uuid=instance_uuid) from exc
