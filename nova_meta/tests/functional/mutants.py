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

"""nova-meta with faults, for tests that have to see them.

A factory is named in api-paste.ini as nova-meta's own is.
"""

from nova_meta.api import app
from nova_meta.api import server_metadata
from nova_meta.compute import api
from nova_meta import etag
from nova_meta import exception


def path_of(factory):
    """Return what api-paste.ini calls a factory."""
    return f'{factory.__module__}:{factory.__name__}'


class CheckedBefore(api.API):
    """Looks at the condition before the transaction, not in it."""

    def update_instance_metadata(self, context, instance, metadata,
                                 delete=False, condition=etag.UNCONDITIONAL):
        if not condition.holds(condition.tag(
                self.get_instance_metadata(context, instance))):
            raise exception.PreconditionFailed(etag=None)
        return super().update_instance_metadata(context, instance, metadata,
                                                delete)


def checked_before(global_config, **local_config):
    server_metadata.compute.API = CheckedBefore
    return app.factory(global_config, **local_config)


class MergesReplace(api.API):
    """Replaces all metadata by what should be merged."""

    def update_instance_metadata(self, context, instance, metadata,
                                 delete=False, condition=etag.UNCONDITIONAL):
        return super().update_instance_metadata(context, instance, metadata,
                                                True, condition)


def merges_replace(global_config, **local_config):
    server_metadata.compute.API = MergesReplace
    return app.factory(global_config, **local_config)
