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

"""The extra specs of flavors."""

from nova.api.openstack import common
from nova.api.openstack.compute import flavors_extraspecs
from nova.api.openstack.compute.schemas import flavors_extraspecs as schema
from nova.api.openstack import wsgi
from nova.api import validation
from nova import exception
from nova.i18n import _
from nova.policies import flavor_extra_specs as fes_policies
from webob import exc

from nova_meta.api import validation as responses
from nova_meta.api import wsgi as conditional
from nova_meta import delta


class FlavorExtraSpecsController(
        conditional.Controller,
        flavors_extraspecs.FlavorExtraSpecsController):
    """Upstream's controller, with methods that write what was asked for.

    Upstream's methods write all extra specs, as they were read before.
    """

    @wsgi.expected_errors((400, 404, 409))
    @validation.schema(schema.create)
    @responses.response_body_schema(schema, 'create_response')
    def create(self, req, flavor_id, body):
        """Set extra specs."""
        context = req.environ['nova.context']
        context.can(fes_policies.POLICY_ROOT % 'create', target={})
        specs = body['extra_specs']
        self._check_extra_specs_value(req, specs)
        self._change(context, flavor_id, delta.merge(specs))
        return body

    @wsgi.expected_errors((400, 404, 409))
    @validation.schema(schema.update)
    @responses.response_body_schema(schema, 'update_response')
    def update(self, req, flavor_id, id, body):
        """Set one extra spec."""
        context = req.environ['nova.context']
        context.can(fes_policies.POLICY_ROOT % 'update', target={})
        self._check_extra_specs_value(req, body)
        if id not in body:
            raise exc.HTTPBadRequest(
                explanation=_('Request body and URI mismatch'))
        self._change(context, flavor_id, delta.merge(body))
        return body

    @wsgi.expected_errors((404, 409))
    @responses.response_body_schema(schema, 'delete_response')
    def delete(self, req, flavor_id, id):
        """Delete an extra spec; 404 if it is not there at that moment."""
        context = req.environ['nova.context']
        context.can(fes_policies.POLICY_ROOT % 'delete', target={})
        self._change(context, flavor_id, delta.remove(id))

    def _change(self, context, flavor_id, change):
        flavor = common.get_flavor(context, flavor_id)
        try:
            flavor.change_extra_specs(change, self.condition)
        except (exception.FlavorExtraSpecsNotFound,
                exception.FlavorNotFound) as e:
            raise exc.HTTPNotFound(explanation=e.format_message())
        except exception.FlavorExtraSpecUpdateCreateFailed as e:
            raise exc.HTTPConflict(explanation=e.format_message())
        self.written = flavor.extra_specs
