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

"""Look after what races have left in the databases of Nova.

For those who run it; the way of ``nova-manage``.
"""

import sys
import time
import traceback

from nova.cmd import common
import nova.conf
from nova import config
from nova import context as nova_context
from nova.db.main import api as main_db_api
from nova import exception as nova_exception
from nova import objects
from oslo_config import cfg
from oslo_db import exception as db_exc

from nova_meta.db import api as db_api
from nova_meta.db import duplicates
from nova_meta.db import retry
from nova_meta import exception
from nova_meta import release

CONF = nova.conf.CONF

# Rows that are looked at in one transaction.
STEP = 2000

# Seconds between reports of the progress.
REPORT = 10


class MetadataCommands:
    """The metadata and system_metadata of servers."""

    description = 'Look after the metadata and system_metadata of servers.'

    @common.action_description(
        'Find duplicate rows: of one server and one key, as concurrent '
        'requests leave them in Nova. With --fix, remove all but those that '
        'Nova shows. Safe while Nova is running, if every nova-api runs '
        'nova-meta. Exit status: 0 if there are no duplicate rows left, 1 if '
        'there are, 2 if some of them could not be removed, or a cell could '
        'not be reached.')
    @common.args('--fix', action='store_true', dest='fix',
                 help='Remove them; otherwise they are counted only.')
    @common.args('--max-count', metavar='<number>', dest='max_count', type=int,
                 help='Remove the duplicate rows of so many servers at most.')
    def duplicates(self, fix=False, max_count=None):
        if max_count is not None and max_count < 1:
            print('Must supply a positive value for max_count.')
            return 127
        context = nova_context.get_admin_context()
        healer = Healer(fix, max_count)
        for cell in objects.CellMappingList.get_all(context):
            try:
                with nova_context.target_cell(context, cell) as cell_context:
                    for name, binding in MAPS.items():
                        healer.cell(cell_context, f'{cell.identity}: {name}',
                                    binding)
            except Exception as exc:
                if not retry.is_connection_lost(exc):
                    raise
                healer.failed += 1
                print(f'{cell.identity}: cannot be reached: '
                      f'{str(exc).splitlines()[0]}')
        return 2 if healer.failed else 1 if healer.left else 0


MAPS = {'metadata': db_api.INSTANCE_METADATA,
        'system_metadata': db_api.INSTANCE_SYSTEM_METADATA}


class Healer:
    """Counts duplicate rows, and removes them if it may.

    :param fix: whether it may
    :param max_count: how many servers it may change; None for all
    """

    def __init__(self, fix, max_count):
        self._fix = fix
        self._may_fix = float('inf') if max_count is None else max_count
        self.left = self.failed = 0

    def cell(self, context, where, binding):
        """Look at all servers of a cell.

        :param context: a request context that is targeted at the cell
        :param where: names the cell and the map
        :param binding: the map
        """
        after, servers, rows, reported = '', 0, 0, time.monotonic()
        while after is not None:
            reader = main_db_api.get_context_manager(context).reader
            with reader.connection.using(context) as connection:
                found, after = duplicates.find(connection, binding, after,
                                               STEP)
            for uuid, count in found.items():
                servers, rows = servers + 1, rows + count
                self._heal(context, where, binding, uuid, count)
            if after is not None and time.monotonic() > reported + REPORT:
                reported = time.monotonic()
                print(f'{where}: {rows} duplicate rows of {servers} servers '
                      f'so far, up to server {after}')
        print(f'{where}: {rows} duplicate rows of {servers} servers')

    def _heal(self, context, where, binding, uuid, count):
        done = 'found'
        if self._fix and self._may_fix > 0:
            self._may_fix -= 1
            try:
                db_api.instance_map_heal(context, uuid, binding)
                done = 'removed'
            except nova_exception.InstanceNotFound:
                done = 'gone with the server'
            except exception.MetadataUpdateConflict as exc:
                self.failed += 1
                done = f'not removed: {exc.format_message()}'
            except db_exc.DBConnectionError as exc:
                self.failed += 1
                done = f'perhaps removed, see again: {exc}'
        self.left += done == 'found'
        print(f'{where}: server {uuid}: {count} {done}')


CATEGORIES = {'metadata': MetadataCommands}

category_opt = cfg.SubCommandOpt(
    'category', title='Command categories', help='Available categories',
    handler=lambda subparsers: common.add_command_parsers(subparsers,
                                                          CATEGORIES))


def main():
    """Parse the command line, and do what it says.

    :returns: the exit status
    """
    release.check()
    CONF.register_cli_opt(category_opt)
    config.parse_args(sys.argv)
    objects.register_all()
    if CONF.category.name == 'version':
        print(release.version())
        return 0
    if CONF.category.name == 'bash-completion':
        common.print_bash_completion(CATEGORIES)
        return 0
    try:
        function, args, kwargs = common.get_action_fn()
        return function(*args, **kwargs)
    except Exception:
        traceback.print_exc()
        return 255


if __name__ == '__main__':
    sys.exit(main())
