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

"""What may be raced on, and how a server is made for it."""

import math

from keystoneauth1 import plugin
from keystoneauth1 import session
from openstack import connection
from openstack import exceptions
import requests
from requests_mock.contrib import fixture
import testtools

from nova_meta.race import cloud

URL = 'http://cloud.example.org'
SERVICES = {'compute': f'{URL}/compute/v2.1', 'image': f'{URL}/image/v2/',
            'network': f'{URL}/network/v2.0'}
SERVER = f'{SERVICES["compute"]}/servers/one'
ACTIVE = {'id': 'one', 'status': 'ACTIVE', 'tenant_id': 'mine',
          'locked': False, 'metadata': {'theirs': 'old'}}


class Auth(plugin.BaseAuthPlugin):
    """Somebody who is in a project."""

    def __init__(self, project):
        super().__init__()
        self.project = project

    def get_token(self, session, **kwargs):
        return 'token'

    def get_endpoint(self, session, service_type=None, **kwargs):
        return SERVICES[service_type]

    def get_project_id(self, session, **kwargs):
        return self.project


class RoomTestCase(testtools.TestCase):

    def test_room(self):
        for room in (16, 128, math.inf):
            cloud.check_room(room, 16)

    def test_no_room(self):
        for room, says in ((15, 'try --writers 15'),
                           (0, 'no more than 0')):
            error = self.assertRaises(cloud.CloudError, cloud.check_room,
                                      room, 16)
            self.assertIn(says, str(error))


class CloudTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.patch(cloud, 'INTERVAL', 0)
        self.patch(cloud, 'PAUSES', (0, 0))
        self.said = []
        self.web = self.useFixture(fixture.Fixture())
        for service, version in (('compute', '2.1'), ('image', '2.9'),
                                 ('network', '2.0')):
            self.web.get(SERVICES[service], json={'version': {
                'id': f'v{version}', 'status': 'CURRENT', 'version': '2.96',
                'min_version': '2.1',
                'links': [{'rel': 'self', 'href': SERVICES[service]}]}})

    def connection(self, project='mine'):
        return connection.Connection(
            session=session.Session(auth=Auth(project)),
            **{f'{service}_endpoint_override': url
               for service, url in SERVICES.items()})

    def sent(self, method):
        """Return what was sent by a method, as (path, JSON)."""
        return [(request.path, request.json() if request.body else None)
                for request in self.web.request_history
                if request.method == method]

    def test_find(self):
        self.web.get(SERVER, json={'server': ACTIVE})
        self.assertEqual('one', cloud.find(self.connection(), 'one').id)

    def test_find_refuses(self):
        for project, server, says in (
                ('other', {}, 'not of the project'),
                # Nobody knows whose it is.
                (None, {}, 'not of the project'),
                ('mine', {'locked': True}, 'is locked'),
                ('mine', {'metadata': {'nova-meta-race-ab.0.1': 'new'}},
                 'nova-meta-race-ab.0.1')):
            self.web.get(SERVER, json={'server': {**ACTIVE, **server}})
            error = self.assertRaises(
                cloud.CloudError, cloud.find, self.connection(project), 'one')
            self.assertIn(says, str(error))

    def test_limit(self):
        for most, expected in ((128, 128), (-1, math.inf)):
            self.web.get(f'{SERVICES["compute"]}/limits', json={'limits': {
                'rate': [], 'absolute': {'maxServerMeta': most}}})
            self.assertEqual(expected, cloud.limit(self.connection()))

    def has(self, images=('small',), flavors=((1, 512, 1, 1),)):
        """Let there be images, and flavors of (ID, memory, vCPUs, disk)."""
        self.web.get(f'{SERVICES["image"]}images', json={'images': [
            {'id': name, 'name': name, 'min_ram': 256, 'min_disk': 1,
             'status': 'active'} for name in images]})
        self.web.get(f'{SERVICES["compute"]}/flavors/detail', json={
            'flavors': [{'id': str(number), 'ram': ram, 'vcpus': vcpus,
                         'disk': disk} for number, ram, vcpus, disk
                        in flavors]})

    def becomes(self, *servers):
        """Let a server be made that is in these states, and then gone."""
        self.web.post(f'{SERVICES["compute"]}/servers', status_code=202,
                      json={'server': {'id': 'one'}})
        self.web.get(f'{SERVICES["compute"]}/servers',
                     json={'servers': [{'id': 'one'}]})
        self.web.delete(SERVER, status_code=204)
        self.web.get(SERVER, [
            {'json': {'server': {**ACTIVE, **server}}} for server in servers
        ] + [{'status_code': 404}])

    def made(self, *args):
        return cloud.made(self.connection(), self.said.append, *args)

    def test_made(self):
        self.has(flavors=((1, 128, 1, 1), (2, 512, 2, 1), (3, 512, 1, 5),
                          (4, 512, 1, 0), (5, 256, 1, 5)))
        self.becomes({'status': 'BUILD'}, {}, {})
        with self.made() as server:
            self.assertEqual(('one', 'ACTIVE'), (server.id, server.status))
            self.assertEqual([], self.sent('DELETE'))
        [(_, sent)] = self.sent('POST')
        name = sent['server'].pop('name')
        self.assertTrue(name.startswith(cloud.PREFIX))
        self.assertEqual(
            [f'Making server {name}.', f'Deleting server {name}.'], self.said)
        self.assertIn({'name': [f'^{name}$']}, [
            request.qs for request in self.web.request_history])
        # The least memory and disk that the image asks for.
        self.assertEqual({'imageRef': 'small', 'flavorRef': '5',
                          'networks': 'none'}, sent['server'])
        self.assertEqual(['/compute/v2.1/servers/one'],
                         [path for path, _ in self.sent('DELETE')])

    def test_made_as_told(self):
        self.has(images=('small', 'large'))
        self.becomes({})
        self.web.get(f'{SERVICES["image"]}images/large', json={
            'id': 'large'})
        self.web.get(f'{SERVICES["compute"]}/flavors/7', json={
            'flavor': {'id': '7'}})
        self.web.get(f'{SERVICES["network"]}/networks/net', json={
            'network': {'id': 'net'}})
        with self.made('7', 'large', 'net'):
            pass
        [(_, sent)] = self.sent('POST')
        del sent['server']['name']
        self.assertEqual({'imageRef': 'large', 'flavorRef': '7',
                          'networks': [{'uuid': 'net'}]}, sent['server'])

    def test_not_made(self):
        for images, flavors, says in (
                (('a', 'b'), ((1, 512, 1, 1),), '2 images'),
                ((), ((1, 512, 1, 1),), '0 images'),
                (('a',), ((1, 128, 1, 1),), 'no flavor')):
            self.has(images, flavors)
            error = self.assertRaises(
                cloud.CloudError, self.made().__enter__)
            self.assertIn(says, str(error))
        self.assertEqual([], self.sent('POST'))

    def test_does_not_become_active(self):
        self.has()
        broken = {'status': 'ERROR', 'fault': {'message': 'No valid host'}}
        self.becomes(broken, broken, broken)
        error = self.assertRaises(
            cloud.CloudError, self.made().__enter__)
        self.assertIn('No valid host', str(error))
        self.assertEqual(1, len(self.sent('DELETE')))

    def test_deleted_if_interrupted(self):
        self.has()
        self.becomes({}, {})

        def interrupted():
            with self.made():
                raise KeyboardInterrupt()

        self.assertRaises(KeyboardInterrupt, interrupted)
        self.assertEqual(1, len(self.sent('DELETE')))

    def test_deleted_if_the_answer_is_lost(self):
        self.has()
        self.becomes({})
        self.web.post(f'{SERVICES["compute"]}/servers', status_code=504)
        self.assertRaises(exceptions.HttpException, self.made().__enter__)
        self.assertEqual(1, len(self.sent('DELETE')))

    def test_deleted_at_once(self):
        # Where Nova keeps it for a while.
        self.has()
        self.becomes({}, {}, {'status': 'SOFT_DELETED'})
        self.web.post(f'{SERVER}/action', status_code=202)
        with self.made():
            pass
        self.assertIn(('/compute/v2.1/servers/one/action',
                       {'forceDelete': None}), self.sent('POST'))

    def test_deleted_in_spite_of_hiccups(self):
        self.has()
        self.becomes({})
        self.web.delete(SERVER, [{'status_code': 503}, {'status_code': 204}])
        self.web.get(f'{SERVICES["compute"]}/servers', [
            {'exc': requests.exceptions.ConnectionError},
            {'json': {'servers': [{'id': 'one'}]}}])
        self.patch(cloud, 'PAUSES', (0, 0, 0))
        with self.made():
            pass
        self.assertEqual(2, len(self.sent('DELETE')))

    def test_not_deleted(self):
        self.has()
        self.becomes({})
        self.web.delete(SERVER, status_code=503)
        made = self.made()
        made.__enter__()
        self.assertRaises(exceptions.HttpException, made.__exit__,
                          None, None, None)

    def test_room_of_a_server(self):
        self.web.get(f'{SERVER}/metadata', json={'metadata': {'a': '1'}})
        self.web.get(SERVER, json={'server': ACTIVE})
        compute = self.connection().compute
        for whole, quota in ((False, 127), (True, 128)):
            self.assertEqual(quota, cloud.Metadata(
                compute, compute.get_server('one'), 128, whole).quota)

    def test_answer_of_a_proxy(self):
        for answer in ('null', '"slow down"', '[]', '<html>'):
            self.web.get(f'{SERVER}/metadata', text=answer, status_code=502)
            operation = cloud.Client(self.connection().compute, 'one',
                                     'mine.').list()
            self.assertEqual((502, None), (operation.status,
                                           operation.answer))

    def test_no_such_server(self):
        self.web.get(f'{SERVICES["compute"]}/servers/two', status_code=404)
        self.web.get(f'{SERVICES["compute"]}/servers/detail?name=two',
                     json={'servers': []})
        self.assertRaises(exceptions.NotFoundException, cloud.find,
                          self.connection(), 'two')
