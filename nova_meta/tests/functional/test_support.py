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

"""What a combination is played with sees what stock Nova loses."""

from nova_meta import support
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import support as lab


class PlayTests:

    # Each test takes one, and the clients write to the first.
    servers_made = 2

    def servers(self):
        """Yield each server that this Nova has."""
        for server in support.SERVERS:
            if support.Combination.here(None, server).nova in (
                    support.SERVERS[server]):
                yield server

    def test_nova_meta(self):
        for server in self.servers():
            total = lab.play(self.host, server)
            self.assertEqual({}, dict(+total.faults), server)
            self.assertGreater(total.acknowledged, 400, server)

    def test_stock(self):
        for server in self.servers():
            total = lab.play(self.host, server, app_factory=host.STOCK)
            self.assertGreater(total.faults['lost updates'], 0, server)


@base.periodic_class
class PlayMariaDBTestCase(PlayTests, base.DatabaseTestCase):
    database = base.MARIADB


@base.periodic_class
class PlayPostgreSQLTestCase(PlayTests, base.DatabaseTestCase):
    database = base.POSTGRESQL
