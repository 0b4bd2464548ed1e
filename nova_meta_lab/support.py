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

"""See that nova-meta loses nothing with this Nova, this Python, these servers.

``python -m nova_meta_lab.support [DATABASE...] [--server SERVER...]``

For each database, and each server of this Nova, many clients write to a server
and to its flavor, and are judged. What came of it is written down in
``nova_meta/tested``, a file for each combination; what is there already of the
same one is replaced. The table in the documentation and the line in the README
are written anew from all files, and without a DATABASE that is all.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import pathlib
import platform
import re
import sys
import textwrap

from pbr import packaging
from rich import console

from nova_meta.race import judge
from nova_meta.race import workload
from nova_meta import release
from nova_meta import support
from nova_meta_lab import databases
from nova_meta_lab import evidence
from nova_meta_lab import host as private
from nova_meta_lab import servers
from nova_meta_lab import target as targets

WRITERS = 16
SEED = 0
# Extra specs that are written together; there are as many metadata items as
# the quota allows.
ROOM = 2 * WRITERS

LIBRARIES = 'SQLAlchemy', 'oslo.db', 'eventlet'
DRIVERS = {'pymysql': ['PyMySQL'], 'psycopg2': ['psycopg2-binary']}

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / 'doc/source/install/tested.rst'
README = ROOT / 'README.rst'
MARK = '.. Written by nova_meta_lab.support.\n\n'

# Variants of a server count as the server.
CHOICES = [name for name in (*databases.NAMES, databases.GROUP)
           if name not in databases.VARIANTS]

INTRODUCTION = """\
==============
What is tested
==============

Find your Nova and your Python; there is a table for each way to serve
nova-api. A cell says:

tested
  It was played, on the version of the database server that is named, at that
  date, with as many acknowledged writes. 16 clients write to a server and to
  its flavor, all at once. All that they were told was judged, and none of it
  was lost.
failed
  The same, and something was lost.
expected
  It was not played, but nova-meta supports it as each of its parts. Other
  versions of a database server than those that are named are expected, too.

All else is not supported: a Python that is in no table of your Nova is none
that this Nova names, or has tests with. Percona XtraDB Cluster was never
played, see :doc:`/admin/galera`.

``nova-meta-status upgrade check`` says where the host that it runs on is. How
it is played: :doc:`/contributor/testing`. What is written down of each
combination is in ``nova_meta/tested``.
"""

# What nova-api is served by, in words.
SERVED = {
    support.THREADS: ('uWSGI with threads', """\
        Native threads: the default from Nova 33 on; before, what the variable
        ``OS_NOVA_DISABLE_EVENTLET_PATCHING`` makes of it."""),
    support.EVENTLET: ('uWSGI with eventlet', """\
        The default of Nova 29 to 32 under a web server, with one thread in
        each process."""),
    support.NOVA_API: ('nova-api', """\
        The server of its own, on eventlet, that Nova 29 to 31 have."""),
}


def play(host, server, is_cluster=False, app_factory=private.NOVA_META):
    """Let clients write, all at once.

    :param host: a :class:`nova_meta_lab.host.Host`
    :param server: one of :data:`nova_meta.support.SERVERS`
    :param is_cluster: whether it has several nodes
    :param app_factory: what is served
    :returns: a :class:`nova_meta.race.judge.Result`
    """
    # Each node has a nova-api of its own.
    host.serve(app_factory, 1 if is_cluster else 2, server=server)
    metadata, extra_specs = workload.WORKLOADS, workload.EXTRA_SPECS
    if is_cluster:
        # What another node shows to those who read may be behind.
        metadata = workload.WITHOUT_READS
        extra_specs = [one for one in extra_specs if one.name != 'mixed']
    total = judge.Result()
    for target, workloads, room in (
            (targets.METADATA, metadata, workload.QUOTA),
            (targets.EXTRA_SPECS, extra_specs, ROOM)):
        player = workload.Player(targets.InDatabase(
            host, host.names(target)[0], target), room, SEED)
        for one in workloads:
            total += player.play(one, WRITERS)
    return total


def record(combination, driver, command, total):
    """Return what is written down of a combination.

    :param combination: a :class:`nova_meta.support.Combination`
    :param driver: of the database, as SQLAlchemy calls it
    :param command: that plays it again
    :param total: a :class:`nova_meta.race.judge.Result`
    :returns: a dict that JSON can take
    """
    return {
        'nova': importlib.metadata.version('nova'),
        'python': platform.python_version(),
        'database': combination.database.kind,
        'version': combination.database.version,
        'server': combination.server,
        # An editable install would tell the version when it was made.
        'nova-meta': packaging.get_version('nova-meta'),
        'libraries': {
            name: importlib.metadata.version(name)
            for name in (*LIBRARIES, *DRIVERS.get(driver, ()))},
        'date': str(datetime.date.today()),
        'command': command,
        'seed': SEED,
        'writers': WRITERS,
        'acknowledged': total.acknowledged,
        'faults': dict(+total.faults),
        'answers': {str(status): count for status, count in sorted(
            total.statuses.items(), key=str)},
    }


def path_of(combination):
    """Return where the result of a combination is written."""
    nova, python, database, server = combination.key
    name = f'nova-{nova} python-{python} {database} {server}'
    return support.RESULTS / (name.lower().replace(' ', '_') + '.json')


def run(name, chosen, out):
    """Play on one kind of database, and write down what came of it.

    :param name: one of :data:`nova_meta_lab.databases.NAMES`
    :param chosen: servers; all that this Nova has if empty
    :param out: a rich Console
    :returns: whether something went wrong
    """
    wrong = False
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(databases.started(name))
        host = stack.enter_context(private.Host(
            database.url, causal=database.cluster and database.cluster.causal))
        with host.database.connect() as connection:
            found = support.Database.of(connection)
        for server in chosen or support.SERVERS:
            one = support.Combination.here(found, server)
            if chosen or one.nova in support.SERVERS[server]:
                total = play(host, server, bool(database.cluster))
                path_of(one).write_text(json.dumps(record(
                    one, host.database.dialect.driver,
                    f'python -m nova_meta_lab.support {name} --server '
                    f'{server}', total), indent=2) + '\n')
                faults = dict(+total.faults)
                out.print(*one.key, f'{total.acknowledged} acknowledged',
                          faults or 'nothing lost', highlight=False)
                if faults or total.errors:
                    out.print(host.log(), markup=False, highlight=False)
                wrong = wrong or bool(faults)
    return wrong


def page():
    """Return the page of documentation, as text."""
    lines = [MARK.strip(), '', *INTRODUCTION.splitlines()]
    for server, (title, text) in SERVED.items():
        lines += ['', title, '-' * len(title), '',
                  *textwrap.dedent(text).splitlines(), '',
                  *evidence.table(('Nova', 'Python', *support.DATABASES),
                                  *_rows(server))]
    return '\n'.join(lines) + '\n'


def _rows(server):
    combinations = {
        (nova, python) for nova, pythons in support.PYTHONS.items()
        for python in pythons if nova in support.SERVERS[server]
    } | {key[:2] for key in support.results() if key[3] == server}
    for nova, python in sorted(
            combinations, key=lambda pair: (pair[0], _numbers(pair[1]))):
        yield (f'{nova} ({release.SERIES[nova]})', python, *(
            _cell(nova, python, kind, server) for kind in support.DATABASES))


def _cell(nova, python, kind, server):
    played = [
        one for (*where, _, with_), one in support.results().items()
        if [*where, with_] == [nova, python, server] and
        one['database'] == kind]
    if not played:
        return support.Combination(
            nova, python, support.Database(kind, ''), server).verdict()
    return '; '.join(
        f'{support.combination(one).verdict()} on {one["version"]} '
        f'({one["date"]}, {one["acknowledged"]})'
        for one in sorted(played, key=lambda one: _numbers(one['version'])))


def _numbers(version):
    return [*map(int, version.split('.'))]


def summary():
    """Return what the README says, as text."""
    tested = {key: one for key, one in support.results().items()
              if not one['faults']}
    failed = len(support.results()) - len(tested)
    novas, pythons, releases, served = map(set, zip(*tested))
    served = ', '.join(title for server, (title, _) in SERVED.items()
                       if server in served)
    pythons = sorted(pythons, key=_numbers)
    writes = sum(one['acknowledged'] for one in tested.values())
    return textwrap.fill(
        f'Tested with Nova {min(novas)} to {max(novas)}, Python {pythons[0]} '
        f'to {pythons[-1]}, {", ".join(sorted(releases))} ({served}): '
        f'{len(tested)} combinations, {writes:,} acknowledged writes, none '
        'lost' + f'; {failed} have lost some' * bool(failed) +
        '. Which ones: ``doc/source/install/tested.rst``.', 79,
        break_on_hyphens=False)


def write_documents():
    """Write the page, and the line of the README."""
    PAGE.write_text(page())
    README.write_text(put_summary(README.read_text()))


def put_summary(text):
    """Return the text of the README with the summary in its place."""
    return re.sub(f'(?<={re.escape(MARK)}).*?(?=\n\n)',
                  lambda match: summary(), text, flags=re.DOTALL)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='support', description=__doc__.split('\n\n')[0])
    parser.add_argument(
        'database', nargs='*', metavar='DATABASE',
        help=f'of these: {", ".join(CHOICES)}')
    parser.add_argument('--server', action='append', default=[],
                        choices=support.SERVERS,
                        help='only this one, may be repeated')
    options = parser.parse_args(argv)
    for name in options.database:
        if name not in CHOICES:
            parser.error(f'no such database: {name}')
    return options


def main(argv=None):
    options = parse(argv)
    servers.end_on_sigterm()
    out = console.Console(width=None if sys.stdout.isatty() else 110)
    wrong = [run(name, options.server, out) for name in options.database]
    support.results.cache_clear()
    write_documents()
    return int(any(wrong))


if __name__ == '__main__':
    sys.exit(main())
