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

"""The instance mapping of a server, read as plain rows.

As nova.objects.InstanceMapping reads it, without the ORM.
"""

from nova.db.api import api as api_db_api
from nova.db.api import models as api_models
from nova import exception as nova_exception
from nova import objects
import sqlalchemy as sa

_MAPPINGS = api_models.InstanceMapping.__table__
_CELLS = api_models.CellMapping.__table__

_SELECT = (
    sa.select(_MAPPINGS, _CELLS)
    .outerjoin_from(_MAPPINGS, _CELLS, _MAPPINGS.c.cell_id == _CELLS.c.id)
    .where(_MAPPINGS.c.instance_uuid == sa.bindparam('uuid')))


def instance_mapping_get(context, instance_uuid):
    """Get the mapping of a server, with that of its cell.

    :returns: an InstanceMapping
    :raises: InstanceMappingNotFound
    """
    reader = api_db_api.context_manager.reader
    with reader.connection.using(context) as connection:
        row = connection.execute(_SELECT, {'uuid': instance_uuid}).first()
    if row is None:
        raise nova_exception.InstanceMappingNotFound(uuid=instance_uuid)
    mapping = dict(zip(_MAPPINGS.c.keys(), row))
    cell = dict(zip(_CELLS.c.keys(), row[len(mapping):]))
    return objects.InstanceMapping._from_db_object(
        context, objects.InstanceMapping(),
        {**mapping,
         'cell_mapping': None if cell['id'] is None else cell})
