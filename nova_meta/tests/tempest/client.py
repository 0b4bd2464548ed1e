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

"""Clients at once, with the credentials of tempest."""

import concurrent.futures
import json
import math
import threading

from tempest import config

from nova_meta.race import client
from nova_meta.race import judge
from nova_meta.race import workload

CONF = config.CONF


class ThroughTempest:
    """Makes a client send by one of tempest's.

    :param rest: a tempest.lib.common.rest_client.RestClient
    :param name: the ID of what has the map
    :param headers: further headers of each request
    """

    def __init__(self, rest, name, headers=None):
        super().__init__('', name)
        self.headers = {'Content-Type': 'application/json',
                        **(headers or {})}
        self._rest = rest

    def _send(self, method, path, body):
        # Not by its get(), put() and so on: they raise what is looked for.
        url, headers, body = self._rest.auth_provider.auth_request(
            method, path, dict(self.headers), body, self._rest.filters)
        response, text = self._rest.raw_request(url, method, headers=headers,
                                                body=body)
        return (response.status, response.get('etag'),
                json.loads(text) if text else {})


class MetadataClient(ThroughTempest, client.MetadataClient):
    """One client of a server's metadata."""


class ExtraSpecsClient(ThroughTempest, client.ExtraSpecsClient):
    """One client of a flavor's extra specs."""


class ThroughAPI:
    """One map of a cloud, read and prepared by its API.

    :param make: makes a client; called with further headers, or without
    :param quota: how many items there may be
    """

    def __init__(self, make, quota=math.inf):
        self._make = make
        self.quota = quota

    def client(self, number):
        return self._make()

    def prepare(self, pairs):
        one = self._make()
        for key in one.list().answer:
            one.delete(key)
        if pairs:
            one.merge(pairs)

    def rows(self):
        return list(self._make().list().answer.items())


class Concurrent:
    """What a test case needs to let clients race.

    It has ``make(headers)``, which makes a client.
    """

    quota = math.inf

    @classmethod
    def skip_unless(cls, feature, what):
        """Skip the tests in a cloud without a feature.

        :param what: says in a sentence what this cloud lacks
        """
        if not getattr(CONF.nova_meta_feature_enabled, feature):
            raise cls.skipException(f'{what} [nova_meta-feature-enabled]/'
                                    f'{feature} is not set.')

    def play(self, one):
        """Play a workload; nothing must be wrong in the end.

        :param one: a :class:`nova_meta.race.workload.Workload`
        """
        player = workload.Player(ThroughAPI(self.make, self.quota))
        result = sum((player.play(one, CONF.nova_meta.clients)
                      for _ in range(CONF.nova_meta.rounds)), judge.Result())
        self.assertEqual({}, dict(+result.faults), result.statuses)
        self.assertEqual(0, result.errors, result.statuses)
        self.assertGreater(result.acknowledged, 0)

    def together(self, send, headers=None):
        """Let all clients send a request at once.

        :param send: called with a client and its number, returns an operation
        :returns: the sorted statuses of the answers
        """
        count = CONF.nova_meta.clients
        barrier = threading.Barrier(count)

        def run(number):
            one = self.make(headers)
            barrier.wait()
            return send(one, number).status

        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return sorted(pool.map(run, range(count)))

    def one_of(self, status):
        """Return the statuses if one client wins and the others get 412."""
        return [status] + [412] * (CONF.nova_meta.clients - 1)
