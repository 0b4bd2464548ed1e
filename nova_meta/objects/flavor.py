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

"""The flavor, with its extra specs saved as differences."""

from nova.db.api import api as api_db_api
from nova.db.api import models as api_models
from nova.db import utils as db_utils
from nova import exception as nova_exception
from nova.objects import base
from nova.objects import fields
from nova.objects import flavor
from oslo_db import exception as db_exc

from nova_meta import conf
from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta.db import transaction
from nova_meta import delta
from nova_meta import exception

CONF = conf.CONF

_FLAVORS = api_models.Flavors.__table__.c

EXTRA_SPECS = swap.Binding(
    identity=_FLAVORS.id,
    version=_FLAVORS.updated_at,
    guards=(),
    owner=api_models.FlavorExtraSpecs.__table__.c.flavor_id,
    soft=False,
)


@db_utils.require_context
def flavor_extra_specs_swap(context, flavor_id, decide, ask=None):
    """Change the extra specs of a flavor by a decision on what they are now.

    Upstream has the functions of flavors in the module of the object, too.

    :param flavor_id: the ``id`` of the flavor, an integer
    :param decide: called with the locked row of the flavor and its extra
        specs, returns the new ones; otherwise, and ``ask``, as for
        :func:`nova_meta.db.api.instance_metadata_swap`
    :returns: a :class:`nova_meta.db.swap.Swap`
    :raises: FlavorNotFound if there is no such flavor
    :raises: FlavorExtraSpecUpdateCreateFailed if the retry budget is spent
    :raises: ExtraSpecKeysCollide, one of these, if the database takes two keys
        for one
    :raises: DBConnectionError if it is not known whether the change was made
    """
    try:
        return transaction.run(
            api_db_api.context_manager.writer, context, flavor_id,
            lambda change: change(EXTRA_SPECS, decide), ask,
            f'extra specs of flavor {flavor_id}')
    except swap.ParentNotFound:
        raise nova_exception.FlavorNotFound(flavor_id=flavor_id)
    except retry.RetriesExhausted as exc:
        raise nova_exception.FlavorExtraSpecUpdateCreateFailed(
            id=flavor_id, retries=CONF.nova_meta.max_retries) from exc
    except db_exc.DBDuplicateEntry as exc:
        raise exception.ExtraSpecKeysCollide(id=flavor_id) from exc


@base.NovaObjectRegistry.register
class Flavor(flavor.Flavor):
    """Upstream's, except for how extra specs are saved.

    Upstream writes all of them, as they were when the flavor was read. Here
    those are written that have changed, under the lock of the flavor's row.
    Projects are added and removed one by one, as upstream does.
    """

    # What save() has found changed, until it is written.
    _change = None

    def save(self):
        """Save what has changed, as upstream's."""
        # Upstream's has forgotten it when it comes to extra specs, if it has
        # saved other columns before.
        if 'extra_specs' in self:
            self._change = delta.difference(self._orig_extra_specs,
                                            self.extra_specs)
        try:
            super().save()
            if self._change and hasattr(self._context, 'extra_specs'):
                # Upstream leaves out a flavor that has none, and is given
                # none. The condition of the request has to hold all the same.
                self.save_extra_specs()
        finally:
            self._change = None

    @base.remotable
    def save_extra_specs(self, to_add=None, to_delete=None):
        """Add or delete extra specs.

        Called by :meth:`save`, which has upstream's hand over all of them, it
        writes what has changed, and what the context has in ``extra_specs``:
        what a request sets, whether that is new or not.

        :param to_add: a dict of keys to add or update
        :param to_delete: a list of keys to remove
        :raises: FlavorExtraSpecsNotFound if a key to remove is not there at
            that moment; nothing is changed then
        :raises: FlavorNotFound
        :raises: FlavorExtraSpecUpdateCreateFailed if the retry budget is spent
        :raises: PreconditionFailed if the condition of the context is false
        """
        change = self._change or delta.Delta(
            put=dict(to_add or {}), drop=frozenset(to_delete or ()))
        self._change = None
        given = {key: self.extra_specs[key]
                 for key in getattr(self._context, 'extra_specs', ())}

        def apply(current):
            return {**change.apply(current), **given}

        def decide(row, current):
            for key in change.drop.difference(current):
                raise nova_exception.FlavorExtraSpecsNotFound(
                    extra_specs_key=key, flavor_id=self.flavorid)
            return apply(current)

        # Whether it was this that has removed a key, nobody could tell.
        done = flavor_extra_specs_swap(self._context, self.id, decide,
                                       None if change.drop else apply)
        self.extra_specs = done.after
        self.obj_reset_changes(['extra_specs'])

    def delete_extra_spec(self, key):
        """Remove one extra spec, whether this object knows it or not.

        :raises: as :meth:`save_extra_specs`
        """
        self.save_extra_specs(to_delete=[key])
        self._send_notification(fields.NotificationAction.UPDATE)
