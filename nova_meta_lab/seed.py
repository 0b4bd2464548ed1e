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

"""Fill the empty databases of a private Nova; a program of its own.

Run with nova.conf as ``--config-file``: it loads Nova's global configuration,
which a process can do only once. Prints the servers it made, as JSON.
"""

import json
import sys

from nova.compute import power_state
from nova.compute import vm_states
from nova import config
from nova import context as nova_context
from nova.db.api import api as api_db_api
from nova.db.main import api as main_db_api
from nova.db import migration
from nova.network import model
from nova import objects
from oslo_config import cfg
from oslo_utils import timeutils
from oslo_utils import uuidutils

from nova_meta.race import client

CONF = cfg.CONF
CONF.register_cli_opts([
    cfg.StrOpt('cell0', required=True, help='Database URL of cell0.'),
    cfg.StrOpt('cell1', required=True, help='Database URL of cell1.'),
    cfg.IntOpt('servers', default=1, help='How many servers to make.'),
])


def main():
    config.parse_args(sys.argv)
    objects.register_all()
    context = nova_context.get_admin_context()
    cell1 = migrate(context)
    uuids = make_servers(context, cell1, CONF.servers)
    json.dump(uuids, sys.stdout)


def migrate(context):
    """Run Nova's own migrations and map the two cells.

    :returns: the CellMapping of cell1
    """
    migration.db_sync(database='api')
    cells = []
    for name, uuid, transport, connection in (
            ('cell0', objects.CellMapping.CELL0_UUID, 'none:///', CONF.cell0),
            ('cell1', uuidutils.generate_uuid(), CONF.transport_url,
             CONF.cell1)):
        cell = objects.CellMapping(
            context, name=name, uuid=uuid, transport_url=transport,
            database_connection=connection)
        cell.create()
        with nova_context.target_cell(context, cell) as cell_context:
            migration.db_sync(context=cell_context)
        cells.append(cell)
    return cells[1]


def make_servers(context, cell, count):
    """Make ACTIVE servers, as if a compute host had built them.

    :returns: a list of their UUIDs
    """
    flavor = objects.Flavor(
        context, flavorid=client.FLAVOR, name='m1.tiny', memory_mb=512,
        vcpus=1, root_gb=1, ephemeral_gb=0, swap=0, rxtx_factor=1.0,
        vcpu_weight=0, disabled=False, is_public=True, extra_specs={})
    flavor.create()
    uuids = [uuidutils.generate_uuid() for _ in range(count)]
    with nova_context.target_cell(context, cell) as cell_context, (
            main_db_api.context_manager.writer.using(cell_context)):
        for uuid in uuids:
            objects.Instance(
                cell_context, uuid=uuid, user_id=client.USER,
                project_id=client.PROJECT,
                display_name='lab', hostname='lab', host='lab',
                vm_state=vm_states.ACTIVE, power_state=power_state.RUNNING,
                launched_at=timeutils.utcnow(), flavor=flavor,
                instance_type_id=flavor.id, memory_mb=512, vcpus=1, root_gb=1,
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
                context, uuid, image={}, flavor=flavor, numa_topology=None,
                pci_requests=None, filter_properties={}, instance_group=None,
                availability_zone=None).create()
    return uuids


if __name__ == '__main__':
    main()
