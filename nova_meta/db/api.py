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

"""Drop-in for the server metadata functions of nova.db.main.api.

Same names, same arguments, and the context's cell is honoured. What differs is
told in each function.
"""

from nova.db.main import api as main_db_api
from nova.db.main import models
from nova.db.utils import require_context
from nova import exception as nova_exception

from nova_meta import conf
from nova_meta.db import galera
from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta import delta
from nova_meta import exception

CONF = conf.CONF

_SERVERS = models.Instance.__table__.c

INSTANCE_METADATA = swap.Binding(
    identity=_SERVERS.uuid,
    version=_SERVERS.updated_at,
    guards=(_SERVERS.uuid, _SERVERS.vm_state, _SERVERS.task_state,
            _SERVERS.launched_at, _SERVERS.locked),
    owner=models.InstanceMetadata.__table__.c.instance_uuid,
)


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
        lambda server, current: change.apply(current)).after


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
def instance_metadata_swap(context, instance_uuid, decide, repeatable=True):
    """Change the metadata of a server by a decision on what it is now.

    :param decide: called with the locked row of the server and its metadata,
        returns the new metadata; see :func:`nova_meta.db.swap.swap`. It may
        be called several times.
    :param repeatable: whether the change may be made again when it is not
        known whether it was made: when the connection is lost at COMMIT.
        A decision that its own effect would turn into a refusal may not.
    :returns: a :class:`nova_meta.db.swap.Swap`
    :raises: InstanceNotFound if there is no such server
    :raises: MetadataUpdateConflict if the retry budget is spent
    """
    writer = main_db_api.get_context_manager(context).writer
    committing = behind = False

    def transaction():
        nonlocal committing
        committing = False
        # Independent: within a transaction of a caller's the view would be
        # as old as that.
        with writer.independent.connection.using(context) as connection:
            if behind:
                galera.catch_up(connection)
            done = swap.swap(
                connection, INSTANCE_METADATA, instance_uuid,
                decide if behind else galera.wary(connection, decide))
            committing = True
        return done

    def attempt():
        nonlocal behind
        try:
            return transaction()
        except (galera.Unconfirmed, swap.ParentNotFound):
            if behind:
                raise
        finally:
            # After a conflict, too: while a node lags behind, it would meet
            # the same one each time.
            behind = True
        return transaction()

    def may_retry(exc):
        if retry.is_connection_lost(exc):
            return repeatable or not committing
        return retry.is_conflict(exc)

    try:
        return retry.run(attempt, CONF.nova_meta.max_retries,
                         CONF.nova_meta.retry_timeout, may_retry,
                         f'metadata of server {instance_uuid}')
    except swap.ParentNotFound:
        raise nova_exception.InstanceNotFound(instance_id=instance_uuid)
    except retry.RetriesExhausted as exc:
        raise exception.MetadataUpdateConflict(
            instance_uuid=instance_uuid) from exc
