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

"""The verdict, as a table for people."""

import json
import sys

from rich import progress
from rich import table

from nova_meta.race import judge

MEASURES = (
    ('acknowledged updates', lambda total: str(total.acknowledged)),
    ('answers', lambda total: answers(total)),
    ('updates a second', lambda total: f'{total.rate:.1f}'),
    ('latency, median', lambda total: f'{1000 * total.latency(.5):.0f} ms'),
    ('latency, 95 %', lambda total: f'{1000 * total.latency(.95):.0f} ms'),
)


def answers(total):
    """Say how often there was which answer."""
    return ', '.join(f'{count} x {status}' for status, count in sorted(
        total.statuses.items(), key=lambda item: str(item[0])))


def bars(out):
    """Return bars that show how far it is.

    :param out: a rich Console
    """
    return progress.Progress(
        progress.TextColumn('{task.description:<48}'), progress.BarColumn(),
        progress.MofNCompleteColumn(), progress.TimeElapsedColumn(),
        console=out)


def figures(results, totals, faults=judge.FAULTS):
    """Return what JSON can take of results.

    :param results: {contestant: {workload: :class:`judge.Result`}}
    :param totals: {contestant: the sum of its results}
    :param faults: those that could be seen
    """
    return {name: {
        'total': totals[name].as_dict(faults),
        'workloads': {one: result.as_dict(faults)
                      for one, result in by_workload.items()},
    } for name, by_workload in results.items()}


def write_json(value, path):
    """Write JSON to a file, or to standard output if the path is -."""
    if path == '-':
        json.dump(value, sys.stdout, indent=2)
        print()
    else:
        with open(path, 'w') as target:
            json.dump(value, target, indent=2)


def verdict(title, totals, faults=judge.FAULTS):
    """Lay results side by side.

    :param totals: {name of the contestant: :class:`judge.Result`}
    :param faults: those that could be seen
    :returns: something that rich prints
    """
    view = table.Table(title=title, title_justify='left')
    view.add_column('')
    for name in totals:
        view.add_column(name, justify='right', overflow='fold')
    for fault in faults:
        counts = [total.faults[fault] for total in totals.values()]
        view.add_row(fault, *map(str, counts),
                     style='bold red' if any(counts) else None)
    view.add_section()
    for measure, show in MEASURES:
        view.add_row(measure, *map(show, totals.values()))
    return view
