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

"""What a request leaves behind: nothing."""

import copy
from unittest import mock

from nova.api.openstack import wsgi as upstream
from nova import context as nova_context
from oslo_config import cfg
import testtools

from nova_meta.api import wsgi
from nova_meta import etag


class Controller(wsgi.Controller):
    """Keeps what it was given, and has written a map."""

    seen = []

    def create(self, req):
        self.seen.append(bool(self.condition))
        self.written = {'a': '1', 'b': '2'}
        return {'metadata': {'a': '1'}}

    def show(self, req):
        return {'metadata': {'a': '1'}}


class DispatchTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        cfg.CONF([], project='nova', default_config_files=[],
                 default_config_dirs=[])
        self.addCleanup(cfg.CONF.reset)
        self.controller = Controller()
        self.controller.seen = []
        self.resource = wsgi.Resource(self.controller)
        self.context = nova_context.RequestContext('user', 'project')

    def dispatch(self, action, method='POST', context=None, **headers):
        request = upstream.Request.blank('/', method=method, headers=headers)
        request.environ['nova.context'] = context or self.context
        return self.resource.dispatch(getattr(self.controller, action),
                                      request, {})

    def test_condition_is_of_one_request(self):
        self.dispatch('create', **{'If-Match': '"tag"'})
        for context in (self.context, copy.copy(self.context),
                        self.context.elevated()):
            self.dispatch('create', context=context)
        self.assertEqual([True, False, False, False], self.controller.seen)
        self.assertIs(etag.UNCONDITIONAL, self.controller.condition)

    def test_tag_is_of_one_request(self):
        written = etag.of_map({'a': '1', 'b': '2'})
        self.assertEqual({'ETag': f'"{written}"'},
                         self.dispatch('create').headers)
        shown = etag.of_map({'a': '1'})
        self.assertEqual(f'"{shown}"',
                         self.dispatch('show', 'GET').headers['ETag'])
        self.assertIsNone(self.controller.written)

    def test_context_stays_as_it_is(self):
        before = dict(vars(self.context))
        self.dispatch('create', **{'If-Match': '"tag"'})
        self.assertEqual(before, vars(self.context))

    def test_requests_at_once(self):
        def create(controller, req):
            # Another request comes in between.
            if controller.condition:
                self.dispatch('create')
                self.assertTrue(controller.condition)
            self.controller.seen.append(bool(controller.condition))
            return {'metadata': {}}

        with mock.patch.object(Controller, 'create', create):
            self.dispatch('create', **{'If-Match': '"tag"'})
        self.assertEqual([False, True], self.controller.seen)
