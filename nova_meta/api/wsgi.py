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

They are the business of no controller, which answers with a map, or with an
item of it if the route has an ``id``, and of no schema. Whether a condition
allows a change is decided where the change is made; it gets there with the
request context.
"""

from nova.api.openstack import wsgi
import webob
from webob import exc

from nova_meta import etag
from nova_meta import exception


# A cache may keep the answer, and has to ask each time whether it still holds.
REVALIDATE = {'Cache-Control': 'no-cache'}


class Fault(wsgi.Fault):
    """Upstream's, with a name for 412."""

    _fault_names = {**wsgi.Fault._fault_names, 412: 'preconditionFailed'}


class Resource(wsgi.Resource):
    """Upstream's, for controllers whose answers have entity tags."""

    def dispatch(self, method, request, action_args):
        condition = etag.Condition.of(etag.of(action_args.get('id')),
                                      request.headers.get('If-Match'),
                                      request.headers.get('If-None-Match'))
        context = request.environ['nova.context']
        context.condition, context.written = condition, None
        try:
            answer = super().dispatch(method, request, action_args)
        except exception.PreconditionFailed as error:
            raise precondition_failed(error.kwargs['etag'])
        if type(answer) is not dict:
            return answer
        answer = in_order(answer)
        # The answer to a change may have no more than what was asked for.
        tag = condition.tag(pairs_of(answer) if context.written is None
                            else context.written)
        if request.method != 'GET':
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
    """Return the answer with its keys sorted: a strong tag stands for bytes.

    The rows that it is made of come in the order that they were written.
    """
    return {name: in_order(value) if isinstance(value, dict) else value
            for name, value in sorted(answer.items())}


def header(tag):
    return {} if tag is None else {'ETag': f'"{tag}"'}


def precondition_failed(tag):
    """Return the 412, with the tag of what is there."""
    message = exception.PreconditionFailed().format_message()
    return Fault(exc.HTTPPreconditionFailed(explanation=message,
                                            headers=header(tag)))


def not_modified(tag):
    response = webob.Response(status=304, headers=header(tag) | REVALIDATE)
    # There is no body that could have one.
    del response.content_type
    return response
