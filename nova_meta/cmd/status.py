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

"""Check whether nova-meta is in place on this host; nova-status's way."""

import configparser
import sys

import nova.conf
from nova import config
from nova import context as nova_context
from nova.db.api import api as api_db_api
from nova.db.main import api as main_db_api
from nova import objects
from nova import rpc
from nova import version as nova_version
from oslo_db import exception as db_exc
from oslo_upgradecheck import upgradecheck
import sqlalchemy as sa

from nova_meta.cmd import patch
from nova_meta.db import galera
from nova_meta import exception
from nova_meta import release
from nova_meta import support

CONF = nova.conf.CONF

SUCCESS, WARNING, FAILURE = (upgradecheck.Code.SUCCESS,
                             upgradecheck.Code.WARNING,
                             upgradecheck.Code.FAILURE)

# The isolation levels that nova-meta is tested with, by dialect.
ISOLATION = {
    'sqlite': 'SERIALIZABLE',
    'mysql': 'REPEATABLE READ',
    'postgresql': 'READ COMMITTED',
}

# What Galera itself needs.
REQUIRED = {'innodb_autoinc_lock_mode': '2', 'binlog_format': 'ROW'}

SECTIONS = {
    'app:osapi_compute_app_v21': 'nova_meta.api.app:factory',
    'app:metaapp': 'nova_meta.api.app:metadata_factory',
}


class Checks(upgradecheck.UpgradeCommands):
    """What ``nova-meta-status upgrade check`` looks at."""

    def _release(self):
        try:
            release.check()
        except exception.UnsupportedNova as exc:
            return upgradecheck.Result(FAILURE, exc.format_message())
        return upgradecheck.Result(
            SUCCESS, f'Nova {nova_version.version_string()}, '
            f'nova-meta {release.version()}')

    def _api(self):
        path = CONF.find_file(CONF.wsgi.api_paste_config)
        if path is None:
            return upgradecheck.Result(
                SUCCESS, 'There is no api-paste.ini, as on a host without '
                'nova-api.')
        section = 'app:osapi_compute_app_v21'
        if _app_factory(path, section) == SECTIONS[section]:
            return upgradecheck.Result(SUCCESS, f'{path}: in place')
        return upgradecheck.Result(
            FAILURE, f'{path}: nova-api is served without nova-meta. In '
            f'[{section}] set paste.app_factory = {SECTIONS[section]} and '
            'restart nova-api.')

    def _objects(self):
        try:
            tree = patch.find(api_paste=False)
            state = tree.state()
        except patch.PatchError as exc:
            return upgradecheck.Result(FAILURE, str(exc))
        if all(state.values()):
            return upgradecheck.Result(
                SUCCESS, f'{tree.root}: patched for {tree.series}')
        path = CONF.find_file(CONF.wsgi.api_paste_config)
        metadata = path and _app_factory(path, 'app:metaapp')
        return upgradecheck.Result(
            WARNING, 'The services of this host save system_metadata without '
            'nova-meta' + (', except for the metadata API'
                           if metadata == SECTIONS['app:metaapp'] else '') +
            '. Run "nova-meta-patch apply" and restart them.')

    def _databases(self):
        return _of_all_databases(_isolation)

    def _galera(self):
        return _of_all_databases(_galera)

    def _tested(self):
        return _of_all_databases(_tested)

    def check(self):
        objects.register_all()
        # Of what cells are mapped to, part is in the configuration.
        rpc.init(CONF)
        api_db_api.configure(CONF)
        main_db_api.configure(CONF)
        return super().check()

    _upgrade_checks = (
        ('Release of Nova', _release),
        ('Compute API', _api),
        ('Objects', _objects),
        ('Databases', _databases),
        ('Galera', _galera),
        ('Tested', _tested),
    )


def _app_factory(path, section):
    ini = configparser.RawConfigParser(strict=False)
    ini.read(path)
    return ini.get(section, 'paste.app_factory', fallback=None)


def _of_all_databases(check):
    """Check the API database and each cell.

    :param check: called with a SQLAlchemy Connection, returns a Result
    :returns: a Result with the worst code and all details
    """
    if not CONF.api_database.connection:
        return upgradecheck.Result(
            SUCCESS, 'This host has no database: [api_database]/connection is '
            'not set.')
    context = nova_context.get_admin_context()
    results = [_check('API', api_db_api.context_manager, context, check)]
    if results[0].code != FAILURE:
        for cell in objects.CellMappingList.get_all(context):
            with nova_context.target_cell(context, cell) as cell_context:
                results.append(_check(
                    cell.identity, main_db_api.get_context_manager(
                        cell_context), cell_context, check))
    return upgradecheck.Result(max(result.code for result in results),
                               ' '.join(result.details for result in results))


def _check(name, manager, context, check):
    try:
        with manager.reader.connection.using(context) as connection:
            result = check(connection)
    except (db_exc.DBError, sa.exc.SQLAlchemyError) as exc:
        result = upgradecheck.Result(FAILURE, str(exc))
    return upgradecheck.Result(result.code, f'{name}: {result.details}.')


def _isolation(connection):
    dialect = connection.dialect
    level = connection.get_isolation_level()
    kind = 'MariaDB' if getattr(dialect, 'is_mariadb', False) else dialect.name
    version = '.'.join(map(str, dialect.server_version_info))
    found = f'{kind} {version}, {level}'
    if variables(connection, 'innodb_snapshot_isolation').get(
            'innodb_snapshot_isolation') == 'ON':
        found += ' with innodb_snapshot_isolation'
    if dialect.name not in ISOLATION:
        return upgradecheck.Result(
            FAILURE, f'{found}: nova-meta does not know this database')
    if level != ISOLATION[dialect.name]:
        return upgradecheck.Result(
            WARNING, f'{found}: nova-meta is tested with '
            f'{ISOLATION[dialect.name]}')
    return upgradecheck.Result(SUCCESS, found)


def _galera(connection):
    kind = galera.cluster(connection)
    if kind is None:
        return upgradecheck.Result(SUCCESS, 'no Galera cluster')
    option = 'group_replication_consistency'
    if kind != galera.GROUP_REPLICATION:
        option = '[database]/mysql_wsrep_sync_wait'
        found = variables(connection, *REQUIRED)
        wrong = [f'{name} is {found[name]}'
                 for name, value in REQUIRED.items() if found[name] != value]
        if wrong:
            return upgradecheck.Result(FAILURE, ', '.join(wrong))
    return upgradecheck.Result(
        SUCCESS, f'{kind}, and reads ' + (
            f'may be behind ({option})' if galera.may_lag(connection) else
            'wait until the node has caught up'))


def _tested(connection):
    """Say how the combination that is used here was tested."""
    database = support.Database.of(connection)
    here = [support.Combination.here(database, server)
            for server in support.SERVERS]
    where = f'Nova {here[0].nova}, Python {here[0].python}, {database.release}'
    if database.kind not in support.DATABASES:
        return upgradecheck.Result(WARNING, f'{where}: not tested')
    verdicts = {one.server: one.verdict() for one in here}
    found = [f'{one.server}: {_told(one)}' for one in here
             if verdicts[one.server] != support.NOT_SUPPORTED]
    if not found:
        return upgradecheck.Result(WARNING, f'{where}: not supported')
    return upgradecheck.Result(
        WARNING if support.FAILED in verdicts.values() else SUCCESS,
        f'{where}: {"; ".join(found)}')


def _told(combination):
    result = combination.result
    if not result:
        return f'{combination.verdict()}, not tested'
    return (f'{combination.verdict()} on {result["date"]} with Nova '
            f'{result["nova"]}, {result["database"]} {result["version"]}, '
            f'{result["acknowledged"]} acknowledged writes')


def variables(connection, *names):
    """Return variables of a MariaDB or MySQL server, as {name: text}.

    :param connection: a SQLAlchemy Connection, to any database
    :param names: those that it has not are left out
    """
    if connection.dialect.name not in ('mysql', 'mariadb'):
        return {}
    return dict(map(tuple, connection.execute(
        sa.text('SHOW VARIABLES WHERE Variable_name IN :names').bindparams(
            sa.bindparam('names', names, expanding=True)))))


def main():
    """Parse the command line, and do what it says.

    :returns: the exit status: 0 if all is well, 1 if there is a warning, 2 if
        something is wrong, 255 on an error
    """
    # As nova.config.parse_args(), which takes no part in parsing here.
    config.set_lib_defaults()
    if config.profiler:
        config.profiler.set_defaults(CONF)
    return upgradecheck.main(CONF, 'nova', Checks())


if __name__ == '__main__':
    sys.exit(main())
