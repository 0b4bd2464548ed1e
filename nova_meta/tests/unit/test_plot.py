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

"""The picture shows each request, where it was and what became of it."""

import collections
import os
from xml.etree import ElementTree

import fixtures
import testtools

from nova_meta.race import history
from nova_meta.race import judge
from nova_meta.race import plot

SVG = '{http://www.w3.org/2000/svg}'


def merged(writer, begun, ended, key, status=200):
    return history.Operation(history.MERGE, None, {key: 'new'}, status, None,
                             begun, ended, writer=writer)


class PlotTestCase(testtools.TestCase):

    # On a clock that does not begin with zero.
    operations = [merged(0, 100, 101, 'a'),
                  merged(0, 101, 104, 'b', status=409),
                  merged(1, 100.5, 102, 'c'),
                  merged(2, 102, 103, 'd', status=None)]

    def draw(self, final, **faults):
        """Draw a round; return the SVG as it is read back from a file."""
        played = judge.Round({}, self.operations, final)
        panel = plot.Panel('merge', played, judge.Verdict(
            collections.Counter(faults), judge.undone(played), ''))
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'svg')
        plot.write(plot.timeline('a & b', {'merge': panel}), path)
        return ElementTree.parse(path).getroot()

    def bars(self, svg):
        """Return (what a bar says, the rectangle) for each request."""
        return [(rect.find(SVG + 'title').text, rect)
                for rect in svg.iter(SVG + 'rect')
                if rect.find(SVG + 'title') is not None]

    def texts(self, svg):
        return [''.join(text.itertext()) for text in svg.iter(SVG + 'text')]

    def test_what_became_of_it(self):
        bars = self.bars(self.draw({'c': 'new'}))
        self.assertEqual(4, len(bars))
        for (said, rect), status, kind in zip(
                bars, ('200', '409', '200', 'no answer'),
                ('lost updates', 'refused', 'acknowledged', 'error')):
            inside, around, label = plot.KINDS[kind]
            self.assertIn(f': {status}, {label} (', said)
            self.assertEqual((inside, around),
                             (rect.get('fill'), rect.get('stroke')))
        self.assertIn('(0.500 s to 2.000 s)', bars[2][0])

    def test_mixed_replaces(self):
        self.operations = [history.Operation(
            history.REPLACE, None, {'a': str(me), f'of {me}': 'new'}, 200,
            None, 0, 1, writer=me) for me in range(3)]
        bars = self.bars(self.draw({'a': '1', 'of 2': 'new'},
                                   **{'mixed replaces': 1}))
        label = plot.KINDS['mixed replaces'][2]
        self.assertEqual([False, True, True],
                         [label in said for said, _rect in bars])

    def test_where_it_is(self):
        first, second, other, last = (
            {name: float(rect.get(name)) for name in ('x', 'y', 'width')}
            for _, rect in self.bars(self.draw({})))
        self.assertEqual(first['y'], second['y'])
        self.assertEqual([plot.LANE] * 2, [other['y'] - first['y'],
                                           last['y'] - other['y']])
        # Four seconds are as wide as there is room.
        second_wide = (plot.WIDTH - plot.LEFT - plot.RIGHT) / 4
        for bar, begun, seconds in ((first, 0, 1), (second, 1, 3),
                                    (other, .5, 1.5), (last, 2, 1)):
            self.assertAlmostEqual(plot.LEFT + begun * second_wide, bar['x'],
                                   delta=1)
            self.assertAlmostEqual(seconds * second_wide, bar['width'],
                                   delta=2)

    def test_text(self):
        texts = self.texts(self.draw({}, **{'lost updates': 2,
                                            'double deletes': 0}))
        self.assertEqual('a & b', texts[0])
        self.assertIn('mergelost updates: 2', texts)
        for label in [label for _, _, label in plot.KINDS.values()] + [
                'writer 0', '0 s', '0.5 s', '4 s']:
            self.assertIn(label, texts)
        self.assertIn('mergenothing lost', self.texts(self.draw({})))

    def test_ticks(self):
        for seconds, count, last in ((0, 1, 0), (.004, 5, .004),
                                     (.9, 10, .9), (1, 6, 1), (4.9, 10, 4.5),
                                     (61, 7, 60), (3600, 8, 3500)):
            ticks = plot._ticks(seconds)
            self.assertEqual(count, len(ticks), seconds)
            self.assertAlmostEqual(last, ticks[-1])
