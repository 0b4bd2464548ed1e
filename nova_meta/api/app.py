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

"""The paste app factories, which api-paste.ini names to activate nova-meta.

What needs Nova is imported after the release of Nova has been checked. So on a
release that has moved things, the log says what is wrong.
"""

from oslo_log import log as logging

from nova_meta import release

LOG = logging.getLogger(__name__)


def factory(global_config, **local_config):
    """Make the compute API application: a paste app factory.

    :returns: a WSGI application, upstream's with some routes replaced
    :raises: UnsupportedNova if this is a Nova that nova-meta does not know
    """
    release.check()
    from nova_meta.api import routes
    import nova_meta.objects  # noqa: F401
    LOG.info('nova-meta is active in the compute API.')
    return routes.APIRouter.factory(global_config, **local_config)


def metadata_factory(global_config, **local_config):
    """Make the metadata API application: a paste app factory.

    :returns: a WSGI application, upstream's; it saves nova-meta's objects
    :raises: UnsupportedNova if this is a Nova that nova-meta does not know
    """
    release.check()
    from nova.api.metadata import handler
    import nova_meta.objects  # noqa: F401
    LOG.info('nova-meta is active in the metadata API.')
    return handler.MetadataRequestHandler.factory(global_config,
                                                  **local_config)
