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

A factory is named in api-paste.ini as nova-meta's own is. Those of the engine
are for a Nova with the series, too.
"""

import pkgutil

from oslo_utils import timeutils
import sqlalchemy as sa

from nova_meta.api import app
from nova_meta.api import server_metadata
from nova_meta.compute import api
from nova_meta.db import api as db_api
from nova_meta import delta
from nova_meta import etag
from nova_meta import exception
from nova_meta_lab import host
from nova_meta_lab import losing
from nova_meta_lab import orders
from nova_meta_lab import series

retry = series.module('nova_meta.db.retry')
swap = series.module('nova_meta.db.swap')
transaction = series.module('nova_meta.db.transaction')

serve = pkgutil.resolve_name(host.OURS)


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


class Replays(transaction._Transaction):
    """Makes a change again if the answer of its COMMIT was lost."""

    def may_retry(self, exc):
        return retry.is_connection_lost(exc) or super().may_retry(exc)


def replays(global_config, **local_config):
    transaction._Transaction = Replays
    return losing.factory(global_config, **local_config)


class SavesReplace(api.API):
    """Replaces by the difference to what it has read."""

    def update_instance_metadata(self, context, instance, metadata,
                                 delete=False, condition=etag.UNCONDITIONAL):
        if not delete:
            return super().update_instance_metadata(
                context, instance, metadata, delete, condition)
        read = self.get_instance_metadata(context, instance)
        db_api._transact(
            transaction.change_map, context, instance.uuid,
            db_api.INSTANCE_METADATA, delta.difference(read, metadata))
        return metadata


def saves_replace(global_config, **local_config):
    server_metadata.compute.API = SavesReplace
    return app.factory(global_config, **local_config)


def lock_alone(global_config, **local_config):
    """Lock the row of the server, and leave its version alone."""
    swap._compare_and_swap = (
        lambda connection, binding, identity, seen: timeutils.utcnow())
    return serve(global_config, **local_config)


def swap_alone(global_config, **local_config):
    """Compare and swap the version, without a lock.

    All happens within the second that the server was changed in before.
    """
    def read(connection, binding, identity):
        return connection.execute(
            sa.select(binding.version.label('version'), *binding.guards,
                      binding.identity.table.c.deleted)
            .where(binding.identity == identity)).one()

    swap._lock = read
    timeutils.set_time_override(orders.TOUCHED)
    return serve(global_config, **local_config)
