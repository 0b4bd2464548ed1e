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

"""The kinds of databases that something is shown on, by name."""

import argparse
import contextlib
from typing import NamedTuple
from typing import Optional

import sqlalchemy as sa

from nova_meta import support
from nova_meta_lab import galera
from nova_meta_lab import group
from nova_meta_lab import servers

# What the URL of one says that differs from the server's default.
VARIANTS = {'mariadb snapshot': {
    'init_command': 'SET SESSION innodb_snapshot_isolation = ON'}}
# Those that Debian has in its releases, and all.
USUAL = ('sqlite', 'mariadb', 'mariadb snapshot', 'postgresql', 'galera')
NAMES = (*USUAL, 'mysql')
# Of MySQL servers.
GROUP = 'group'
CLUSTERS = {'galera': galera.Cluster, GROUP: group.Group}


class Started(NamedTuple):
    """A database server that runs.

    :param url: as for :class:`nova_meta_lab.host.Host`
    :param nodes: each :class:`nova_meta_lab.servers.Server` of it
    :param cluster: the :class:`nova_meta_lab.galera.Cluster`, if it is one
    """

    url: Optional[str] = None
    nodes: tuple = ()
    cluster: Optional[galera.Cluster] = None


@contextlib.contextmanager
def started(name):
    """Start a database server.

    :param name: one of NAMES, or GROUP
    :returns: a context manager of :class:`Started`
    :raises: nova_meta_lab.servers.ServerMissing
    """
    if name == 'sqlite':
        yield Started()
    elif name in CLUSTERS:
        with CLUSTERS[name]() as cluster:
            yield Started(cluster.url, tuple(cluster.nodes), cluster)
    else:
        with servers.SERVERS[name.split()[0]]() as server:
            url = sa.engine.make_url(server.url).update_query_dict(
                VARIANTS.get(name, {}))
            yield Started(url.render_as_string(hide_password=False),
                          (server,))


def with_version(name, engine):
    """Return a name with the version of the server.

    :param engine: that leads there
    """
    with engine.connect() as connection:
        return f'{name} {support.Database.of(connection).version}'


def add_argument(parser):
    """Let a program take names of databases, by default the USUAL ones.

    :param parser: an argparse.ArgumentParser
    """
    # argparse compares a default that is a list with the choices as a whole.
    parser.add_argument('database', nargs='*', metavar='DATABASE',
                        default=USUAL, type=_name,
                        help=f'of these: {", ".join(NAMES)}')


def _name(text):
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f'no such database: {text}')
    return text
