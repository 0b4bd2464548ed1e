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

"""The maps that clients write at once, and where their rows are."""

import dataclasses
import math

import sqlalchemy as sa

from nova_meta.race import client
from nova_meta.race import history
from nova_meta.race import workload
from nova_meta_lab import series

# The series has conditions from this version of the API on, nova-meta always.
VERSION = '2.105' if series.is_imported() else '2.1'
HEADERS = {'X-OpenStack-Nova-API-Version': VERSION}


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A kind of map.

    :param client: a class of :mod:`nova_meta.race.client`
    :param workloads: of :mod:`nova_meta.race.workload`
    :param database: where it is: "api", "cell1" or another cell
    :param table: its rows; the column ``owner`` says whose they are
    :param live: what else distinguishes live rows
    :param owners: the table of owners; ``identity`` is how the API calls one,
        ``reference`` what is in the rows
    :param idle: columns of an owner to which nothing is being done
    """

    client: type
    workloads: list
    database: str
    table: sa.sql.expression.TableClause
    owner: str
    live: dict
    owners: sa.sql.expression.TableClause
    identity: str
    reference: str
    idle: dict = dataclasses.field(default_factory=dict)

    def _owner(self, name):
        if self.reference == self.identity:
            # On MariaDB a query within a DELETE takes a lock.
            return name
        return sa.select(self.owners.c[self.reference]).where(
            self.owners.c[self.identity] == name).scalar_subquery()

    def _live(self):
        return [self.table.c[column] == value
                for column, value in self.live.items()]

    def rows(self, connection, name):
        """Return the live rows of a map as (key, value)."""
        return [tuple(row) for row in connection.execute(
            sa.select(self.table.c.key, self.table.c.value)
            .where(self.table.c[self.owner] == self._owner(name),
                   *self._live())
            .order_by(self.table.c.id))]

    def insert(self, connection, name, pairs):
        """Add rows, without a look at what is there."""
        if pairs:
            connection.execute(sa.insert(self.table).values([
                {'key': key, 'value': value, self.owner: self._owner(name),
                 **self.live} for key, value in pairs]))

    def prepare(self, connection, name, pairs):
        """Make a map consist of these rows."""
        connection.execute(sa.delete(self.table).where(
            self.table.c[self.owner] == self._owner(name)))
        self.insert(connection, name, pairs)

    def clear(self, connection):
        """Remove all rows of all maps."""
        connection.execute(sa.delete(self.table))

    def count(self, connection):
        """Count the live keys of all maps."""
        return connection.execute(sa.select(sa.func.count()).select_from(
            sa.select(self.table.c[self.owner], self.table.c.key)
            .where(*self._live()).distinct().subquery())).scalar_one()

    def touch(self, connection, name, now, **columns):
        """Set the updated_at of an owner, and lock its row by that.

        :param now: a datetime
        :param columns: further ones to set
        """
        connection.execute(
            sa.update(self.owners).where(self.owners.c[self.identity] == name)
            .values(updated_at=now, **columns))

    def column(self, connection, name, column='updated_at'):
        """Return a column of an owner."""
        return connection.execute(
            sa.select(self.owners.c[column])
            .where(self.owners.c[self.identity] == name)).scalar_one()


@dataclasses.dataclass(frozen=True, eq=False)
class WithColumn(Target):
    """A kind of map that is saved together with a column of the owner.

    The column is taken for one more item.
    """

    COLUMN = 'launched_on'
    # What a rebuild copies from the image.
    COPIED = 'image_'

    def rows(self, connection, name):
        return [*((key, value) for key, value in super().rows(connection, name)
                  if not key.startswith(self.COPIED)),
                (self.COLUMN, self.column(connection, name, self.COLUMN))]

    def prepare(self, connection, name, pairs):
        pairs = dict(pairs)
        connection.execute(
            sa.update(self.owners).where(self.owners.c[self.identity] == name)
            .values({self.COLUMN: pairs.pop(self.COLUMN)}))
        super().prepare(connection, name, pairs.items())


class Versioned:
    """A client who asks for the version that the series adds, if it is there.
    """

    def __init__(self, url, name, headers=None):
        super().__init__(url, name, {**HEADERS, **(headers or {})})


class MetadataClient(Versioned, client.MetadataClient):
    pass


class ExtraSpecsClient(Versioned, client.ExtraSpecsClient):
    pass


class ActionClient(client.MetadataClient):
    """Asks for actions, some of which change what a server has."""

    path = '/servers/{}/action'

    def __init__(self, url, name, headers=None):
        super().__init__(url, name, {
            'X-Auth-Token': 'for Glance',
            'X-OpenStack-Nova-API-Version': '2.73', **(headers or {})})
        self._sent = self._told = None

    def rebuild(self, pairs):
        """Replace all metadata."""
        return self._act(history.REPLACE, pairs, 'rebuild', {
            'imageRef': client.IMAGE, 'metadata': pairs})

    def lock(self, reason):
        """Lock, with a reason that is a part of the system_metadata."""
        return self._act(history.SET, {'locked_reason': reason}, 'lock',
                         {'locked_reason': reason})

    def act(self, action):
        """Do something that changes neither."""
        return self._act(action, {}, action, None)

    def _act(self, call, pairs, action, argument):
        self._sent, self._told = {action: argument}, pairs
        return self._do(call, 'POST', pairs=pairs)

    def _body(self, key, pairs):
        return self._sent

    def _pairs(self, key, answer):
        # The answer has what is there a little later, or nothing.
        return self._told


METADATA = Target(
    MetadataClient, workload.WORKLOADS, 'cell1',
    sa.table('instance_metadata', *map(sa.column, (
        'id', 'key', 'value', 'instance_uuid', 'deleted'))),
    'instance_uuid', {'deleted': 0},
    sa.table('instances', *map(sa.column, (
        'uuid', 'task_state', WithColumn.COLUMN)),
        sa.column('updated_at', sa.DateTime)),
    'uuid', 'uuid', {'task_state': None})

# Services save it, not clients. Marks of deletion are ignored there.
SYSTEM_METADATA = dataclasses.replace(
    METADATA, client=None, workloads=[], live={}, table=sa.table(
        'instance_system_metadata', *map(sa.column, (
            'id', 'key', 'value', 'instance_uuid'))))
SAVED = WithColumn(
    None, [], 'cell1', SYSTEM_METADATA.table, 'instance_uuid', {},
    METADATA.owners, 'uuid', 'uuid', METADATA.idle)

EXTRA_SPECS = Target(
    ExtraSpecsClient, workload.EXTRA_SPECS, 'api',
    sa.table('flavor_extra_specs', *map(sa.column, (
        'id', 'key', 'value', 'flavor_id'))),
    'flavor_id', {},
    sa.table('flavors', sa.column('id'), sa.column('flavorid'),
             sa.column('updated_at', sa.DateTime)), 'flavorid', 'id')


class InDatabase:
    """One map of a private Nova, read and prepared in its database.

    :param host: a :class:`nova_meta_lab.host.Host` that serves
    :param name: the ID of the server or the flavor
    :param target: which kind of map
    """

    def __init__(self, host, name, target=METADATA):
        self._urls = host.urls
        self._database = host.engines[target.database][0]
        self._name = name
        self._target = target
        self.quota = (workload.QUOTA if target.table is METADATA.table
                      else math.inf)

    def client(self, number):
        """Return a client; they share out the nova-apis."""
        return self._target.client(self._urls[number % len(self._urls)],
                                   self._name)

    def prepare(self, pairs):
        """Make the map be a dict. Not by nova-api: a stock one may fail to."""
        with self._database.begin() as connection:
            self._target.prepare(connection, self._name, pairs.items())

    def rows(self):
        """Return what is in the map as (key, value)."""
        with self._database.connect() as connection:
            return self._target.rows(connection, self._name)


# As options name them.
TARGETS = {'metadata': METADATA, 'extra-specs': EXTRA_SPECS}
# Whoever asks nova-api.
CLIENTS = {'metadata': METADATA.client, 'rebuild': ActionClient,
           'extra-specs': EXTRA_SPECS.client}
