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

"""What nova-compute does to servers, by Nova's own objects.

It is this process that does it, so Nova has to be configured here, or has to
have been loaded as nova-api.
"""

import json
import urllib.parse

from nova.compute import power_state
from nova.compute import vm_states
from nova import config
from nova import context as nova_context
from nova.db.api import api as api_db_api
from nova.db.main import api as main_db_api
from nova import exception as nova_exception
from nova.network import model
from nova import objects
from oslo_db import exception as db_exc
from oslo_utils import timeutils
from oslo_utils import uuidutils
import sqlalchemy as sa

from nova_meta import exception
from nova_meta.race import client
from nova_meta_lab import series
from nova_meta_lab import target as targets

# oslo.db does not know all of SQLite's.
DB_ERRORS = db_exc.DBError, sa.exc.SQLAlchemyError
CONFLICT = (nova_exception.InstanceMapUpdateConflict if series.is_imported()
            else exception.MetadataUpdateConflict)


def configure(host):
    """Let Nova in this process have the databases of a private one.

    :param host: a :class:`nova_meta_lab.host.Host`
    """
    config.parse_args(['nova', '--config-file', str(host.nova_conf())])
    objects.register_all()
    if not series.is_imported():
        import nova_meta.objects  # noqa: F401


def flavor(context):
    """Make the flavor that servers have."""
    made = objects.Flavor(
        context, flavorid=client.FLAVOR, name='m1.tiny', memory_mb=512,
        vcpus=1, root_gb=1, ephemeral_gb=0, swap=0, rxtx_factor=1.0,
        vcpu_weight=0, disabled=False, is_public=True, extra_specs={})
    made.create()
    return made


def build(context, cell, made_of, count=1):
    """Make ACTIVE servers, as if a compute host had built them.

    :param context: of a service
    :param cell: the CellMapping where they are
    :param made_of: a Flavor
    :returns: a list of their UUIDs
    """
    uuids = [uuidutils.generate_uuid() for _ in range(count)]
    with nova_context.target_cell(context, cell) as cell_context, (
            main_db_api.context_manager.writer.using(cell_context)):
        for uuid in uuids:
            objects.Instance(
                cell_context, uuid=uuid, user_id=client.USER,
                project_id=client.PROJECT,
                display_name='lab', hostname='lab', host='lab',
                vm_state=vm_states.ACTIVE, power_state=power_state.RUNNING,
                launched_at=timeutils.utcnow(), flavor=made_of,
                instance_type_id=made_of.id, memory_mb=512, vcpus=1, root_gb=1,
                ephemeral_gb=0, system_metadata={}, metadata={},
                image_ref=client.IMAGE, info_cache=objects.InstanceInfoCache(
                    network_info=model.NetworkInfo())).create()
    with api_db_api.context_manager.writer.using(context):
        for uuid in uuids:
            objects.InstanceMapping(
                context, instance_uuid=uuid, cell_mapping=cell,
                project_id=client.PROJECT, user_id=client.USER,
                queued_for_delete=False).create()
            objects.RequestSpec.from_components(
                context, uuid, image={}, flavor=made_of, numa_topology=None,
                pci_requests=None, filter_properties={}, instance_group=None,
                availability_zone=None).create()
    return uuids


def build_another():
    """Make one more server; as :func:`build`."""
    context = nova_context.get_admin_context()
    cell = next(one for one in objects.CellMappingList.get_all(context)
                if not one.is_cell0())
    return build(context, cell, objects.Flavor.get_by_flavor_id(
        context, client.FLAVOR))


def limit_metadata(limit):
    """Change the limit of the project that has the servers."""
    arguments = (nova_context.get_admin_context(), client.PROJECT,
                 'metadata_items', limit)
    try:
        objects.Quotas.update_limit(*arguments)
    except nova_exception.ProjectQuotaNotFound:
        objects.Quotas.create_limit(*arguments)


def cell_at(url):
    """Return a CellMapping of a cell's database, at one of its nodes."""
    # Contexts with the same cell share its connections.
    return objects.CellMapping(
        uuid=uuidutils.generate_uuid(), transport_url='none:///',
        database_connection=url)


class Service:
    """A service of a cell.

    :param cell: its CellMapping
    """

    def __init__(self, cell):
        self._cell = cell

    def load(self, server, *attributes):
        """Read a server.

        :returns: an Instance
        """
        context = nova_context.get_admin_context()
        nova_context.set_target_cell(context, self._cell)
        return objects.Instance.get_by_uuid(context, server,
                                            expected_attrs=list(attributes))

    def sync_power(self, server):
        """Find it in another power state each time."""
        one = self.load(server)
        one.power_state = (
            power_state.PAUSED if one.power_state == power_state.RUNNING
            else power_state.RUNNING)
        one.save()

    def end_task(self, server):
        """Be done with what the API has asked for."""
        one = self.load(server)
        one.task_state = None
        one.save()

    def destroy(self, server):
        """Delete it."""
        self.load(server).destroy()


class SystemMetadataClient(client.MetadataClient):
    """A service that saves system_metadata, and tells it as nova-api would.

    Each call reads the server, and saves it with a column beside.

    :param service: a :class:`Service`
    :param name: the UUID of the server
    """

    def __init__(self, service, name, headers=None):
        super().__init__('', name, headers)
        self._service, self._server = service, name

    def _send(self, method, path, body):
        key = urllib.parse.unquote(path.rpartition('/metadata')[2].lstrip('/'))
        try:
            return self._save(method, key, json.loads(body or '{}'))
        except nova_exception.InstanceNotFound:
            return 404, None, {}
        except CONFLICT:
            return 409, None, {}
        except DB_ERRORS:
            return 500, None, {}

    def _save(self, method, key, sent):
        server = self._service.load(self._server, 'system_metadata')
        if method == 'DELETE':
            if key not in server.system_metadata:
                return 404, None, {}
            del server.system_metadata[key]
        elif method != 'GET':
            for pairs in sent.values():
                self._set(server, pairs)
        if method != 'GET':
            server.progress = 100 - (server.progress or 0)
            server.save()
        return (204 if method == 'DELETE' else 200), None, {
            'metadata': self._found(server), **(sent if key else {})}

    def _set(self, server, pairs):
        server.system_metadata.update(pairs)

    def _found(self, server):
        return dict(server.system_metadata)


class SavedClient(SystemMetadataClient):
    """A service that saves a column, too, and takes it for one more item."""

    COLUMN = targets.SAVED.COLUMN

    def _set(self, server, pairs):
        items = dict(pairs)
        if self.COLUMN in items:
            setattr(server, self.COLUMN, items.pop(self.COLUMN))
        super()._set(server, items)

    def _found(self, server):
        return {self.COLUMN: getattr(server, self.COLUMN), **{
            key: value for key, value in super()._found(server).items()
            if not key.startswith(targets.SAVED.COPIED)}}


def saved_client(name, headers=None):
    """Return a service of the cell that has a server.

    :param name: the UUID of the server
    :returns: a :class:`SavedClient`
    """
    mapping = objects.InstanceMapping.get_by_instance_uuid(
        nova_context.get_admin_context(), name)
    return SavedClient(Service(mapping.cell_mapping), name, headers)
