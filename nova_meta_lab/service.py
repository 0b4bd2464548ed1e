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

"""A service that saves servers; to be imported after the nova-api."""

from nova import context as nova_context
from nova import objects
from oslo_db import exception as db_exc

from nova_meta.race import history
from nova_meta_lab import target as targets


class Service:
    """Saves a server as nova-compute does, with the class that is registered.

    :param name: the UUID of the server
    :param headers: nothing, as it is no client
    """

    COLUMN = targets.SAVED.COLUMN

    def __init__(self, name, headers=None):
        self._name = name

    def list(self):
        """Read the server."""
        context = nova_context.get_admin_context()
        mapping = objects.InstanceMapping.get_by_instance_uuid(context,
                                                               self._name)
        nova_context.set_target_cell(context, mapping.cell_mapping)
        return objects.Instance.get_by_uuid(
            context, self._name, expected_attrs=['system_metadata'])

    def merge(self, pairs):
        """Set what is in system_metadata, and the column.

        :returns: a :class:`nova_meta.race.history.Operation`
        """
        server = self.list()
        items = dict(pairs)
        server.launched_on = items.pop(self.COLUMN)
        server.system_metadata.update(items)
        status = 200
        try:
            server.save()
        except db_exc.DBError:
            status = 500
        answer = {self.COLUMN: server.launched_on, **{
            key: value for key, value in server.system_metadata.items()
            if not key.startswith(targets.SAVED.COPIED)}}
        return history.Operation(history.MERGE, None, pairs, status, answer,
                                 0, 0)
