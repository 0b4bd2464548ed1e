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

"""The limit of metadata_items, as upstream's database driver finds it.

Upstream reads the limits of all resources, and those of the classes twice: six
statements, ten with a quota class. Here one resource is read, from each
database once.
"""

import sys

from nova.db.api import api as api_db_api
from nova.db.api import models as api_models
from nova.db.main import api as main_db_api
from nova.db.main import models as main_models
from nova.db.utils import require_context
import sqlalchemy as sa

from nova_meta import conf

CONF = conf.CONF

RESOURCE = 'metadata_items'

# What a limit may be set for: the model, and the parameter that each column
# equals.
SCOPES = {
    'user': ('ProjectUserQuota', {'project_id': 'project', 'user_id': 'user'}),
    'project': ('Quota', {'project_id': 'project'}),
    'class': ('QuotaClass', {'class_name': 'quota_class'}),
    'default': ('QuotaClass', {'class_name': 'default_class'}),
}

# As many items as can be counted.
UNLIMITED = sys.maxsize


def _limits_in(models, *scopes):
    """Make the statement that reads the limits in one database."""
    def limits(scope):
        model, names = SCOPES[scope]
        table = getattr(models, model).__table__.c
        live = [table.deleted == 0] if 'deleted' in table else []
        return sa.select(
            sa.literal_column(f"'{scope}'").label('scope'), table.resource,
            table.hard_limit).where(
                table.resource == RESOURCE, *live,
                *(table[column] == sa.bindparam(name)
                  for column, name in names.items()))

    return sa.union_all(*map(limits, scopes))


# Upstream does not look for the default class in the cell.
_IN_CELL = _limits_in(main_models, 'user', 'project', 'class')
_IN_API = _limits_in(api_models, *SCOPES)


@require_context
def metadata_items_limit(context):
    """Read how many items the quota lets the metadata of a server have.

    Decides as nova.quota.DbQuotaDriver.limit_check: by the limit of the
    project, else of the class of the context, else of the default class, else
    by the option; and by that of the user, if there is one. What is set in the
    API database hides what is set in the cell.

    :param context: a request context that is targeted at a cell
    :returns: the number; UNLIMITED if there is no limit
    """
    found = {}
    for manager, statement in (
            (main_db_api.get_context_manager(context), _IN_CELL),
            (api_db_api.context_manager, _IN_API)):
        with manager.reader.connection.using(context) as connection:
            found.update(
                (row.scope, row.hard_limit)
                for row in connection.execute(statement, {
                    # Upstream does not ask for a nameless user or class.
                    'project': context.project_id,
                    'user': context.user_id or None,
                    'quota_class': context.quota_class or None,
                    'default_class': main_db_api._DEFAULT_QUOTA_NAME})
                # The database may ignore case.
                if row.resource == RESOURCE)
    project = next((found[scope] for scope in ('project', 'class', 'default')
                    if scope in found), CONF.quota.metadata_items)
    # Negative numbers are no limits.
    return min((limit for limit in (project, found.get('user', project))
                if limit >= 0), default=UNLIMITED)
