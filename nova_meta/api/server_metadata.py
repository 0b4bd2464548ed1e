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

"""The server metadata API."""

import contextlib
import functools

from nova.api.openstack import common
from nova.api.openstack.compute.schemas import server_metadata as schemas
from nova.api.openstack.compute import server_metadata
from nova.api.openstack import wsgi
from nova import exception as nova_exception
from nova.policies import server_metadata as sm_policies
from webob import exc

from nova_meta.api import validation
from nova_meta.api import wsgi as conditional
from nova_meta.compute import api as compute
from nova_meta import exception

UPSTREAM = server_metadata.ServerMetadataController


@contextlib.contextmanager
def _faults(server_id, action):
    """Make HTTP errors of the errors of the compute API."""
    try:
        yield
    except (exception.MetadataItemNotFound,
            nova_exception.InstanceNotFound) as e:
        raise exc.HTTPNotFound(explanation=e.format_message())
    except nova_exception.OverQuota as e:
        raise exc.HTTPForbidden(explanation=e.format_message())
    except (exception.MetadataUpdateConflict,
            nova_exception.InstanceIsLocked) as e:
        raise exc.HTTPConflict(explanation=e.format_message())
    except nova_exception.InstanceInvalidState as e:
        common.raise_http_conflict_for_instance_invalid_state(
            e, action, server_id)


def _not_found_first(method):
    """Decorate a method that may refuse before it has looked for the server.

    Upstream has loaded the server by then, and says 404 if it is gone.
    """
    @functools.wraps(method)
    def call(self, req, server_id, *args, **kwargs):
        try:
            return method(self, req, server_id, *args, **kwargs)
        except (nova_exception.PolicyNotAuthorized, exc.HTTPBadRequest):
            self._require_server(req, server_id)
            raise

    return call


class ServerMetadataController(conditional.Controller, UPSTREAM):
    """Upstream's controller, on a compute API that loses no update."""

    def __init__(self):
        super().__init__()
        self.compute_api = compute.API()

    index = _not_found_first(UPSTREAM.index)
    show = _not_found_first(UPSTREAM.show)
    create = _not_found_first(UPSTREAM.create)
    update = _not_found_first(UPSTREAM.update)
    update_all = _not_found_first(UPSTREAM.update_all)

    @wsgi.expected_errors(404)
    def _require_server(self, req, server_id):
        context = req.environ['nova.context']
        server = common.get_instance(self.compute_api, context, server_id)
        if not compute.is_loaded(server):
            self._get_metadata(context, server)

    def _get_metadata(self, context, server):
        with _faults(server.uuid, 'get metadata'):
            return self.compute_api.get_instance_metadata(context, server)

    def _update_instance_metadata(self, context, server, metadata, delete):
        with _faults(server.uuid, 'update metadata'):
            return self.compute_api.update_instance_metadata(
                context, server, metadata, delete, self.condition)

    # Upstream's looks for the key in a read of its own, before the delete.
    @_not_found_first
    @wsgi.expected_errors((404, 409))
    @wsgi.response(204)
    @validation.response_body_schema(schemas, 'delete_response')
    def delete(self, req, server_id, id):
        """Delete a metadata item; 404 if it is not there at that moment."""
        context = req.environ['nova.context']
        server = common.get_instance(self.compute_api, context, server_id)
        context.can(sm_policies.POLICY_ROOT % 'delete',
                    target={'project_id': server.project_id})
        with _faults(server_id, 'delete metadata'):
            self.compute_api.delete_instance_metadata(context, server, id,
                                                      self.condition)
