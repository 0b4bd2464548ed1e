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

"""Upstream's validation of responses, as far as a release of it has any."""

from nova.api import validation


def response_body_schema(schemas, name):
    """Decorate a method whose answers are validated where upstream's are.

    :param schemas: a module of nova.api.openstack.compute.schemas
    :param name: of the schema there; before Nova 31 there was none for extra
        specs, and before Nova 33 none for server metadata
    """
    if not hasattr(schemas, name):
        return lambda method: method
    return validation.response_body_schema(getattr(schemas, name))
