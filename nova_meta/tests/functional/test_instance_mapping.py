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

"""The mapping that is read as plain rows is the one that upstream reads."""

from nova import context as nova_context
from nova.db.api import models as api_models
from nova import exception as nova_exception
from nova import objects
from oslo_config import cfg
from oslo_messaging import conffixture
from oslo_utils import uuidutils
import sqlalchemy as sa

from nova_meta.db import instance_mapping
from nova_meta.race import client
from nova_meta.tests.functional import base

MAPPINGS = api_models.InstanceMapping.__table__


class InstanceMappingTestCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.use_api_database()
        # It registers the options that the URLs of a mapping may refer to.
        self.useFixture(conffixture.ConfFixture(cfg.CONF))
        self.asking = nova_context.RequestContext(client.USER, client.PROJECT)

    def change(self, **values):
        with self.host.engines['api'][0].begin() as connection:
            connection.execute(
                sa.update(MAPPINGS)
                .where(MAPPINGS.c.instance_uuid == self.server)
                .values(**values))

    def assertAsUpstream(self):
        ours, upstreams = (
            read(self.asking, self.server)
            for read in (instance_mapping.instance_mapping_get,
                         objects.InstanceMapping.get_by_instance_uuid))
        self.assertEqual(upstreams.obj_to_primitive(),
                         ours.obj_to_primitive())
        self.assertIs(self.asking, ours._context)
        return ours

    def test_as_upstream(self):
        self.assertEqual('cell1', self.assertAsUpstream().cell_mapping.name)

    def test_queued_for_delete(self):
        self.change(queued_for_delete=True)
        self.assertTrue(self.assertAsUpstream().queued_for_delete)

    def test_in_no_cell(self):
        self.change(cell_id=None)
        self.assertIsNone(self.assertAsUpstream().cell_mapping)

    def test_without_user(self):
        # As Novas before 2019 have left it.
        self.change(user_id=None)
        self.assertNotIn('user_id', self.assertAsUpstream())

    def test_not_found(self):
        self.server = uuidutils.generate_uuid()
        self.assertRaises(nova_exception.InstanceMappingNotFound,
                          instance_mapping.instance_mapping_get, self.asking,
                          self.server)


class MariaDBInstanceMappingTestCase(InstanceMappingTestCase):

    database = base.MARIADB


class PostgreSQLInstanceMappingTestCase(InstanceMappingTestCase):

    database = base.POSTGRESQL
