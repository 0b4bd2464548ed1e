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

"""What is said to be tested, and the documents that say so."""

import importlib.metadata
import json
import os
import pathlib
import re
import zipfile

import testtools

from nova_meta.db import galera
from nova_meta.race import judge
from nova_meta import release
from nova_meta import support
from nova_meta.tests.unit import test_galera
from nova_meta_lab import support as lab

MARIADB = support.Database('MariaDB', '10.11.14')
PLAYED = support.Combination(34, '3.11', MARIADB, support.THREADS)


def result(**changes):
    """Make a result of PLAYED."""
    return {'nova': '34.0.0', 'python': '3.11.7', 'database': 'MariaDB',
            'version': '10.11.14', 'server': support.THREADS,
            'date': '2026-11-01', 'acknowledged': 1234, 'faults': {},
            **changes}


class SupportTestCase(testtools.TestCase):

    def use_results(self, *played):
        found = {support.combination(one).key: one for one in played}
        self.patch(support, 'results', lambda: found)


class VerdictTestCase(SupportTestCase):

    def setUp(self):
        super().setUp()
        self.use_results(result())

    def verdict(self, **changes):
        return PLAYED._replace(**changes).verdict()

    def test_tested(self):
        self.assertEqual(support.TESTED, self.verdict())
        self.assertEqual(support.TESTED, self.verdict(
            database=support.Database('MariaDB', '10.11.6')))

    def test_failed(self):
        self.use_results(result(faults={'lost updates': 1}))
        self.assertEqual(support.FAILED, self.verdict())

    def test_expected(self):
        for changes in ({'nova': 33}, {'python': '3.12'}, {
                'database': support.Database('MariaDB', '11.8.9')}, {
                'database': support.Database('PostgreSQL', '17.1')}):
            self.assertEqual(support.EXPECTED, self.verdict(**changes))

    def test_not_supported(self):
        for changes in ({'nova': 35}, {'python': '3.9'},
                        {'server': support.NOVA_API}, {
                'database': support.Database(
                    galera.XTRADB_CLUSTER, '8.0.42')}):
            self.assertEqual(support.NOT_SUPPORTED, self.verdict(**changes))


class DatabaseTestCase(testtools.TestCase):

    def database(self, dialect, *version, is_mariadb=True, **variables):
        connection = test_galera.connection(dialect, **variables)
        connection.dialect.is_mariadb = is_mariadb
        connection.dialect.server_version_info = version
        return support.Database.of(connection)

    def test_version(self):
        self.assertEqual('10.11.19', self.database(
            'mysql', 10, 11, 19, 0).version)

    def test_release(self):
        self.assertEqual('MariaDB 10.11', self.database(
            'mysql', 10, 11, 14).release)
        self.assertEqual('MySQL 8.4', self.database(
            'mysql', 8, 4, 3, is_mariadb=False).release)
        self.assertEqual('PostgreSQL 15', self.database(
            'postgresql', 15, 14, is_mariadb=False).release)
        self.assertEqual('SQLite', self.database(
            'sqlite', 3, 40, 1, is_mariadb=False).release)

    def test_cluster(self):
        self.assertEqual('Galera 11.8', self.database(
            'mysql', 11, 8, 9, wsrep_on='ON').release)
        self.assertEqual('Percona XtraDB Cluster 8.0', self.database(
            'mysql', 8, 0, 42, is_mariadb=False, wsrep_on='ON').release)


class PythonsTestCase(testtools.TestCase):
    """What is known of each Nova is what it says itself.

    That it tests a Python is said in tox.ini, which no package has.
    """

    TESTED = {33: ['3.13'], 34: ['3.14']}

    def check(self, version, classifiers):
        named = re.findall(r'^Programming Language :: Python :: (3\.\d+)$',
                           '\n'.join(classifiers), re.MULTILINE)
        major = release.major(version)
        self.assertEqual([*(one for one in named if int(one[2:]) >= 9),
                          *self.TESTED.get(major, [])],
                         list(support.PYTHONS[major]))

    def test_installed(self):
        found = importlib.metadata.metadata('nova')
        self.check(found['Version'], found.get_all('Classifier'))

    def test_wheels(self):
        directory = os.environ.get('NOVA_META_TEST_NOVA_WHEELS')
        if not directory:
            self.skipTest('NOVA_META_TEST_NOVA_WHEELS is not set')
        for path in pathlib.Path(directory).glob('nova-*.whl'):
            with zipfile.ZipFile(path) as wheel:
                name, = (one for one in wheel.namelist()
                         if one.endswith('.dist-info/METADATA'))
                text = wheel.read(name).decode()
            self.check(path.name.split('-')[1],
                       re.findall('^Classifier: (.*)$', text, re.MULTILINE))

    def test_all(self):
        self.assertEqual(set(release.SERIES), set(support.PYTHONS))
        self.assertEqual(set(support.SERVERS), set(lab.SERVED))


class RecordTestCase(SupportTestCase):

    def test_record(self):
        here = support.Combination.here(MARIADB, support.THREADS)
        made = lab.record(here, 'pymysql', 'command',
                          judge.Result(acknowledged=5))
        self.assertEqual(made, json.loads(json.dumps(made)))
        self.assertEqual(here.key, support.combination(made).key)
        self.assertIn('PyMySQL', made['libraries'])
        self.assertEqual({}, made['faults'])


class FilesTestCase(testtools.TestCase):

    def test_names(self):
        self.assertNotEqual({}, support.results())
        self.assertEqual(
            sorted(lab.path_of(support.combination(one))
                   for one in support.results().values()),
            sorted(support.RESULTS.glob('*.json')))

    def test_page(self):
        # "python -m nova_meta_lab.support" writes it.
        self.assertEqual(lab.page(), lab.PAGE.read_text())

    def test_readme(self):
        text = lab.README.read_text()
        self.assertEqual(lab.put_summary(text), text)
        self.assertIn(lab.summary(), text)


class PageTestCase(SupportTestCase):

    def row(self, nova, python):
        """Return what the first table says of a row."""
        rows = lab.page().partition(lab.SERVED[support.THREADS][0])[2]
        found = re.search(rf'\* - {nova} \(.*\)\n +- {re.escape(python)}\n'
                          r'((     - .*\n)+)', rows)
        return [line.lstrip(' -') for line in found.group(1).splitlines()]

    def test_cells(self):
        self.use_results(result(), result(version='11.8.9'),
                         result(database='PostgreSQL', version='15.14',
                                faults={'lost updates': 1}))
        self.assertEqual(
            ['tested on 10.11.14 (2026-11-01, 1234); '
             'tested on 11.8.9 (2026-11-01, 1234)', 'expected',
             'failed on 15.14 (2026-11-01, 1234)', *['expected'] * 3],
            self.row(34, '3.11'))
        self.assertEqual(['expected'] * 6, self.row(29, '3.9'))

    def test_summary(self):
        self.use_results(result(), result(nova='29.1.0', python='3.9.1'))
        said = ' '.join(lab.summary().split())
        self.assertIn('Nova 29 to 34, Python 3.9 to 3.11, MariaDB 10.11', said)
        self.assertIn('2 combinations, 2,468 acknowledged writes', said)
        self.assertNotIn('lost some', said)
        self.use_results(result(), result(server=support.EVENTLET,
                                          faults={'lost updates': 1}))
        self.assertIn('1 have lost some', ' '.join(lab.summary().split()))
