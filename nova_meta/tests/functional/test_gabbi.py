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

"""The specification of conditional requests, on every kind of database.

The files in gabbits/ are run against the real nova-api, over HTTP. Each file
has a server of its own, at $ENVIRON['SERVER'].
"""

import functools
import os
import pathlib
import types

from gabbi import driver
from gabbi import fixture

from nova_meta.race import client
from nova_meta.tests.functional import base
from nova_meta_lab import host
from nova_meta_lab import target

# As the installation guide has it.
CORS = {'cors': {
    'allowed_origin': 'https://dashboard.example.org',
    'allow_headers': 'X-Auth-Token,Content-Type,OpenStack-API-Version,'
                     'X-OpenStack-Nova-API-Version,If-Match,If-None-Match',
    'expose_headers': 'X-Openstack-Request-Id,OpenStack-API-Version,'
                      'X-OpenStack-Nova-API-Version,ETag',
}}

GABBITS = pathlib.Path(__file__).with_name('gabbits')


@functools.cache
def served(database):
    """Serve a private Nova with nova-meta, for all files on a database.

    :param database: a :class:`nova_meta.tests.functional.base.Database`
    :returns: the URL of nova-api, and an iterator of servers
    """
    nova = host.Host(database.url(), len(list(GABBITS.iterdir())), CORS)
    nova.__enter__()
    return nova.serve(host.OURS, processes=1), iter(nova.servers)


class NovaFixture(fixture.GabbiFixture):
    """A private Nova with nova-meta."""

    database = base.SQLITE

    def start_fixture(self):
        url, servers = served(self.database)
        os.environ['MICROVERSION'] = target.VERSION
        os.environ['SERVER'] = f'{url}/servers/{next(servers)}'
        os.environ['METADATA'] = os.environ['SERVER'] + '/metadata'
        os.environ['NO_SERVER'] = f'{url}/servers/{client.PROJECT}/metadata'


class MariaDBFixture(NovaFixture):
    database = base.MARIADB


class MySQLFixture(NovaFixture):
    database = base.MYSQL


class PostgreSQLFixture(NovaFixture):
    database = base.POSTGRESQL


def load_tests(loader, tests, pattern):
    for nova in (NovaFixture, MariaDBFixture, PostgreSQLFixture,
                 *[MySQLFixture] * (not base.MYSQL.missing)):
        if nova.database.missing and not os.environ.get('CI'):
            continue
        tests.addTests(driver.build_tests(
            str(GABBITS), loader, url='http://127.0.0.1',
            test_loader_name=f'{__name__}.{nova.__name__}',
            fixture_module=types.SimpleNamespace(NovaFixture=nova)))
    return tests
