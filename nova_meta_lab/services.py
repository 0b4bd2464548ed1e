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

"""What the clients of a cloud find beside Nova, as little as they ask for.

Keystone lets in everybody whose password is right, Glance has an image,
Neutron has nothing. Requests to Nova go on to nova-api, with the headers that
Keystone's middleware would have set.
"""

import contextlib
import http.client
import http.server
import json
import threading
import urllib.parse

from nova_meta.race import client

PASSWORD = 'secret'
ROLES = {'user': 'member,reader', 'admin': 'admin,member,reader'}
DISCOVERY = {'status': 'CURRENT', 'updated': '2013-07-23T11:33:21Z'}


class Services(http.server.ThreadingHTTPServer):
    """All of them, at one URL.

    Set ``nova`` to the URL of nova-api, as :meth:`host.Host.serve` returns it.
    """

    daemon_threads = True
    # As many clients as a workload has.
    request_queue_size = 100
    nova = None

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server_port}'

    @contextlib.contextmanager
    def running(self):
        with self:
            thread = threading.Thread(target=self.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self.shutdown()
                thread.join()

    @property
    def nova_options(self):
        """What Nova has to know, as options of :class:`host.Host`."""
        return {service: {'endpoint_override': f'{self.url}/{path}'}
                for service, path in (('neutron', 'network'),
                                      ('glance', 'image'))}

    def environment(self, user='user', project=client.PROJECT):
        """Return what clients have to know, as environment variables.

        :param user: one of ROLES
        :param project: the ID of the one that the user acts in
        """
        return {'OS_AUTH_URL': f'{self.url}/identity/v3',
                'OS_USERNAME': user, 'OS_PASSWORD': PASSWORD,
                'OS_USER_DOMAIN_ID': 'default', 'OS_PROJECT_ID': project,
                'OS_IDENTITY_API_VERSION': '3', 'OS_REGION_NAME': 'region'}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a request."""

    def answer(self):
        length = int(self.headers.get('Content-Length', 0))
        body = self.rfile.read(length) if length else None
        path = urllib.parse.urlsplit(self.path).path.rstrip('/')
        _, service, rest = (path + '//').split('/', 2)
        status, headers, answer = getattr(self, service)(
            rest.strip('/'), body)
        if not isinstance(answer, bytes):
            answer = json.dumps(answer).encode()
            headers = {'Content-Type': 'application/json', **headers}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def identity(self, path, body):
        if path == 'v3':
            return 200, {}, {'version': {
                **DISCOVERY, 'id': 'v3.14', 'status': 'stable',
                'links': [self.link('identity/v3')]}}
        request = json.loads(body)['auth']
        user = request['identity']['password']['user']
        if user['password'] != PASSWORD:
            return 401, {}, {'error': {'code': 401, 'message': 'Wrong.'}}
        project = request['scope']['project']['id']
        token = f'{project} {user["name"]}'
        return 201, {'X-Subject-Token': token}, {'token': {
            'methods': ['password'], 'issued_at': '2026-01-01T00:00:00.0Z',
            'expires_at': '2999-01-01T00:00:00.0Z',
            'user': {'id': client.USER, 'name': 'user',
                     'domain': {'id': 'default', 'name': 'Default'}},
            'project': {'id': project, 'name': 'project',
                        'domain': {'id': 'default', 'name': 'Default'}},
            'roles': [{'id': 'member', 'name': 'member'}],
            'catalog': [{'id': name, 'type': name, 'name': name, 'endpoints': [
                {'id': name, 'interface': 'public', 'region': 'region',
                 'region_id': 'region',
                 'url': f'{self.server.url}/{name}{version}'}]}
                for name, version in (('compute', '/v2.1'), ('image', ''),
                                      ('network', ''), ('identity', '/v3'))]}}

    def image(self, path, body):
        image = {
            'id': client.IMAGE, 'name': 'image', 'status': 'active', 'size': 1,
            'min_ram': 0, 'min_disk': 0, 'visibility': 'public',
            'container_format': 'bare', 'disk_format': 'raw', 'tags': [],
            'checksum': None, 'owner': client.PROJECT, 'protected': False,
            'created_at': '2026-01-01T00:00:00Z',
            'updated_at': '2026-01-01T00:00:00Z'}
        if path.startswith('v2/images/'):
            return 200, {}, image
        if path == 'v2/schemas/image':
            return 200, {}, {'name': 'image', 'properties': {
                name: {} for name in image}}
        return 200, {}, {'versions': [{
            **DISCOVERY, 'id': 'v2.9', 'links': [self.link('image/v2')]}]}

    def network(self, path, body):
        if path in ('', 'v2.0'):
            return 200, {}, {'versions': [{
                **DISCOVERY, 'id': 'v2.0',
                'links': [self.link('network/v2.0')]}]}
        name = path.rpartition('/')[2].replace('-', '_')
        return 200, {}, {name: []}

    def compute(self, path, body):
        project, _, user = self.headers.get('X-Auth-Token', '').partition(' ')
        nova = urllib.parse.urlsplit(self.server.nova)
        query = urllib.parse.urlsplit(self.path).query
        connection = http.client.HTTPConnection(
            nova.hostname, nova.port, timeout=client.TIMEOUT)
        with contextlib.closing(connection):
            connection.request(
                self.command, f'/{path}' + (f'?{query}' if query else ''),
                body=body, headers={
                    **{name: value for name, value in self.headers.items()
                       if name != 'Connection'},
                    **client.HEADERS, 'X-Project-Id': project,
                    'X-Roles': ROLES.get(user, '')})
            response = connection.getresponse()
            answer = response.read()
        return response.status, {
            name: value for name, value in response.getheaders()
            if name.lower() not in ('connection', 'content-length')
        }, answer

    def link(self, path):
        return {'rel': 'self', 'href': f'{self.server.url}/{path}'}

    def log_message(self, *args):
        pass
