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

"""Who wrote when, and what became of it: a picture of rounds, as SVG."""

import math
from typing import NamedTuple
from xml.etree import ElementTree

from nova_meta.race import judge

# What becomes of a request, its colours inside and around, how it is called.
KINDS = {
    'acknowledged': ('#9ecae9', '#6baed6', 'acknowledged'),
    'refused': ('#e4e7eb', '#b8c0c8', 'refused'),
    'error': ('#fbe3b6', '#e3b04b', 'error, or no answer'),
    'lost updates': ('#c0102a', '#8c0c1f', 'acknowledged, but lost'),
    'resurrected deletes': ('#ffffff', '#c0102a', 'deleted, but back'),
    'double deletes': ('#f29bab', '#c0102a', 'deleted twice'),
    'mixed replaces': ('#e0607a', '#8c0c1f', 'mixed with another'),
    'impossible rounds': ('#d9a0e8', '#7b1fa2', 'contradicts another'),
}
INK, FAINT, GRID, ALARM = '#1f2933', '#6b7785', '#e4e7eb', '#c0102a'
STYLE = f"""
text {{ font: 11px "Helvetica Neue", Arial, sans-serif; fill: {FAINT} }}
.title {{ font-size: 17px; font-weight: bold; fill: {INK} }}
.name {{ font-size: 13px; font-weight: bold; fill: {INK} }}
.fault {{ fill: {ALARM} }}
.fine {{ font-weight: normal; fill: {FAINT} }}
"""

WIDTH, LEFT, RIGHT = 960, 64, 24
LANE, BAR = 10, 7
TOP, CAPTION, AXIS, GAP = 78, 26, 22, 22
# Seconds between the ticks of an axis, and how many of them there may be.
STEPS = [step * 10 ** power for power in range(-3, 4) for step in (1, 2, 5)]
MOST_TICKS = 10
# Lanes between those that are numbered, when not all can be.
NUMBERED = 4


class Panel(NamedTuple):
    """A round to draw.

    :param title: what it is called
    :param played: a :class:`judge.Round` whose operations have writers
    :param verdict: its :class:`judge.Verdict`
    """

    title: str
    played: judge.Round
    verdict: judge.Verdict


def write(picture, path):
    """Write a picture to a file.

    :param picture: what :func:`timeline` returns
    :raises: OSError
    """
    with open(path, 'wb') as file:
        ElementTree.ElementTree(picture).write(file, encoding='utf-8',
                                               xml_declaration=True)
        file.write(b'\n')


def timeline(title, panels):
    """Draw a lane for each writer, and a bar for each of its requests.

    :param title: of the picture
    :param panels: {workload: :class:`Panel`}, drawn one below the other
    :returns: an ElementTree.Element, the root of an SVG document
    """
    svg = ElementTree.Element('svg', xmlns='http://www.w3.org/2000/svg')
    ElementTree.SubElement(svg, 'style').text = STYLE
    _add(svg, 'rect', width='100%', height='100%', fill='white')
    _text(svg, title, 24, 32, style='title')
    _legend(svg, 24, 56)
    y = TOP
    for panel in panels.values():
        y = _panel(svg, panel, y) + GAP
    height = y - GAP + 14
    svg.set('width', str(WIDTH))
    svg.set('height', _number(height))
    svg.set('viewBox', f'0 0 {WIDTH} {_number(height)}')
    return svg


def _legend(svg, x, y):
    for inside, around, label in KINDS.values():
        _add(svg, 'rect', x=x, y=y - BAR - 1, width=16, height=BAR + 1,
             rx=1.5, fill=inside, stroke=around)
        _text(svg, label, x + 21, y)
        x += 21 + 6 * len(label) + 16


def _panel(svg, panel, y):
    """Draw one round.

    :param y: where it begins, from the top
    :returns: where it ends
    """
    operations = panel.played.operations
    begun = min(op.begun for op in operations)
    seconds = max(op.ended for op in operations) - begun
    writers = 1 + max(op.writer for op in operations)
    scale = (WIDTH - LEFT - RIGHT) / (seconds or 1)
    caption = _text(svg, panel.title, 24, y + 14, style='name')
    faults = ', '.join(f'{name}: {panel.verdict.faults[name]}'
                       for name in judge.FAULTS if panel.verdict.faults[name])
    _add(caption, 'tspan', dx=10, **{
        'class': 'fault' if faults else 'fine',
    }).text = faults or 'nothing lost'
    y += CAPTION
    bottom = y + LANE * writers
    for tick in _ticks(seconds):
        x = LEFT + tick * scale
        _add(svg, 'line', x1=x, x2=x, y1=y, y2=bottom, stroke=GRID)
        _text(svg, f'{_number(tick)} s', x, bottom + 15, anchor='middle')
    for me in range(writers):
        if me % NUMBERED == 0:
            _text(svg, f'writer {me}' if not me else str(me), LEFT - 8,
                  y + LANE * me + BAR + 1, anchor='end')
    for n, op in enumerate(operations):
        inside, around, label = KINDS[panel.verdict.marks.get(n) or _kind(op)]
        bar = _add(svg, 'rect', x=LEFT + (op.begun - begun) * scale + .5,
                   y=y + LANE * op.writer + (LANE - BAR) / 2,
                   width=max(1.5, (op.ended - op.begun) * scale - 1),
                   height=BAR, rx=1.5, fill=inside, stroke=around)
        ElementTree.SubElement(bar, 'title').text = (
            f'writer {op.writer}: {op.call} '
            f'{", ".join(op.pairs or [op.key or ""])}: '
            f'{op.status or "no answer"}, {label} '
            f'({op.begun - begun:.3f} s to {op.ended - begun:.3f} s)')
    return bottom + AXIS


def _kind(operation):
    if operation.status is None or operation.status >= 500:
        return 'error'
    return 'acknowledged' if operation.acknowledged else 'refused'


def _ticks(seconds):
    """Return where an axis has its ticks."""
    step = next((step for step in STEPS if seconds / step < MOST_TICKS),
                STEPS[-1])
    return [n * step for n in range(math.floor(seconds / step) + 1)]


def _number(value):
    return f'{value:.2f}'.rstrip('0').rstrip('.')


def _add(parent, tag, **attributes):
    return ElementTree.SubElement(parent, tag, {
        name: value if isinstance(value, str) else _number(value)
        for name, value in attributes.items()})


def _text(svg, text, x, y, style=None, anchor=None):
    marks = {'class': style, 'text-anchor': anchor}
    element = _add(svg, 'text', x=x, y=y, **{
        name: value for name, value in marks.items() if value})
    element.text = text
    return element
