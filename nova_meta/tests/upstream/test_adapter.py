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

"""Tests of what puts nova-meta in place for upstream's tests."""

import importlib
import pathlib
import unittest

import nova.conf
from nova import test
import testtools

from nova_meta.tests.upstream import adapter


def modules():
    package = adapter.__name__.rpartition('.')[0]
    for path in pathlib.Path(__file__).parent.glob('test_*.py'):
        yield importlib.import_module(f'{package}.{path.stem}')


def upstream_tests(module):
    """Find the tests of a module that are upstream's, as they are loaded."""
    suite = unittest.TestLoader().loadTestsFromModule(module)
    for each in testtools.iterate_tests(suite):
        if isinstance(each, adapter.Adapted) and adapter.upstream_id(each):
            yield each


class NotApplicableTests(testtools.TestCase):

    def test_each_is_a_test_that_would_run(self):
        run = {adapter.upstream_id(each) for module in modules()
               for each in upstream_tests(module)}
        self.assertEqual(set(), set(adapter.not_applicable()) - run)

    def test_each_has_a_reason(self):
        for name, reason in adapter.not_applicable().items():
            self.assertNotEqual('', reason.strip(), name)


class AdaptedTests(testtools.TestCase):

    def test_each_class_asks_for_some_of_upstream(self):
        for module in modules():
            classes = {each for each in vars(module).values()
                       if isinstance(each, type) and
                       issubclass(each, adapter.Adapted) and
                       issubclass(each, unittest.TestCase)}
            self.assertEqual(classes, set(map(type, upstream_tests(module))))


class PasteConfigTests(test.NoDBTestCase):

    def setUp(self):
        self.useFixture(adapter.PasteConfig())
        super().setUp()

    def test_differs_in_one_line(self):
        ours = pathlib.Path(nova.conf.CONF.wsgi.api_paste_config).read_text()
        self.assertEqual(1, ours.count(f' = {adapter.FACTORY}\n'))
        self.assertNotIn(adapter.UPSTREAM_FACTORY, ours)
