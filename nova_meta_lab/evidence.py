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

"""Pages of documentation that a run writes about what it has found."""

import datetime
import importlib.metadata
import pathlib
import shlex
import textwrap

from pbr import packaging
from rich import table as rich_table

from nova_meta_lab import series

OUTPUTS = '--evidence', '--keep'


def add_argument(parser):
    """Let a program be told where to write its page.

    :param parser: an argparse.ArgumentParser
    """
    parser.add_argument('--evidence', metavar='FILE', type=pathlib.Path,
                        help='write a page of documentation')


def view(title, header, table_rows):
    """Return a table for a terminal; the cells are of any type."""
    shown = rich_table.Table(title=title, title_justify='left')
    for column in header:
        shown.add_column(column, justify='right' if shown.columns else 'left')
    for row in table_rows:
        shown.add_row(*map(str, row))
    return shown


def page(title, module, argv, minutes, *blocks):
    """Return a page, as text.

    :param title: of the page
    :param module: the name of the program
    :param argv: its arguments
    :param minutes: that it took
    :param blocks: lists of lines, such as :func:`table` returns
    """
    # An editable install would tell the version when it was made.
    versions = [f'nova-meta {packaging.get_version("nova-meta")}', *(
        f'{name} {importlib.metadata.version(name)}'
        for name in ('nova', 'SQLAlchemy'))]
    command = shlex.join(['python', '-m', module, *_repeated(argv)])
    if series.is_imported():
        title, command = f'{title} (series)', f'PYTHONPATH=TREE {command}'
    lines = [
        f'.. Written by {module}.', '', title, '=' * len(title), '',
        f':Versions: {", ".join(versions)}',
        f':Date: {datetime.date.today()}',
        *textwrap.wrap(f':Command: ``{command}``', 79, subsequent_indent='   ',
                       break_on_hyphens=False),
        f':Took: {minutes:.1f} minutes', '',
        *(line for block in blocks for line in (*block, ''))]
    return ''.join(line.rstrip() + '\n' for line in lines).rstrip('\n') + '\n'


def _repeated(argv):
    """Leave out where a run has written to."""
    before = ['', *argv]
    return [word for word, last in zip(argv, before)
            if word not in OUTPUTS and last not in OUTPUTS]


def table(header, *rows):
    """Return the lines of a table; the cells are of any type."""
    return ['.. list-table::', '   :header-rows: 1', '', *(
        f'   {" " if number else "*"} - {cell}'.rstrip()
        for row in (header, *rows) for number, cell in enumerate(row))]
