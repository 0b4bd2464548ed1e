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

"""What nova-meta is tested with: Nova, Python, database and server together.

``tested`` has a file for each combination that was played, as
nova_meta_lab.support has written it. What it says of a combination is:

tested
  It was played, and nothing was lost.
failed
  It was played, and something was.
expected
  It was not played, but nova-meta and that Nova support each part of it.
not supported
  Nova, or nova-meta, does not support a part of it.
"""

import functools
import json
import pathlib
import platform
from typing import NamedTuple

from nova import version as nova_version

from nova_meta.db import galera
from nova_meta import release

TESTED, FAILED, EXPECTED, NOT_SUPPORTED = (
    'tested', 'failed', 'expected', 'not supported')

RESULTS = pathlib.Path(__file__).with_name('tested')

# The Pythons that each Nova names, or has a tox environment for, of those that
# nova-meta runs on.
PYTHONS = {29: ('3.9', '3.10', '3.11'), 30: ('3.9', '3.10', '3.11'),
           31: ('3.9', '3.10', '3.11', '3.12'), 32: ('3.10', '3.11', '3.12'),
           33: ('3.10', '3.11', '3.12', '3.13'),
           34: ('3.11', '3.12', '3.13', '3.14')}

# What serves nova-api, and which Novas it is there for.
THREADS, EVENTLET, NOVA_API = 'threads', 'eventlet', 'nova-api'
SERVERS = {THREADS: tuple(release.SERIES), EVENTLET: (29, 30, 31, 32),
           NOVA_API: (29, 30, 31)}

# How many numbers of a version make a release, by kind of database.
DATABASES = {'MariaDB': 2, 'MySQL': 2, 'PostgreSQL': 1, galera.GALERA: 2,
             galera.GROUP_REPLICATION: 2, 'SQLite': 0}


class Database(NamedTuple):
    """A database server.

    :param kind: one of DATABASES, or another one
    :param version: of it, such as '10.11.14'
    """

    kind: str
    version: str

    @classmethod
    def of(cls, connection):
        """Tell what a SQLAlchemy Connection leads to."""
        # What comes after three numbers is the distribution's.
        dialect = connection.dialect
        return cls(galera.cluster(connection) or _name(dialect), '.'.join(
            str(part) for part in dialect.server_version_info[:3]))

    @property
    def release(self):
        """The kind, and as much of the version as matters."""
        numbers = self.version.split('.')[:DATABASES.get(self.kind, 2)]
        return ' '.join([self.kind, *['.'.join(numbers)] * bool(numbers)])


def _name(dialect):
    if getattr(dialect, 'is_mariadb', False):
        return 'MariaDB'
    return {'mysql': 'MySQL', 'postgresql': 'PostgreSQL',
            'sqlite': 'SQLite'}.get(dialect.name, dialect.name)


class Combination(NamedTuple):
    """What is used together.

    :param nova: the major version
    :param python: such as '3.11'
    :param database: a :class:`Database`
    :param server: one of SERVERS
    """

    nova: int
    python: str
    database: Database
    server: str

    @classmethod
    def here(cls, database, server):
        """Return one with the Nova and the Python of this process."""
        return cls(release.major(nova_version.version_string()),
                   minor(platform.python_version()), database, server)

    @property
    def key(self):
        """What combinations that count as the same have in common."""
        return self.nova, self.python, self.database.release, self.server

    @property
    def result(self):
        """What came of it when it was played, None if it was not."""
        return results().get(self.key)

    def verdict(self):
        """Return one of the words of this module."""
        if self.result:
            return FAILED if self.result['faults'] else TESTED
        supported = (self.python in PYTHONS.get(self.nova, ()) and
                     self.nova in SERVERS[self.server] and
                     self.database.kind in DATABASES)
        return EXPECTED if supported else NOT_SUPPORTED


def minor(version):
    """Return the first two numbers of a version, as text."""
    return '.'.join(version.split('.')[:2])


@functools.cache
def results():
    """Return what was played, as {key of a Combination: what its file says}.

    Each is a dict as :func:`nova_meta_lab.support.record` returns it.
    """
    return {combination(one).key: one for one in (
        json.loads(path.read_text())
        for path in sorted(RESULTS.glob('*.json')))}


def combination(result):
    """Return the Combination that a result is of."""
    return Combination(
        release.major(result['nova']), minor(result['python']),
        Database(result['database'], result['version']), result['server'])
