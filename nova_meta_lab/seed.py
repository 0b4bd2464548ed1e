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
which a process can do only once. Prints as JSON which servers it made in each
cell.
"""

import json
import sys

from nova import config
from nova import context as nova_context
from nova.db import migration
from nova import objects
from oslo_config import cfg
from oslo_utils import uuidutils

from nova_meta_lab import compute

CONF = cfg.CONF
CONF.register_cli_opts([
    cfg.MultiStrOpt('cell', required=True,
                    help='Database URL of cell0, then of cell1, and so on.'),
    cfg.IntOpt('servers', default=1,
               help='How many servers to make in each cell but cell0.'),
])


def main():
    config.parse_args(sys.argv)
    objects.register_all()
    context = nova_context.get_admin_context()
    cells = migrate(context)
    flavor = compute.flavor(context)
    json.dump({cell.name: compute.build(context, cell, flavor, CONF.servers)
               for cell in cells}, sys.stdout)


def migrate(context):
    """Run Nova's own migrations and map the cells.

    :returns: a list of the CellMapping of each but cell0
    """
    migration.db_sync(database='api')
    cells = []
    for number, connection in enumerate(CONF.cell):
        cell = objects.CellMapping(
            context, name=f'cell{number}', database_connection=connection,
            **({'uuid': uuidutils.generate_uuid(),
                'transport_url': CONF.transport_url} if number else
               {'uuid': objects.CellMapping.CELL0_UUID,
                'transport_url': 'none:///'}))
        cell.create()
        with nova_context.target_cell(context, cell) as cell_context:
            migration.db_sync(context=cell_context)
        cells.append(cell)
    return cells[1:]


if __name__ == '__main__':
    main()
