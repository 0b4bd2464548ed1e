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

"""Server metadata in the compute API."""

import functools

from nova.compute import api as compute_api
from nova.compute import vm_states
from nova import context as nova_context
from nova.db.main import api as main_db_api
from nova import exception as nova_exception
from nova.notifications import base as notifications
from nova import objects
from oslo_log import log as logging

from nova_meta import conf
from nova_meta.db import api as db_api
from nova_meta.db import instance_mapping
from nova_meta.db import quotas
from nova_meta import etag
from nova_meta import exception
from nova_meta import quota

CONF = conf.CONF
LOG = logging.getLogger(__name__)

DATABASE_DRIVER = 'nova.quota.DbQuotaDriver'

# Of a key or value, in characters; upstream's check has it as a number too.
MAX_LENGTH = 255


class _PartOf(dict):
    """Some pairs of a map, with the length of the whole map.

    Upstream's quota check takes a map and counts it, and does not take a
    number. Here the number is known before the map is read.
    """

    def __init__(self, pairs, count):
        super().__init__(pairs)
        self._count = count

    def __len__(self):
        return self._count


def _pairs_fit(metadata):
    """Whether upstream's quota check refuses none of the pairs by itself."""
    return '' not in metadata and all(
        isinstance(text, str) and len(text) <= MAX_LENGTH
        for pair in metadata.items() for text in pair)


def is_loaded(instance):
    """Whether an instance has more than API._get_instance_from_cell gives it.

    Upstream loads it from its row or, while it is in no cell, from the build
    request.
    """
    return 'vm_state' in instance


class API(compute_api.API):
    """Upstream's compute API, with metadata merged in the database layer.

    Only the server metadata controller uses it; all else is inherited.
    """

    def _get_instance_map_or_none(self, context, instance_uuid):
        try:
            return instance_mapping.instance_mapping_get(context,
                                                         instance_uuid)
        except nova_exception.InstanceMappingNotFound:
            return None

    def _get_instance_from_cell(self, context, im, expected_attrs,
                                cell_down_support):
        # Policies need no more than the mapping has. Whether the server still
        # exists, its lock and its state are checked when its metadata is read
        # or written. So it is loaded only if it may be gone, if it is of
        # another project, which upstream hides from users, or if this process
        # has not used its cell yet. That may be down, and oslo.db may wait for
        # it without end; upstream lets another thread wait.
        nova_context.set_target_cell(context, im.cell_mapping)
        if cell_down_support or im.queued_for_delete or (
                nova_context.is_user_context(context) and
                im.project_id != context.project_id) or (
                not main_db_api.get_context_manager(context).is_started):
            return super()._get_instance_from_cell(
                context, im, expected_attrs, cell_down_support)
        return objects.Instance(context, uuid=im.instance_uuid,
                                project_id=im.project_id)

    @compute_api.check_instance_lock
    @compute_api.check_instance_state(
        vm_state=[vm_states.ACTIVE, vm_states.PAUSED, vm_states.SUSPENDED,
                  vm_states.STOPPED],
        task_state=None)
    def _check_changeable(self, context, instance):
        """Check the lock and the state, by upstream's decorators."""

    def _check_row(self, context, row):
        """Check the lock and the state, of a row of the instances table."""
        self._check_changeable(context, objects.Instance(context, **{
            column.name: getattr(row, column.name)
            for column in db_api.INSTANCE_METADATA.guards}))

    def get_instance_metadata(self, context, instance):
        """Get all metadata associated with an instance.

        :returns: a dict; as upstream's, empty if the instance was loaded and
            is in no cell yet
        :raises: InstanceNotFound if it was deleted meanwhile
        """
        return db_api.instance_metadata_get(context, instance.uuid,
                                            must_exist=not is_loaded(instance))

    def update_instance_metadata(self, context, instance, metadata,
                                 delete=False, condition=etag.UNCONDITIONAL):
        """Set metadata of an instance.

        Lock, state and condition are checked under the row lock, on what is
        really written. The quota is checked before, see nova_meta.quota.

        :param instance: an Instance; its metadata is brought up to date
        :param metadata: the pairs to set
        :param delete: whether all other keys are removed
        :param condition: a :class:`nova_meta.etag.Condition`
        :returns: the whole map as it is then
        :raises: InstanceIsLocked, InstanceInvalidState, MetadataLimitExceeded
        :raises: as :func:`nova_meta.db.api.instance_metadata_update`
        """
        if is_loaded(instance):
            # It may be in no cell yet, and have no row to check.
            self._check_changeable(context, instance)
        allowance = quota.Allowance(
            lambda count: self._check_metadata_properties_quota(
                context, _PartOf(metadata, count)),
            functools.partial(quotas.metadata_items_limit, context)
            if CONF.quota.driver == DATABASE_DRIVER and _pairs_fit(metadata)
            else None)
        allowance.expect(lambda: len(
            metadata if delete else
            self.get_instance_metadata(context, instance) | metadata))

        def check(row, before, after):
            self._check_row(context, row)
            allowance.require(len(after))

        while True:
            try:
                return self._changed(
                    context, instance, db_api.instance_metadata_update(
                        context, instance.uuid, metadata, delete, check,
                        condition))
            except quota.NotChecked as more:
                allowance.ask(more.count)

    def delete_instance_metadata(self, context, instance, key,
                                 condition=etag.UNCONDITIONAL):
        """Remove one key from the metadata of an instance.

        :param instance, condition: as for :meth:`update_instance_metadata`
        :raises: MetadataItemNotFound if the key is not there at that moment
        :raises: InstanceIsLocked, InstanceInvalidState
        :raises: as :func:`nova_meta.db.api.instance_metadata_delete`
        """
        def check(row, before, after):
            if key not in before:
                raise exception.MetadataItemNotFound()
            self._check_row(context, row)

        try:
            self._changed(context, instance, db_api.instance_metadata_delete(
                context, instance.uuid, key, check, condition))
        except nova_exception.InstanceNotFound:
            if is_loaded(instance):
                # It is in no cell yet, and has no metadata there.
                raise exception.MetadataItemNotFound()
            raise

    def _changed(self, context, instance, done):
        """Tell the instance, and others, what was done."""
        instance.metadata = done.after
        instance.obj_reset_changes(['metadata'])
        if done.before != done.after:
            self._notify(context, instance.uuid, done.after)
        return done.after

    def _notify(self, context, instance_uuid, metadata):
        """Send instance.update. The change is committed, and errors logged."""
        if not CONF.notifications.notify_on_state_change:
            # Upstream would load the instance, and then send nothing.
            return
        try:
            instance = objects.Instance.get_by_uuid(
                context, instance_uuid,
                expected_attrs=['flavor', 'info_cache', 'metadata',
                                'system_metadata'])
            # As this request has left it; others may have changed it since.
            instance.metadata = metadata
            instance.obj_reset_changes(['metadata'])
            notifications.send_update(context, instance, instance)
        except Exception:
            LOG.exception("Failed to send the update notification",
                          instance_uuid=instance_uuid)
