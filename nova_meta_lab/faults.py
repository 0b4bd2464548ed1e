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

"""What can happen to a database server, or to the node of a cluster.

Each is over when the function returns.
"""

import random
import time

# Seconds in which a node is silent: the others give it up.
SILENT = 10
# Seconds of a pause; the others wait for the node.
PAUSES = 0.05, 3


def kill(server, seconds=1):
    """Let a database server lose power for some seconds.

    :param server: a :class:`nova_meta_lab.servers.Server`
    """
    server.kill()
    time.sleep(seconds)
    server.start()


def restart(server):
    """Stop a database server in an orderly way, and start it."""
    server.start()


def freeze(node):
    """Let a node do nothing until the others have given it up.

    :param node: a :class:`nova_meta_lab.galera.Node`
    """
    node.freeze()
    time.sleep(SILENT)
    node.thaw()


def cut_off(node):
    """Let a node not reach the others until they have given it up."""
    node.cut_off()
    time.sleep(SILENT)
    node.heal()


def pause(node):
    """Let a node do nothing for a moment, several times."""
    for _ in range(5):
        node.freeze()
        time.sleep(random.uniform(*PAUSES))
        node.thaw()
        time.sleep(1)
