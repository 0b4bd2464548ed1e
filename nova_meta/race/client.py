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

"""HTTP clients of the calls, which remember what they were told."""

import http.client
import json
import time
import urllib.parse

from nova_meta import etag as tags
from nova_meta.race import history

USER, PROJECT = 'a' * 32, 'b' * 32
# What the servers of a private Nova are made of.
FLAVOR = '1'
IMAGE = '11111111-1111-4111-8111-111111111111'

HEADERS = {
    'Content-Type': 'application/json',
    # What Keystone's middleware would set.
    'X-User-Id': USER,
    'X-Project-Id': PROJECT,
    'X-Roles': 'member,reader',
}
TIMEOUT = 120


class Client:
    """One client of a map; one request at a time.

    :param url: the base URL of the compute API
    :param name: the ID of what has the map
    :param headers: further headers of each request
    :ivar answered: the headers of the last answer
    """

    # Where it is, and what bodies call all of it and one item.
    path = whole = item = None

    def __init__(self, url, name, headers=None):
        self.headers = {**HEADERS, **(headers or {})}
        self._url = urllib.parse.urlsplit(url)
        self._path = self._url.path + self.path.format(name)
        self.operations = []
        self.answered = {}

    def list(self):
        return self._do(history.LIST, 'GET')

    def show(self, key):
        return self._do(history.SHOW, 'GET', key=key)

    def merge(self, pairs):
        return self._do(history.MERGE, 'POST', pairs=pairs)

    def set(self, key, value):
        return self._do(history.SET, 'PUT', key=key, pairs={key: value})

    def delete(self, key):
        return self._do(history.DELETE, 'DELETE', key=key)

    def _do(self, call, method, key=None, pairs=None):
        """Send a request.

        :returns: a :class:`nova_meta.race.history.Operation`
        """
        path, body = self._path, None
        if key is not None:
            path += '/' + urllib.parse.quote(self._key(key), safe='')
        if pairs is not None:
            body = json.dumps(self._body(key, pairs))
        begun = time.monotonic()
        try:
            status, etag, answer = self._send(method, path, body)
        except (OSError, http.client.HTTPException):
            status, etag, answer = None, None, {}
        operation = history.Operation(
            call=call, key=key, pairs=pairs, status=status,
            answer=self._pairs(key, answer),
            begun=begun, ended=time.monotonic(), etag=etag,
            condition=self._condition(key))
        self.operations.append(operation)
        return operation

    def _condition(self, key):
        headers = [self.headers.get(name)
                   for name in ('If-Match', 'If-None-Match')]
        return tags.Condition.of(tags.of(key), *headers) if any(
            headers) else None

    def _key(self, key):
        return key

    def _body(self, key, pairs):
        return {self.whole if key is None else self.item: pairs}

    def _pairs(self, key, answer):
        return answer.get(self.whole if key is None else self.item)

    def _send(self, method, path, body):
        connection = http.client.HTTPConnection(
            self._url.hostname, self._url.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body=body,
                               headers=self.headers)
            response = connection.getresponse()
            self.answered = response.headers
            text = response.read()
        finally:
            connection.close()
        return (response.status, response.getheader('ETag'),
                json.loads(text) if text else {})


class MetadataClient(Client):
    """One client of a server's metadata."""

    path = '/servers/{}/metadata'
    whole, item = 'metadata', 'meta'

    def replace(self, pairs):
        return self._do(history.REPLACE, 'PUT', pairs=pairs)


class ExtraSpecsClient(Client):
    """One client of a flavor's extra specs, an administrator."""

    path = '/flavors/{}/os-extra_specs'
    whole = 'extra_specs'

    def __init__(self, url, name, headers=None):
        super().__init__(url, name, {'X-Roles': 'admin', **(headers or {})})

    def merge(self, pairs):
        # The answer has the given specs only.
        return self._do(history.SET, 'POST', pairs=pairs)

    def _body(self, key, pairs):
        return pairs if key else super()._body(key, pairs)

    def _pairs(self, key, answer):
        return answer if key else super()._pairs(key, answer)
