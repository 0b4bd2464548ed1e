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

"""Conditional requests: ETag, If-Match and If-None-Match.

A controller answers with a map, or with one item if the route has an ``id``.
This module reads the headers of the request and makes those of the answer. It
decides a condition on a read. A condition on a change is decided in the
transaction of the change, see :mod:`nova_meta.db.transaction`.
"""

import copy
import types

from nova.api.openstack import wsgi
import webob
from webob import exc

from nova_meta import etag
from nova_meta import exception

# A cache may keep the answer, and must ask each time whether it still holds.
REVALIDATE = {'Cache-Control': 'no-cache'}


class Fault(wsgi.Fault):
    """Upstream's, with a name for 412."""

    _fault_names = {**wsgi.Fault._fault_names, 412: 'preconditionFailed'}


class Controller:
    """Mixed into a controller whose answers have entity tags.

    Each request has its own copy of the controller, since upstream's methods
    do not pass the request on to those that write.

    :ivar condition: the :class:`nova_meta.etag.Condition` of the request
    :ivar written: the map after a change, if the answer has a part only
    """

    condition = etag.UNCONDITIONAL
    written = None


class Resource(wsgi.Resource):
    """Upstream's, for a :class:`Controller`."""

    def dispatch(self, method, request, action_args):
        condition = etag.Condition.of(etag.of(action_args.get('id')),
                                      request.headers.get('If-Match'),
                                      request.headers.get('If-None-Match'))
        controller = copy.copy(self.controller)
        controller.condition = condition
        try:
            answer = super().dispatch(
                types.MethodType(method.__func__, controller), request,
                action_args)
        except exception.PreconditionFailed as error:
            raise precondition_failed(error.kwargs['etag'])
        if type(answer) is not dict:
            return answer
        answer = in_order(answer)
        tag = condition.tag(pairs_of(answer) if controller.written is None
                            else controller.written)
        if request.method != 'GET':
            if (request.method == 'PUT' and
                    tag != condition.tag(pairs_of(answer))):
                # What was written is not what was sent, a number for example:
                # RFC 9110, section 9.3.4.
                tag = None
            return wsgi.ResponseObject(answer, headers=header(tag))
        if not condition.matches(tag):
            raise precondition_failed(tag)
        if not condition.is_news(tag):
            return not_modified(tag)
        return wsgi.ResponseObject(answer, headers=header(tag) | REVALIDATE)


def pairs_of(answer):
    """Return the map, or the one item as a map, that an answer consists of.

    It is wrapped, as {"metadata": {...}} or {"meta": {...}}, or not, as an
    item of the extra specs.
    """
    value, = answer.values()
    return value if isinstance(value, dict) else answer


def in_order(answer):
    """Return the answer with its keys sorted.

    Equal strong tags mean equal bytes, and rows are read in the order in which
    they were inserted.
    """
    return {name: in_order(value) if isinstance(value, dict) else value
            for name, value in sorted(answer.items())}


def header(tag):
    """Return the ETag header, as a dict; empty if there is no tag."""
    return {} if tag is None else {'ETag': f'"{tag}"'}


def precondition_failed(tag):
    """Return the 412, with the tag of what is there."""
    return Fault(exc.HTTPPreconditionFailed(
        explanation=exception.PreconditionFailed().format_message(),
        headers=header(tag)))


def not_modified(tag):
    """Return the 304."""
    response = webob.Response(status=304, headers=header(tag) | REVALIDATE)
    # It has no body.
    del response.content_type
    return response
