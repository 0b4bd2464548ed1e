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

"""The routes of the compute API, some of them to other controllers."""

from nova.api.openstack.compute import routes

from nova_meta.api import flavors_extraspecs
from nova_meta.api import server_metadata
from nova_meta.api import wsgi

# Upstream's controller factories, and the classes that replace them.
REPLACED = {
    routes.flavor_extraspec_controller:
        flavors_extraspecs.FlavorExtraSpecsController,
    routes.server_metadata_controller:
        server_metadata.ServerMetadataController,
}


class APIRouter(routes.APIRouterV21):
    """Upstream's router with the routes of these controllers replaced."""

    def __init__(self, custom_routes=None):
        super().__init__(custom_routes)
        matchlist = self.map.matchlist
        upstream = list(matchlist)
        self._connect_replaced()
        # The first match wins, and upstream appends custom_routes last. It has
        # no way to replace a controller.
        matchlist[:] = matchlist[len(upstream):] + upstream

    def _connect_replaced(self):
        resources = {factory: wsgi.Resource(controller())
                     for factory, controller in REPLACED.items()}
        for path, methods in routes.ROUTE_LIST:
            if isinstance(methods, str):
                continue
            for method, (factory, action) in methods.items():
                if factory in resources:
                    self.map.create_route(path, method, resources[factory],
                                          action)
