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

"""Whatever is no race is answered as by stock Nova, word by word."""

import contextlib
import http.client
import json
import urllib.parse

from nova import objects
import sqlalchemy as sa

from nova_meta.race import client
from nova_meta.tests.functional import base
from nova_meta_lab import host

QUOTA = 5

ADMIN = {'X-Roles': 'admin,member,reader'}
READER = {'X-Roles': 'reader'}
STRANGER = {'X-Project-Id': 'c' * 32}
BUILD_REQUESTS = sa.table('build_requests', *map(sa.column, (
    'instance_uuid', 'project_id', 'instance')))
LATEST = {'OpenStack-API-Version': 'compute latest'}

# What has happened to the server, by columns of its row.
STATES = {
    'active': {},
    'locked': {'locked': True},
    'rebuilding': {'task_state': 'rebuilding'},
    'stopped': {'vm_state': 'stopped'},
    'building': {'vm_state': 'building', 'launched_at': None},
    'error': {'vm_state': 'error'},
    'shelved': {'vm_state': 'shelved_offloaded'},
    'never launched': {'launched_at': None},
    'deleted': {'deleted': 1, 'vm_state': 'deleted'},
}


def metadata(**pairs):
    return {'metadata': pairs}


def meta(**pairs):
    return {'meta': pairs}


# In this order, so that each meets what the one before has left.
REQUESTS = [
    ('GET', '', None),
    ('POST', '', metadata(a='1', b='2')),
    ('POST', '', metadata(b='3')),
    ('POST', '', metadata()),
    ('GET', '', None),
    ('GET', '/a', None),
    ('GET', '/absent', None),
    ('PUT', '/a', meta(a='4')),
    ('PUT', '/new', meta(new='5')),
    ('PUT', '/a', meta(b='4')),
    ('PUT', '/a', meta(a='1', b='2')),
    ('PUT', '/a', metadata(a='4')),
    ('PUT', '/a', meta(a=4)),
    ('POST', '', metadata(**{'k' * 256: '1'})),
    ('POST', '', metadata(k='v' * 256)),
    # The schema lets a line end pass.
    ('POST', '', metadata(**{'k' * 255 + '\n': '1'})),
    ('POST', '', metadata(k='v' * 255 + '\n')),
    ('PUT', '/k', meta(k='v' * 255 + '\n')),
    ('POST', '', {'metadata': None}),
    ('POST', '', {'other': {}}),
    ('POST', '', metadata(**{'': 'empty'})),
    ('POST', '', metadata(**{str(n): '1' for n in range(QUOTA - 2)})),
    ('POST', '', metadata(**{str(n): '1' for n in range(QUOTA)})),
    ('PUT', '', metadata(**{str(n): '1' for n in range(QUOTA + 1)})),
    ('PUT', '', metadata(**{str(n): '1' for n in range(QUOTA)})),
    ('PUT', '/0', meta(**{'0': 'still fits'})),
    ('PUT', '/more', meta(more='does not')),
    ('DELETE', '/0', None),
    ('DELETE', '/0', None),
    ('PUT', '/more', meta(more='fits now')),
    ('DELETE', '/absent', None),
    ('PUT', '', metadata()),
    ('GET', '', None),
    ('GET', '?unknown=1', None),
    ('PATCH', '', metadata(a='1')),
    ('PUT', '/ü', meta(ü='ß')),
    ('GET', '', None),
]


class ParityTests:

    servers_made = 2 * (len(STATES) + 13)
    nova_options = {'quota': {'metadata_items': QUOTA}}

    def transcript(self, url, server, headers):
        path = urllib.parse.urlsplit(url).path
        return [self.send(url, method, f'{path}/servers/{server}/metadata'
                          f'{urllib.parse.quote(item, safe="/?=")}', body,
                          headers, server)
                for method, item, body in REQUESTS]

    def send(self, url, method, path, body, headers, server):
        connection = http.client.HTTPConnection(
            urllib.parse.urlsplit(url).netloc, timeout=client.TIMEOUT)
        with contextlib.closing(connection):
            connection.request(
                method, path, body=body and json.dumps(body),
                headers={**client.HEADERS, **headers})
            response = connection.getresponse()
            text = response.read().decode()
        kept = {name: value for name, value in response.getheaders()
                if name.lower() in ('content-type', 'vary',
                                    'openstack-api-version')}
        return (method, path.replace(server, '<server>'), response.status,
                kept, text.replace(server, '<server>'))

    def set_state(self, server, columns):
        self.set_columns(self.host.url('cell1'), 'instances', 'uuid', server,
                         columns)
        if columns.get('deleted'):
            self.set_columns(self.host.url('api'), 'instance_mappings',
                             'instance_uuid', server,
                             {'queued_for_delete': True})

    def set_columns(self, url, name, identity, server, columns):
        table = sa.table(name, *map(sa.column, [identity, *columns]))
        engine = sa.create_engine(url)
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            connection.execute(
                sa.update(table).where(table.c[identity] == server)
                .values({identity: server, **columns}))

    def unschedule(self, server):
        """Make a server one that waits to be scheduled to a cell."""
        request = objects.Instance.get_by_uuid(
            self.context(), server, expected_attrs=[
                'metadata', 'system_metadata', 'flavor', 'info_cache'])
        request.update({'vm_state': 'building', 'task_state': 'scheduling'})
        self.set_columns(self.host.url('api'), 'instance_mappings',
                         'instance_uuid', server, {'cell_id': None})
        with self.host.engines['api'][0].begin() as connection:
            connection.execute(sa.insert(BUILD_REQUESTS).values(
                instance_uuid=server, project_id=client.PROJECT,
                instance=json.dumps(request.obj_to_primitive(),
                                    default=str)))

    def answers(self, app_factory, servers):
        """Ask everything of one nova-api.

        :returns: {case: transcript}
        """
        url = self.host.serve(app_factory)
        servers = iter(servers)
        found = {}
        for state, columns in STATES.items():
            server = next(servers)
            self.set_state(server, columns)
            found[state] = self.transcript(url, server, {})
        for who, headers in (('admin', ADMIN), ('reader', READER),
                             ('stranger', STRANGER), ('latest', LATEST)):
            found[who] = self.transcript(url, next(servers), headers)
        server = next(servers)
        self.set_state(server, STATES['locked'])
        found['locked, admin'] = self.transcript(url, server, ADMIN)
        server = next(servers)
        self.set_state(server, STATES['deleted'])
        found['deleted, stranger'] = self.transcript(url, server, STRANGER)
        for who, headers in (('member', {}), ('reader', READER),
                             ('admin', ADMIN)):
            # Its mapping does not know that it is gone.
            server = next(servers)
            self.set_columns(self.host.url('cell1'), 'instances', 'uuid',
                             server, STATES['deleted'])
            found[f'gone, {who}'] = self.transcript(url, server, headers)
        for who, headers in ('member', {}), ('reader', READER):
            server = next(servers)
            self.unschedule(server)
            found[f'in no cell, {who}'] = self.transcript(url, server,
                                                          headers)
        found['no such server'] = self.transcript(
            url, '00000000-0000-0000-0000-000000000000', {})
        found['no id'] = self.transcript(url, 'no-id', {})
        with_project = f'{url}/{client.PROJECT}'
        found['project in path'] = self.transcript(
            with_project, next(servers), {})
        legacy = url.replace('/v2.1', '/v2')
        found['legacy v2'] = self.transcript(legacy, next(servers), {})
        return found

    def test_answers(self):
        self.addCleanup(self.host.stop)
        half = len(self.host.servers) // 2
        stock = self.answers(host.STOCK, self.host.servers[:half])
        ours = self.answers(host.NOVA_META, self.host.servers[half:])
        different = [
            f'{case}\n  stock: {expected}\n  ours:  {found}'
            for case, transcript in stock.items()
            for expected, found in zip(transcript, ours[case])
            if expected != found]
        self.assertEqual([], different, '\n'.join(different))


class ParitySQLiteTestCase(ParityTests, base.DatabaseTestCase):
    database = base.SQLITE
