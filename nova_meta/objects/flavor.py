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

"""The flavor, which saves the extra specs that were changed."""

import dataclasses

from nova.db.api import api as api_db_api
from nova.db.api import models as api_models
from nova import exception as nova_exception
from nova.objects import base
from nova.objects import fields
from nova.objects import flavor
from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exc

from nova_meta.db import retry
from nova_meta.db import swap
from nova_meta.db import transaction
from nova_meta import delta
from nova_meta import exception

_FLAVORS = api_models.Flavors.__table__.c

EXTRA_SPECS = swap.Binding(
    identity=_FLAVORS.id,
    version=_FLAVORS.updated_at,
    guards=(),
    owner=api_models.FlavorExtraSpecs.__table__.c.flavor_id,
    soft=False,
)


@base.NovaObjectRegistry.register
class Flavor(flavor.Flavor):
    """Upstream's, except for how extra specs are saved.

    Upstream writes all of them, as they were when the flavor was read. This
    class writes those that were changed, under the lock of the flavor's row.
    Projects are added and removed one by one, as upstream does.
    """

    # What save() has found changed, until save_extra_specs() writes it.
    _change = None

    def save(self):
        """Save what was changed, as upstream's."""
        # Upstream's save() may reset _orig_extra_specs before it uses them.
        if 'extra_specs' in self:
            self._change = delta.difference(self._orig_extra_specs,
                                            self.extra_specs)
        try:
            super().save()
        finally:
            self._change = None

    @base.remotable
    def save_extra_specs(self, to_add=None, to_delete=None):
        """Add or delete extra specs.

        When upstream's :meth:`save` calls it, ``to_add`` has all extra specs.
        Then only those are written that were changed.

        :param to_add: a dict of keys to add or update
        :param to_delete: a list of keys to remove
        :raises: as :meth:`change_extra_specs`
        """
        self._change_extra_specs(self._change or delta.Delta(
            put=dict(to_add or {}), drop=frozenset(to_delete or ())))

    # Upstream deletes the extra specs first, and then the flavor, which a
    # change of extra specs has locked first. PostgreSQL may end either.
    @staticmethod
    @oslo_db_api.wrap_db_retry(max_retries=5, retry_on_deadlock=True)
    def _flavor_destroy(context, flavor_id=None, flavorid=None):
        return flavor.Flavor._flavor_destroy(context, flavor_id, flavorid)

    def change_extra_specs(self, change, condition):
        """Change extra specs in the database, and load what is there then.

        What this object has does not matter: the node of a cluster that it was
        read from may lag behind.

        :param change: a :class:`nova_meta.delta.Delta`
        :param condition: a :class:`nova_meta.etag.Condition`
        :raises: FlavorExtraSpecsNotFound if a key to remove is not there
        :raises: ExtraSpecUpdateConflict, a FlavorExtraSpecUpdateCreateFailed,
            if the retry budget is spent
        :raises: ExtraSpecKeysCollide, another one, if the database takes two
            keys for one
        :raises: FlavorNotFound, PreconditionFailed, DBConnectionError as
            :func:`nova_meta.db.transaction.change_map`
        """
        # The schema of the API accepts numbers, too.
        put = self.fields['extra_specs'].coerce(self, 'extra_specs',
                                                dict(change.put))
        done = self._change_extra_specs(
            dataclasses.replace(change, put=put), condition)
        if done.before != done.after:
            self._send_notification(fields.NotificationAction.UPDATE)

    def _change_extra_specs(self, change, condition=None):
        def check(row, before, after):
            for key in change.drop.difference(before):
                raise nova_exception.FlavorExtraSpecsNotFound(
                    extra_specs_key=key, flavor_id=self.flavorid)

        try:
            done = transaction.change_map(
                api_db_api.context_manager.writer, self._context, self.id,
                f'extra specs of flavor {self.id}', EXTRA_SPECS, change, check,
                condition)
        except swap.ParentNotFound:
            raise nova_exception.FlavorNotFound(flavor_id=self.flavorid)
        except retry.RetriesExhausted as exc:
            raise exception.ExtraSpecUpdateConflict(
                id=self.flavorid) from exc
        except db_exc.DBDuplicateEntry as exc:
            raise exception.ExtraSpecKeysCollide(id=self.flavorid) from exc
        self.extra_specs = done.after
        self.obj_reset_changes(['extra_specs'])
        return done
