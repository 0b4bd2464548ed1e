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

"""The laws of entity tags, and what the headers mean."""

import hypothesis
from hypothesis import strategies as st
import testtools

from nova_meta import etag

MAPS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)


def condition(if_match=None, if_none_match=None, key=None):
    return etag.Condition.of(etag.of(key), if_match, if_none_match)


class TagTestCase(testtools.TestCase):

    def test_golden(self):
        # Clients keep tags. These must be the same in all releases.
        pairs = {'b': 'ü', 'a': '1'}
        for expected, found in (
                ('8db00406fed18f01efc21fdcdffb4100', etag.of_map({})),
                ('bfcf77a9c0c7c73264d446bebbe1ae83', etag.of_map(pairs)),
                ('7a7df1c1f31f33b1a0988f07fb6e40a4',
                 etag.of_item('a', pairs))):
            self.assertEqual(expected, found)

    @hypothesis.given(MAPS, MAPS)
    def test_maps_are_equal_if_their_tags_are(self, one, other):
        self.assertEqual(one == other,
                         etag.of_map(one) == etag.of_map(other))

    @hypothesis.given(MAPS)
    def test_order_does_not_matter(self, pairs):
        self.assertEqual(etag.of_map(pairs), etag.of_map(
            dict(reversed(pairs.items()))))

    @hypothesis.given(MAPS)
    def test_items_are_not_maps(self, pairs):
        for key in pairs:
            self.assertNotEqual(etag.of_map(pairs), etag.of_item(key, pairs))
            self.assertNotEqual(etag.of_map({key: pairs[key]}),
                                etag.of_item(key, pairs))

    @hypothesis.given(MAPS, MAPS)
    def test_items_are_equal_if_their_tags_are(self, one, other):
        for key in one:
            for another in other:
                self.assertEqual(
                    (key, one[key]) == (another, other[another]),
                    etag.of_item(key, one) == etag.of_item(another, other))

    def test_other_items_do_not_matter(self):
        self.assertEqual(etag.of_item('a', {'a': '1'}),
                         etag.of_item('a', {'a': '1', 'b': '2'}))
        self.assertIsNone(etag.of_item('b', {'a': '1'}))


class ConditionTestCase(testtools.TestCase):

    PAIRS = {'a': '1'}
    MAP = etag.of_map(PAIRS)
    ITEM = etag.of_item('a', PAIRS)

    def assertHolds(self, expected, pairs=PAIRS, **kwargs):
        made = condition(**kwargs)
        self.assertIs(expected, made.holds(made.tag(pairs)), kwargs)

    def test_none(self):
        self.assertFalse(condition())
        self.assertHolds(True)
        self.assertTrue(condition(if_match='*'))
        self.assertTrue(condition(if_none_match='*'))

    def test_if_match(self):
        for expected, value in (
                (True, f'"{self.MAP}"'), (True, f'"x", "{self.MAP}"'),
                (True, f'"x","{self.MAP}"'), (True, f'"{self.MAP}" ,\t"x"'),
                # A backslash is no escape.
                (True, f'"o\\", "{self.MAP}"'), (True, f'"{self.MAP}", "\\"'),
                (True, '*'), (True, ' * '),
                (False, '"x"'), (False, f'W/"{self.MAP}"'),
                (False, f'"{self.ITEM}"'), (False, ''), (False, ','),
                (False, '*, *'),
                # WebOb lets it pass without quotes.
                (True, self.MAP)):
            self.assertHolds(expected, if_match=value)

    def test_if_none_match(self):
        for expected, value in (
                (False, f'"{self.MAP}"'), (False, f'"x","{self.MAP}"'),
                (False, f'W/"{self.MAP}"'), (False, '*'),
                (False, f'"o\\", "{self.MAP}"'),
                # As of a line that was sent twice.
                (False, '*, *'), (False, '"x",*'), (False, ' *\t, "x"'),
                (True, '"a,*,b"'), (True, '"*"'),
                (True, '"x"'), (True, f'"{self.ITEM}"'), (True, '')):
            self.assertHolds(expected, if_none_match=value)

    def test_item(self):
        self.assertHolds(True, if_match=f'"{self.ITEM}"', key='a')
        self.assertHolds(False, if_match=f'"{self.MAP}"', key='a')

    def test_missing_item(self):
        for expected, name, value in (
                (False, 'if_match', '*'), (False, 'if_match', '"x"'),
                (True, 'if_none_match', '*'), (True, 'if_none_match', '"x"')):
            self.assertHolds(expected, key='b', **{name: value})

    def test_both(self):
        self.assertHolds(True, if_match=f'"{self.MAP}"', if_none_match='"x"')
        self.assertHolds(False, if_match='"x"', if_none_match='"x"')
        self.assertHolds(False, if_match='*', if_none_match='*')
