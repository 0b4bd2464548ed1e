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

"""A group of MySQL servers, all of which are written to."""

from nova_meta.race import workload
from nova_meta.tests.functional import base
from nova_meta.tests.functional import test_galera
from nova_meta.tests.functional import test_workloads
from nova_meta_lab import group
from nova_meta_lab import servers


class GroupTestCase(test_galera.GaleraTestCase):

    kind = group.Group
    causal = group.Group.causal

    @classmethod
    def database_url(cls):
        # Debian has none in its releases: tested if it is there, in CI too.
        try:
            servers.MySQL()
        except servers.ServerMissing as exc:
            raise cls.skipException(str(exc))
        return super().database_url()


@base.periodic_class
class LaggingMemberMySQLTestCase(test_galera.LaggingNodeTests, GroupTestCase):
    """As on a node of Galera."""


@base.periodic_class
class GroupWorkloadsMySQLTestCase(test_workloads.WorkloadTests, GroupTestCase):
    """Clients of three nova-api, each of which has a member of its own."""

    servers_made = 3
    workloads = workload.WITHOUT_READS
    processes = 1
