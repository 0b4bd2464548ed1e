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

"""An HTTP client of the metadata calls that remembers what it was told."""

import http.client
import json
import time
import urllib.parse

from nova_meta.storm import history

USER, PROJECT = 'a' * 32, 'b' * 32

HEADERS = {
    'Content-Type': 'application/json',
    # What Keystone's middleware would set.
    'X-User-Id': USER,
    'X-Project-Id': PROJECT,
    'X-Roles': 'member,reader',
}
TIMEOUT = 120


class Client:
    """One client; one request at a time.

    :param url: the base URL of the compute API
    :param server: the server's UUID
    :param headers: further headers of each request
    """

    def __init__(self, url, server, headers=None):
        self.headers = dict(headers or {})
        self._url = urllib.parse.urlsplit(url)
        self._path = f'{self._url.path}/servers/{server}/metadata'
        self.operations = []

    def list(self):
        return self._do(history.LIST, 'GET')

    def show(self, key):
        return self._do(history.SHOW, 'GET', key=key)

    def merge(self, pairs):
        return self._do(history.MERGE, 'POST', pairs=pairs)

    def replace(self, pairs):
        return self._do(history.REPLACE, 'PUT', pairs=pairs)

    def set(self, key, value):
        return self._do(history.SET, 'PUT', key=key, pairs={key: value})

    def delete(self, key):
        return self._do(history.DELETE, 'DELETE', key=key)

    def _do(self, call, method, key=None, pairs=None):
        """Send a request.

        :returns: a :class:`nova_meta.storm.history.Operation`
        """
        path, body = self._path, None
        if key is not None:
            path += '/' + urllib.parse.quote(key, safe='')
        if pairs is not None:
            body = json.dumps({'metadata' if key is None else 'meta': pairs})
        begun = time.monotonic()
        try:
            status, etag, answer = self._send(method, path, body)
        except (OSError, http.client.HTTPException):
            status, etag, answer = None, None, {}
        operation = history.Operation(
            call=call, key=key, pairs=pairs, status=status,
            answer=answer.get('metadata', answer.get('meta')),
            begun=begun, ended=time.monotonic(), etag=etag)
        self.operations.append(operation)
        return operation

    def _send(self, method, path, body):
        connection = http.client.HTTPConnection(
            self._url.hostname, self._url.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body=body,
                               headers={**HEADERS, **self.headers})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return (response.status, response.getheader('ETag'),
                json.loads(text) if text else {})
