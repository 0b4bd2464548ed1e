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

"""The limit that is read is the one by which upstream's check decides."""

import itertools

import hypothesis
from hypothesis import strategies as st
from nova import context as nova_context
from nova.db.api import models as api_models
from nova.db.main import models as main_models
from nova import exception as nova_exception
from nova import objects
from oslo_config import cfg
import sqlalchemy as sa

from nova_meta.db import quotas
from nova_meta.race import client
from nova_meta.tests.functional import base

QUOTAS = ('ProjectUserQuota', 'Quota', 'QuotaClass')
PROJECTS = [client.PROJECT, 'another project']
USERS = [client.USER, 'another user', '']
CLASSES = ['default', 'gold', '']
RESOURCES = [quotas.RESOURCE, 'injected_files']

# What a limit may be set for: the table, and the values of its columns.
SCOPES = [('Quota', (('project_id', project),)) for project in PROJECTS] + [
    ('ProjectUserQuota', (('project_id', project), ('user_id', user)))
    for project in PROJECTS for user in USERS] + [
    ('QuotaClass', (('class_name', name),)) for name in CLASSES]

# A row: in which database, of what table, for what, and whether it is deleted.
ROWS = [(database, table, columns, resource, deleted)
        for database in ('api', 'cell1') for table, columns in SCOPES
        for resource in RESOURCES for deleted in (False, True)
        if database == 'cell1' or not deleted]
# Those that can count for a request of the first user in the first project.
RELEVANT = [
    (database, table, columns, resource, deleted)
    for database, table, columns, resource, deleted in ROWS
    if resource == quotas.RESOURCE and not deleted and
    {value for _, value in columns} <= {
        PROJECTS[0], USERS[0], 'default', 'gold'}]

LIMITS = st.integers(min_value=-2, max_value=6)
OPTIONS = st.integers(min_value=-1, max_value=6)


class LimitTestCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.use_api_database()
        self.cell = self.context().db_connection
        self.addCleanup(self.write, {})

    def write(self, limits):
        """Let there be nothing but these limits, {row: number}."""
        for database, models in ('api', api_models), ('cell1', main_models):
            with self.host.engines[database][0].begin() as connection:
                for name in QUOTAS:
                    connection.execute(
                        sa.delete(getattr(models, name).__table__))
                for row, limit in limits.items():
                    where, table, columns, resource, deleted = row
                    if where == database:
                        connection.execute(
                            sa.insert(getattr(models, table).__table__),
                            {**dict(columns), 'resource': resource,
                             'hard_limit': limit,
                             **({'deleted': 1} if deleted else {})})

    def assertAsUpstream(self, limits, option, quota_class, user):
        self.write(limits)
        cfg.CONF.set_override('metadata_items', option, 'quota')
        context = nova_context.RequestContext(
            user, client.PROJECT, quota_class=quota_class,
            is_admin=not user)
        context.db_connection = self.cell

        def passes(count):
            try:
                objects.Quotas.limit_check(context, metadata_items=count)
            except nova_exception.OverQuota:
                return False
            return True

        limit = quotas.metadata_items_limit(context)
        self.assertTrue(passes(limit))
        self.assertEqual(limit == quotas.UNLIMITED, passes(limit + 1))

    def test_any_rows(self):
        @hypothesis.settings(max_examples=100, deadline=None)
        @hypothesis.given(
            st.dictionaries(st.sampled_from(ROWS) | st.sampled_from(RELEVANT),
                            LIMITS, max_size=12),
            OPTIONS, st.sampled_from([None, *CLASSES]),
            st.sampled_from([*USERS, None]))
        def test(limits, option, quota_class, user):
            self.assertAsUpstream(limits, option, quota_class, user)

        test()

    @base.periodic()
    def test_every_set_of_rows(self):
        # Each has a number of its own, so that it is known which one counts.
        for size in range(len(RELEVANT) + 1):
            for rows in itertools.combinations(RELEVANT, size):
                for numbers in range(len(rows)), range(len(rows), 0, -1):
                    self.assertAsUpstream(dict(zip(rows, numbers)), 50, 'gold',
                                          client.USER)


class MariaDBLimitTestCase(LimitTestCase):

    database = base.MARIADB


class PostgreSQLLimitTestCase(LimitTestCase):

    database = base.POSTGRESQL
