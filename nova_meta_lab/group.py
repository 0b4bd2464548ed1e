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

"""A private group of MySQL servers (Group Replication), all primary."""

import uuid

from nova_meta_lab import galera
from nova_meta_lab import servers

MEMBERS = ('SELECT member_state FROM '
           'performance_schema.replication_group_members')


class Member(galera.Member, servers.MySQL):
    """One member of a :class:`Group`.

    :param number: of the member, from 1 on
    :param name: of the group, a UUID
    :param port: that the other members reach it at
    :param members: the addresses of all members
    """

    def __init__(self, number, name, port, members):
        super().__init__()
        self._options = [
            f'--server-id={number}', '--log-bin', '--gtid-mode=ON',
            '--enforce-gtid-consistency=ON', '--report-host=127.0.0.1',
            # One after the other, as Galera does it here.
            f'--report-port={self.port}', '--replica-parallel-workers=1',
            '--plugin-load-add=group_replication.so',
            *(f'--loose-group-replication-{option}' for option in (
                f'group-name={name}', 'start-on-boot=OFF',
                f'local-address=127.0.0.1:{port}',
                f'group-seeds={",".join(members)}',
                'single-primary-mode=OFF',
                'enforce-update-everywhere-checks=ON'))]

    def _command(self):
        return [*super()._command(), *self._options]

    def _install(self):
        # With a binary log that would be what the others do not have.
        self._run(*super()._command(), '--initialize-insecure')

    def join(self, first):
        """Take part in the group.

        :param first: whether it is the first one, that makes the group
        """
        self.execute(
            f'SET GLOBAL group_replication_bootstrap_group = {first}',
            "START GROUP_REPLICATION USER = 'root', PASSWORD = ''",
            'SET GLOBAL group_replication_bootstrap_group = 0')

    def states(self):
        """Return the state of each member that it knows, as text."""
        return [state for state, in self.execute(MEMBERS)]


class Group(galera.Cluster):
    """A group of members on the loopback interface."""

    causal = "SET SESSION group_replication_consistency = 'BEFORE'"

    def _make(self):
        name = str(uuid.uuid4())
        ports = [servers.free_port() for _ in range(self._count)]
        members = [f'127.0.0.1:{port}' for port in ports]
        for number, port in enumerate(ports, 1):
            member = Member(number, name, port, members)
            self.nodes.append(self.enter_context(member))
            member.join(number == 1)
        self.wait_until_whole()
        self._make_gate()

    def wait_until_whole(self):
        """Wait until all members see each other."""
        for member in self.nodes:
            galera.wait_for(
                lambda: member.states() == ['ONLINE'] * self._count,
                f'{member.url} is alone')
