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
from nova.api.openstack import wsgi
from nova.api import validation
from nova import exception
from nova.policies import flavor_extra_specs as fes_policies
from webob import exc

from nova_meta.api import server_metadata


class FlavorExtraSpecsController(
        flavors_extraspecs.FlavorExtraSpecsController):
    """Upstream's controller, on a flavor that writes what was changed."""

    def _check_extra_specs_value(self, req, specs):
        super()._check_extra_specs_value(req, specs)
        # They are to be written even if they seem to be there: a node of a
        # cluster that was read from may not know yet that they are not.
        req.environ['nova.context'].extra_specs = specs

    # Upstream's looks for the key in what it has read before.
    @wsgi.expected_errors((404, 409))
    @validation.response_body_schema(server_metadata.DELETE_RESPONSE)
    def delete(self, req, flavor_id, id):
        """Delete an extra spec; 404 if it is not there at that moment."""
        context = req.environ['nova.context']
        context.can(fes_policies.POLICY_ROOT % 'delete', target={})
        flavor = common.get_flavor(context, flavor_id)
        try:
            flavor.delete_extra_spec(id)
        except (exception.FlavorExtraSpecsNotFound,
                exception.FlavorNotFound) as e:
            raise exc.HTTPNotFound(explanation=e.format_message())
        except exception.FlavorExtraSpecUpdateCreateFailed as e:
            raise exc.HTTPConflict(explanation=e.format_message())
