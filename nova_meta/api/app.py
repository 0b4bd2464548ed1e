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

"""What api-paste.ini names to switch nova-meta on.

This module imports little of Nova, so that on a release of Nova that has moved
things around it still gets to say what is wrong.
"""

from nova import version

from nova_meta import exception

# The major versions of Nova that nova-meta is tested with.
OLDEST, NEWEST = 31, 34


def factory(global_config, **local_config):
    """Make the compute API application: a paste app factory.

    :returns: a WSGI application, upstream's with some routes replaced
    :raises: UnsupportedNova if this is a Nova that nova-meta does not know
    """
    check_nova_version()
    from nova_meta.api import routes
    return routes.APIRouter.factory(global_config, **local_config)


def check_nova_version():
    """Refuse a Nova that nova-meta was not tested with.

    :raises: UnsupportedNova
    """
    found = version.version_string()
    if not OLDEST <= int(found.split('.')[0]) <= NEWEST:
        raise exception.UnsupportedNova(found=found, oldest=OLDEST,
                                        newest=NEWEST)
