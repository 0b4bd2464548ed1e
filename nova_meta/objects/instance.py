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

"""The server, which saves its maps as differences."""

import functools

from nova.api.metadata import password
from nova import notifications
from nova.objects import base
from nova.objects import fields
from nova.objects import instance

from nova_meta.db import api as db
from nova_meta import delta

MAPS = ('metadata', 'system_metadata')

# In a primitive: {field: map as it was read}; upstream ignores this entry.
BASE = 'nova_meta.base'

# One password, in pieces. They are saved together, or two passwords would mix.
PASSWORD = frozenset(password.convert_password(None, None))


def _saves_no_map(method):
    """Decorate a remotable method of upstream's that saves no map.

    After the remote call upstream takes each map for the map that was read,
    even if it has changes that are not saved.
    """
    @functools.wraps(method)
    def call(self, *args, **kwargs):
        bases = {name: self._base_of(name) for name in MAPS}
        result = method(self, *args, **kwargs)
        for name in self._changed_fields.intersection(MAPS):
            self._set_base(name, bases[name])
        return result

    return call


def _keeps_late_changes(save):
    """Decorate save(): other threads may change a map while it is under way.

    After it, upstream takes each map as it is then for what was read. It
    writes the whole map with the next change, and so theirs, too. Here what
    they have changed in the map that was loaded stays unsaved, unless another
    save() of this object has ended meanwhile, which may have saved it.
    """
    @functools.wraps(save)
    def call(self, *args, **kwargs):
        maps = {name: (self[name], dict(self[name]))
                for name in MAPS if name in self}
        others = self._saves
        result = save(self, *args, **kwargs)
        self._saves += 1
        if self._saves == others + 1:
            for name, (mine, saved) in maps.items():
                # Of a copy: they may change it now.
                late = delta.difference(saved, dict(mine), PASSWORD)
                if late.put or late.drop:
                    self._change_again(name, mine, saved, late)
        return result

    return call


@base.NovaObjectRegistry.register
class Instance(instance.Instance):
    """Upstream's, except for how changed maps are saved.

    Upstream writes the whole map. That undoes what others have changed since
    the map was read. This class keeps the map that was read, the base, and
    applies the difference to the rows that are there, under the row lock.

    A map without a base replaces what is there: a map that was never loaded,
    or that comes from a service that does not send the base, or a ``metadata``
    that was assigned, as a rebuild does. A ``system_metadata`` that was
    assigned is saved as a difference: services read it, and add their keys.
    """

    # Changes that are hidden from upstream's save(), which has no separate
    # method for what is in other tables.
    _withheld = frozenset()
    # How many have ended.
    _saves = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Arguments were not read from the database.
        self._based = frozenset()

    def _reset_metadata_tracking(self, fields=None):
        super()._reset_metadata_tracking(fields)
        reset = frozenset(MAPS if fields is None else fields)
        self._based = (getattr(self, '_based', frozenset()) - reset |
                       {name for name in reset.intersection(MAPS)
                        if name in self})
        if 'metadata' in reset:
            # If metadata is assigned, it is another dict than this one.
            self._read_metadata = self.metadata if 'metadata' in self else None

    def obj_clone(self):
        clone = super().obj_clone()
        for name in MAPS:
            clone._set_base(name, self._base_of(name))
        return clone

    def obj_what_changed(self):
        return super().obj_what_changed() - self._withheld

    def obj_to_primitive(self, *args, **kwargs):
        primitive = super().obj_to_primitive(*args, **kwargs)
        bases = {name: dict(self._base_of(name))
                 for name in self.obj_what_changed().intersection(MAPS)
                 if self._base_of(name) is not None}
        if bases:
            primitive[BASE] = bases
        return primitive

    @classmethod
    def _obj_from_primitive(cls, context, objver, primitive):
        self = super()._obj_from_primitive(context, objver, primitive)
        bases = primitive.get(BASE, {})
        for name in self._changed_fields.intersection(MAPS):
            self._set_base(name, bases.get(name))
        return self

    def _base_of(self, name):
        """Return the map as it was read; None if the whole map is saved."""
        assigned = (name == 'metadata' and name in self and
                    self.metadata is not self._read_metadata)
        if name not in self._based or assigned:
            return None
        return getattr(self, f'_orig_{name}')

    def _set_base(self, name, base):
        if base is None:
            self._based -= {name}
            return
        self._based |= {name}
        setattr(self, f'_orig_{name}', dict(base))
        if name == 'metadata':
            self._read_metadata = self.metadata

    def _change_again(self, name, mine, saved, change):
        """Make a change of a map one that was not saved.

        :param mine: the map before the call
        :param saved: what was in it then
        :param change: a Delta: what others have done to it since
        """
        if self[name] is not mine:
            # It is now what the conductor has found in the database.
            saved = self[name]
            setattr(self, name, change.apply(saved))
        self._set_base(name, saved)

    drop_migration_context = _saves_no_map(
        instance.Instance.drop_migration_context)
    delete_metadata_key = _saves_no_map(instance.Instance.delete_metadata_key)

    def _delta(self, name):
        mine, read = getattr(self, name), self._base_of(name)
        if read is None:
            return delta.replace(mine)
        return delta.difference(read, mine, PASSWORD)

    @_keeps_late_changes
    @base.remotable
    def save(self, expected_vm_state=None,
             expected_task_state=None, admin_state_reset=False):
        """Save updates to this instance; arguments as upstream's.

        As upstream's: first what is in other tables, then the columns. Maps
        that were changed are saved in the transaction of the columns.

        :raises: as upstream's, and MetadataUpdateConflict if maps were
            changed and the retry budget is spent
        """
        changes = self.obj_what_changed()
        if not changes.intersection(MAPS):
            super().save(expected_vm_state, expected_task_state,
                         admin_state_reset)
            return

        columns = {name for name in changes
                   if not isinstance(self.fields[name], fields.ObjectField)}
        self._save_all_but(columns)
        values = {name: self._delta(name) if name in MAPS else self[name]
                  for name in columns}
        if 'cleaned' in values:
            values['cleaned'] = int(values['cleaned'])
        if expected_task_state is not None:
            values['expected_task_state'] = expected_task_state
        if expected_vm_state is not None:
            values['expected_vm_state'] = expected_vm_state

        # As upstream's: the notification needs system_metadata, and PCI
        # devices are not refreshed here.
        joined = {name for name in instance._INSTANCE_OPTIONAL_JOINED_FIELDS
                  if name in self} - {'pci_devices'} | {'system_metadata'}
        before, after = db.instance_update_and_get_original(
            self._context, self.uuid, values,
            columns_to_join=instance._expected_cols(joined))
        self._from_db_object(self._context, self, after, expected_attrs=joined)
        notifications.send_update(self._context, before, self.obj_clone())
        self.obj_reset_changes()

    def _save_all_but(self, columns):
        """Let upstream's save what is in other tables.

        It sees a node that was changed without a compute_id, and refuses that.
        """
        self._withheld = frozenset(
            columns if 'compute_id' in columns else columns - {'node'})
        try:
            super().save()
        finally:
            del self._withheld
