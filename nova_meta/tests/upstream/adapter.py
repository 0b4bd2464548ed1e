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

"""What puts nova-meta's classes in place of upstream's, for upstream's tests.

An upstream test class is adapted by a subclass that has :class:`Adapted`, or a
class made of it, before upstream's. Only the tests that have to do with server
metadata are loaded; they are told by their source.
"""

import importlib.metadata
import inspect
import pathlib
import re
import unittest

import fixtures
from nova import objects
from nova.objects import base as objects_base
from nova.objects import flavor as upstream_flavor
from nova.objects import instance as upstream_instance
from nova.tests import fixtures as nova_fixtures
import testtools

from nova_meta.compute import api as compute
from nova_meta.db import api as db_api
from nova_meta.db import instance_mapping
from nova_meta.objects import flavor
from nova_meta.objects import instance
from nova_meta import release

# Whose tests they are.
NEWEST = max(release.SERIES)

LIST = pathlib.Path(__file__).with_name('not_applicable.txt')

UPSTREAM_FACTORY = 'nova.api.openstack.compute:APIRouterV21.factory'
FACTORY = 'nova_meta.api.app:factory'

OBJECTS = flavor.Flavor, instance.Instance
UPSTREAM_OBJECTS = upstream_flavor.Flavor, upstream_instance.Instance


def not_applicable():
    """Read the list of the tests that are skipped.

    :returns: a dict of upstream's test ids to the reasons
    """
    lines = LIST.read_text().splitlines()
    return dict(line.split('  # ', 1) for line in lines
                if not line.startswith('#'))


def upstream_id(test):
    """Tell by what name upstream knows a test, its scenario left aside.

    :returns: a dotted name; None if the test is not an adapted one
    """
    name = test._testMethodName
    for cls in type(test).__mro__:
        if cls.__module__.startswith('nova.') and hasattr(cls, name):
            return f'{cls.__module__}.{cls.__qualname__}.{name}'
    return None


def load_tests(loader, tests, pattern):
    """Keep of the tests that were found those that a class asks for."""
    return unittest.TestSuite(
        test for test in testtools.iterate_tests(tests)
        if not isinstance(test, Adapted) or test.is_asked_for())


class Adapted:
    """Put first among the bases of a subclass of an upstream test class."""

    # Of the upstream tests, those are run in whose source this is found.
    ASKED_FOR = ''

    def is_asked_for(self):
        method = getattr(type(self), self._testMethodName)
        return (upstream_id(self) is None or
                bool(re.search(self.ASKED_FOR, inspect.getsource(method))))

    def setUp(self):
        if release.major(importlib.metadata.version('nova')) < NEWEST:
            # They take eventlet for granted, which does not go with ours.
            self.skipTest(f'Nova is older than {NEWEST}; see tox.ini for '
                          'upstream-nova30 and others')
        reason = not_applicable().get(upstream_id(self))
        if reason:
            self.skipTest(reason)
        self.useFixture(Objects())
        self.put_in_place()
        super().setUp()

    def put_in_place(self):
        """Use the fixtures that upstream's setUp has to find in place."""


class Objects(fixtures.Fixture):
    """nova-meta's objects in place of upstream's.

    :param classes: or these
    """

    def __init__(self, classes=OBJECTS):
        super().__init__()
        self._classes = classes

    def _setUp(self):
        self._register(self._classes)
        self.addCleanup(self._register, UPSTREAM_OBJECTS)

    def _register(self, classes):
        for each in classes:
            objects_base.NovaObjectRegistry.register(each)


class ComputeAPI(fixtures.Fixture):
    """nova-meta's compute API, for all who look it up in its module.

    Without it a test that replaces methods of nova.compute.api.API would
    replace those that nova-meta overrides.
    """

    def _setUp(self):
        self.useFixture(fixtures.MockPatch('nova.compute.api.API',
                                           compute.API))
        self.useFixture(InstanceMapping())


class InstanceMapping(fixtures.Fixture):
    """The instance mapping as upstream reads it.

    Upstream's tests and fixtures replace the methods that it calls for that.
    That nova-meta finds the same is tested elsewhere.
    """

    def _setUp(self):
        self.useFixture(fixtures.MockPatchObject(
            instance_mapping, 'instance_mapping_get',
            lambda *args: objects.InstanceMapping.get_by_instance_uuid(*args)))


class DatabaseAPI(fixtures.Fixture):
    """nova-meta's server metadata functions in nova.db.main.api."""

    def _setUp(self):
        for function in (db_api.instance_metadata_get,
                         db_api.instance_metadata_update,
                         db_api.instance_metadata_delete):
            self.useFixture(fixtures.MockPatch(
                f'nova.db.main.api.{function.__name__}', function))


class PasteConfig(fixtures.Fixture):
    """The installed api-paste.ini, changed as an operator would change it.

    Upstream's tests look for it where it is in a source tree.

    :param factory: what makes the compute API application
    """

    def __init__(self, factory=FACTORY):
        super().__init__()
        self._factory = factory

    def _setUp(self):
        directory = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        path = directory / 'api-paste.ini'
        path.write_text(_shipped_paste_config().replace(
            f'paste.app_factory = {UPSTREAM_FACTORY}\n',
            f'paste.app_factory = {self._factory}\n'))

        class ConfFixture(nova_fixtures.ConfFixture):

            def setUp(self):
                super().setUp()
                self.conf.set_default('api_paste_config', str(path),
                                      group='wsgi')

        self.useFixture(fixtures.MockPatchObject(nova_fixtures, 'ConfFixture',
                                                 ConfFixture))


def _shipped_paste_config():
    shipped, = (path for path in importlib.metadata.files('nova')
                if path.name == 'api-paste.ini')
    return shipped.read_text()
