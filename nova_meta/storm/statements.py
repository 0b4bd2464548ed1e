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

"""Count the SQL statements and transactions of each call; its own program.

Loads nova-api into its own process, so OS_NOVA_CONFIG_DIR has to be set and
there are no arguments: the server's UUID is read from standard input. Prints
JSON: {call: {"statements": of both databases,
"commits": of those that wrote}}.
"""

import json
import sys

from nova.wsgi import osapi_compute
from sqlalchemy import engine
from sqlalchemy import event
import webob

from nova_meta.storm import client

TEN = {f'key {n}': 'old' for n in range(10)}

# Each call with what the server has before: a change in every case.
CALLS = {
    'GET': ({}, 'GET', '', None),
    'POST': (TEN, 'POST', '', {'metadata': {'key 0': 'new'}}),
    'POST, new key': (TEN, 'POST', '', {'metadata': {'new': 'new'}}),
    'PUT item': (TEN, 'PUT', '/key%200', {'meta': {'key 0': 'new'}}),
    'PUT, 10 changed, 1 removed': (
        {**TEN, 'more': 'old'}, 'PUT', '',
        {'metadata': dict.fromkeys(TEN, 'new')}),
    'DELETE': (TEN, 'DELETE', '/key%200', None),
}


class Counter:
    """Counts what goes to any database."""

    def __init__(self):
        self.statements = self.commits = 0
        self._wrote = set()
        event.listen(engine.Engine, 'before_cursor_execute', self._executed)
        event.listen(engine.Engine, 'commit', self._committed)

    def _executed(self, connection, cursor, statement, parameters, context,
                  executemany):
        verb = statement.split()[0].upper()
        # The drivers make one statement of the rows of an INSERT, and one for
        # each row of anything else.
        self.statements += (len(parameters) if executemany and
                            verb != 'INSERT' else 1)
        if verb != 'SELECT':
            self._wrote.add(id(connection))

    def _committed(self, connection):
        if id(connection) in self._wrote:
            self.commits += 1
        self._wrote.discard(id(connection))


def send(server, method, path, body):
    request = webob.Request.blank(
        f'/v2.1/servers/{server}/metadata{path}', method=method,
        headers=client.HEADERS)
    if body is not None:
        request.body = json.dumps(body).encode()
    response = request.get_response(osapi_compute.application)
    if response.status_int not in (200, 204):
        raise RuntimeError(f'{method} {path}: {response.text}')


def main():
    server = sys.stdin.read()
    # Whatever is done only once is done here.
    send(server, 'PUT', '', {'metadata': TEN})
    counts = {}
    counter = Counter()
    for name, (before, method, path, body) in CALLS.items():
        send(server, 'PUT', '', {'metadata': before})
        counter.statements = counter.commits = 0
        send(server, method, path, body)
        counts[name] = {'statements': counter.statements,
                        'commits': counter.commits}
    json.dump(counts, sys.stdout)


if __name__ == '__main__':
    main()
