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

import sys

from nova.compute import api as compute_api
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception as nova_exception
from nova.notifications import base as notifications
from nova import objects
from oslo_log import log as logging

from nova_meta import conf
from nova_meta.db import api as db_api
from nova_meta import delta
from nova_meta import exception
from nova_meta import quota

CONF = conf.CONF
LOG = logging.getLogger(__name__)

DATABASE_DRIVER = 'nova.quota.DbQuotaDriver'
# As many items as can be counted.
UNLIMITED = sys.maxsize


class _PartOf(dict):
    """Some pairs of a map, counted as the whole of it.

    Upstream's quota check takes the whole map: it counts it, and looks at each
    key and value. The count is known without the rest being read.
    """

    def __init__(self, pairs, count):
        super().__init__(pairs)
        self._count = count

    def __len__(self):
        return self._count


def is_loaded(instance):
    """Whether an instance has more than API._get_instance_from_cell gives it.

    Upstream has loaded it: from its row or, before it is in a cell, from the
    request to build it.
    """
    return 'vm_state' in instance


class API(compute_api.API):
    """Upstream's compute API with metadata merged in the database layer.

    Made for the server metadata controller; the rest of it is upstream's. A
    context may have a ``condition``, a :class:`nova_meta.etag.Condition`. It
    has to hold when the metadata is changed, or PreconditionFailed is raised.
    """

    def _get_instance_from_cell(self, context, im, expected_attrs,
                                cell_down_support):
        # The mapping knows all that policies ask for. Whether the server is
        # still there, its lock and its state are judged when its metadata is
        # read or written; no need to load it with all that belongs to it.
        # Except if it may be gone, or is another project's, which upstream
        # does not let a user see.
        if cell_down_support or im.queued_for_delete or (
                nova_context.is_user_context(context) and
                im.project_id != context.project_id):
            return super()._get_instance_from_cell(
                context, im, expected_attrs, cell_down_support)
        nova_context.set_target_cell(context, im.cell_mapping)
        return objects.Instance(context, uuid=im.instance_uuid,
                                project_id=im.project_id)

    @compute_api.check_instance_lock
    @compute_api.check_instance_state(
        vm_state=[vm_states.ACTIVE, vm_states.PAUSED, vm_states.SUSPENDED,
                  vm_states.STOPPED],
        task_state=None)
    def _check_changeable(self, context, instance):
        """Upstream's lock and state rules, for an instance or a locked row."""

    def get_instance_metadata(self, context, instance):
        """Get all metadata associated with an instance.

        :returns: a dict; empty, as upstream's, if the instance was loaded
            before and is in no cell yet
        :raises: InstanceNotFound if it was deleted meanwhile
        """
        return db_api.instance_metadata_get(context, instance.uuid,
                                            must_exist=not is_loaded(instance))

    def update_instance_metadata(self, context, instance, metadata,
                                 delete=False):
        """Set metadata of an instance.

        Lock, state and quota are judged on what is really written, under the
        row lock.

        :param instance: an Instance; its metadata is brought up to date
        :param metadata: the pairs to set
        :param delete: whether all other keys are removed
        :returns: the whole map as it is then
        :raises: InstanceIsLocked, InstanceInvalidState, MetadataLimitExceeded
        :raises: InstanceNotFound if it was deleted meanwhile
        :raises: MetadataUpdateConflict if the retry budget is spent
        """
        if is_loaded(instance):
            # It may have no row that could tell.
            self._check_changeable(context, instance)
        change = delta.replace(metadata) if delete else delta.merge(metadata)
        allowance = quota.Allowance(
            lambda count: self._check_metadata_properties_quota(
                context, _PartOf(metadata, count)))

        def likely():
            if delete:
                # There is nothing to guess.
                return len(metadata)
            limit = CONF.quota.metadata_items
            if CONF.quota.driver != DATABASE_DRIVER:
                # It does not look at the option, and to ask it for the limit
                # would cost more than the check.
                return len(change.apply(
                    self.get_instance_metadata(context, instance)))
            return UNLIMITED if limit < 0 else max(len(metadata), limit)

        allowance.expect(likely)

        def decide(server, current):
            self._check_changeable(context, server)
            after = change.apply(current)
            allowance.require(len(after))
            return after

        while True:
            try:
                return self._change(context, instance, decide, change.apply)
            except quota.NotChecked as more:
                needed = more.count
                # Some room, or every key that others add meanwhile would
                # bring us back here.
                allowance.expect(lambda: needed * 5 // 4)
                allowance.ask(needed)

    def delete_instance_metadata(self, context, instance, key):
        """Remove one key from the metadata of an instance.

        :param instance: an Instance; its metadata is brought up to date
        :raises: MetadataItemNotFound if the key is not there at that moment
        :raises: InstanceIsLocked, InstanceInvalidState
        :raises: InstanceNotFound if it was deleted meanwhile
        :raises: MetadataUpdateConflict if the retry budget is spent
        """
        def decide(server, current):
            if key not in current:
                raise exception.MetadataItemNotFound()
            self._check_changeable(context, server)
            return delta.remove(key).apply(current)

        try:
            self._change(context, instance, decide)
        except nova_exception.InstanceNotFound:
            if is_loaded(instance):
                # It is in no cell yet, and has no metadata there.
                raise exception.MetadataItemNotFound()
            raise

    def _change(self, context, instance, decide, ask=None):
        done = db_api.instance_metadata_swap(context, instance.uuid, decide,
                                             ask)
        instance.metadata = done.after
        instance.obj_reset_changes(['metadata'])
        if done.before != done.after:
            self._notify(context, instance.uuid, done.after)
        return done.after

    def _notify(self, context, instance_uuid, metadata):
        """Send instance.update; the change is committed and stays."""
        if not CONF.notifications.notify_on_state_change:
            # Nor would upstream, but it would have loaded all of this.
            return
        try:
            instance = objects.Instance.get_by_uuid(
                context, instance_uuid,
                expected_attrs=['flavor', 'info_cache', 'metadata',
                                'system_metadata'])
            # Ours, even if somebody has changed it again.
            instance.metadata = metadata
            instance.obj_reset_changes(['metadata'])
            notifications.send_update(context, instance, instance)
        except Exception:
            LOG.exception("Failed to send the update notification",
                          instance_uuid=instance_uuid)
