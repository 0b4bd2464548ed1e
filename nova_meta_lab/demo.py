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

"""See a real Nova lose server metadata, and not lose it."""

import argparse
import importlib.metadata
import sys

from rich import console

from nova_meta.race import judge
from nova_meta.race import report
from nova_meta.race import workload
from nova_meta_lab import host as private
from nova_meta_lab import series
from nova_meta_lab import servers
from nova_meta_lab import target as targets

STOCK, OURS, SERIES = 'stock Nova', 'nova-meta', 'series'

DESCRIPTION = """\
Make a private Nova: databases by Nova's own migrations, an ACTIVE server,
nova-api over HTTP with several processes. Let many clients update the metadata
of the server at once, or the extra specs of a flavor, first with stock Nova,
then with one line of api-paste.ini changed. Hold what the clients were told
against what is in the database, and clean up.

With --series, a Nova with the series of commits, and without nova-meta, takes
part too.
"""

OWNERS = {'metadata': 'one server', 'extra-specs': 'one flavor'}

EPILOG = """\
Exit status: 0 if nova-meta, or the series, lost nothing, 1 if it did, 2 if the
private Nova could not be made.
"""


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='nova-meta-demo', description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        '--database', metavar='URL',
        help='SQLAlchemy URL of a MariaDB, MySQL or PostgreSQL server on '
             'which databases may be made and dropped, such as '
             'mysql+pymysql://root@127.0.0.1/; SQLite files if not given')
    parser.add_argument('--target', choices=sorted(targets.TARGETS),
                        default='metadata', help='what the clients update')
    parser.add_argument('--writers', type=int, default=16,
                        help='clients at once')
    parser.add_argument('--rounds', type=int, default=2,
                        help='how often each workload is repeated')
    parser.add_argument(
        '--workload', action='append', metavar='NAME',
        choices=sorted({one.name for target in targets.TARGETS.values()
                        for one in target.workloads}),
        help='only this one, may be repeated: %(choices)s; those that replace '
             'a map or fill a quota are of metadata, "count" is of '
             'extra-specs')
    parser.add_argument('--processes', type=int, default=2,
                        help='worker processes of nova-api')
    parser.add_argument('--threads', type=int, default=8,
                        help='threads of each process')
    parser.add_argument(
        '--series', metavar='TREE',
        help='a source tree of Nova with the series, as "python -m '
             'nova_meta_lab.series apply" makes it')
    parser.add_argument(
        '--contestant', action='append', metavar='NAME',
        choices=(STOCK, OURS, SERIES),
        help='only this one, may be repeated: %(choices)s')
    parser.add_argument('--json', metavar='FILE',
                        help='write the figures there, - for standard output')
    options = parser.parse_args(argv)
    if min(options.writers, options.rounds, options.processes,
           options.threads) < 1:
        parser.error('numbers must be positive')
    if SERIES in (options.contestant or ()) and not options.series:
        parser.error('the series needs --series')
    return options


def contestants(options):
    """Return who takes part: {name: arguments of :meth:`Host.serve`}."""
    served = {STOCK: {'app_factory': private.STOCK},
              OURS: {'app_factory': private.NOVA_META}}
    if options.series:
        served[SERIES] = {'app_factory': private.STOCK,
                          'nova': series.checked(options.series)}
    return {name: arguments for name, arguments in served.items()
            if name in (options.contestant or served)}


def main(argv=None):
    options = parse(argv)
    # So that everything is cleaned up, as on Ctrl-C.
    servers.end_on_sigterm()
    # Standard output is for the JSON, if that is where it goes.
    out = console.Console(stderr=options.json == '-')
    try:
        results = run(options, out)
    except private.HostError as exc:
        out.print(str(exc), style='red', markup=False)
        return 2
    except KeyboardInterrupt:
        out.print('Interrupted; everything is cleaned up.')
        return 130
    totals = {name: sum(by_workload.values(), judge.Result())
              for name, by_workload in results.items()}
    out.print(report.verdict(
        f'{options.writers} writers, {OWNERS[options.target]}, '
        f'{database(options)}',
        totals))
    if options.json:
        report.write_json(figures(options, results, totals), options.json)
    bad = {name: dict(+total.faults) for name, total in totals.items()
           if name != STOCK}
    for name, faults in bad.items():
        out.print(f'{name} failed: {faults}' if faults else
                  f'{name} lost nothing.',
                  style='bold red' if faults else 'bold green')
    return 1 if any(bad.values()) else 0


def database(options):
    return (options.database or 'sqlite').split(':')[0].split('+')[0]


def run(options, out):
    """Play all workloads against each contestant.

    :returns: {contestant: {workload: :class:`judge.Result`}}
    """
    target = targets.TARGETS[options.target]
    workloads = [one for one in target.workloads
                 if not options.workload or one.name in options.workload]
    version = importlib.metadata.version('nova')
    results = {}
    with report.bars(out) as shown:
        making = shown.add_task(f'Nova {version}: database, migrations, '
                                'a server', total=None)
        with private.Host(options.database) as host:
            shown.update(making, total=1, completed=1)
            for name, served in contestants(options).items():
                task = shown.add_task(f'{name}: starting nova-api',
                                      total=len(workloads) * options.rounds)
                host.serve(processes=options.processes,
                           threads=options.threads, **served)
                player = workload.Player(targets.InDatabase(
                    host, host.names(target)[0], target))
                results[name] = {}
                for one in workloads:
                    shown.update(task, description=f'{name}: {one.name}')
                    total = judge.Result()
                    for _ in range(options.rounds):
                        total += player.play(one, options.writers)
                        shown.advance(task)
                    results[name][one.name] = total
                shown.update(task, description=f'{name}: done')
            out.print('Cleaning up.')
    return results


def figures(options, results, totals):
    return {
        'nova': importlib.metadata.version('nova'),
        'database': database(options),
        'target': options.target,
        'writers': options.writers,
        'rounds': options.rounds,
        'results': report.figures(results, totals),
    }


if __name__ == '__main__':
    sys.exit(main())
