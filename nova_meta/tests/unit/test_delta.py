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

"""The laws of changes, on any map."""

import hypothesis
from hypothesis import strategies as st
import testtools

from nova_meta import delta

KEYS = st.sampled_from(['a', 'A', 'b', 'c', 'ß', ' '])
MAPS = st.dictionaries(KEYS, st.sampled_from(['', '1', '2']))
DELTAS = st.one_of(
    st.builds(delta.merge, MAPS),
    st.builds(delta.replace, MAPS),
    st.builds(lambda keys: delta.remove(*keys), st.sets(KEYS)))


class DeltaTestCase(testtools.TestCase):

    @hypothesis.given(MAPS, MAPS)
    def test_merge_sets_and_keeps(self, current, pairs):
        after = delta.merge(pairs).apply(current)
        self.assertEqual(set(current) | set(pairs), set(after))
        for key, value in after.items():
            self.assertEqual(pairs.get(key, current.get(key)), value)

    @hypothesis.given(MAPS, MAPS)
    def test_replace_leaves_nothing_else(self, current, pairs):
        self.assertEqual(pairs, delta.replace(pairs).apply(current))

    @hypothesis.given(MAPS, st.sets(KEYS))
    def test_remove_takes_those_keys_only(self, current, keys):
        after = delta.remove(*keys).apply(current)
        self.assertEqual(
            {k: v for k, v in current.items() if k not in keys}, after)

    @hypothesis.given(MAPS, DELTAS)
    def test_twice_is_once(self, current, change):
        once = change.apply(current)
        self.assertEqual(once, change.apply(once))

    @hypothesis.given(MAPS, MAPS, MAPS)
    def test_merges_of_other_keys_commute(self, current, one, other):
        hypothesis.assume(not set(one) & set(other))
        one, other = delta.merge(one), delta.merge(other)
        self.assertEqual(one.apply(other.apply(current)),
                         other.apply(one.apply(current)))

    @hypothesis.given(MAPS, DELTAS, DELTAS)
    def test_last_replace_wins(self, current, change, other):
        last = delta.replace({'a': 'last'})
        self.assertEqual(last.apply(current),
                         last.apply(change.apply(other.apply(current))))

    @hypothesis.given(MAPS, DELTAS)
    def test_arguments_stay_as_they_are(self, current, change):
        before, put = dict(current), dict(change.put)
        after = change.apply(current)
        after['new'] = 'value'
        self.assertEqual(before, current)
        self.assertEqual(put, change.put)

    @hypothesis.given(MAPS, MAPS)
    def test_later_changes_of_the_pairs_do_not_matter(self, current, pairs):
        change = delta.merge(pairs)
        after = change.apply(current)
        pairs['new'] = 'value'
        self.assertEqual(after, change.apply(current))

    @hypothesis.given(MAPS, MAPS)
    def test_difference_makes_the_one_of_the_other(self, base, mine):
        self.assertEqual(mine, delta.difference(base, mine).apply(base))

    @hypothesis.given(MAPS, MAPS, MAPS)
    def test_difference_leaves_what_did_not_differ(self, base, mine, current):
        after = delta.difference(base, mine).apply(current)
        for key in {*base, *mine, *current}:
            same = key in base and key in mine and base[key] == mine[key]
            expected = current if same or key not in {*base, *mine} else mine
            self.assertEqual(expected.get(key), after.get(key))
            self.assertEqual(key in expected, key in after)

    @hypothesis.given(MAPS, MAPS, MAPS, st.frozensets(KEYS))
    def test_difference_keeps_together(self, base, mine, current, together):
        after = delta.difference(base, mine, together).apply(current)

        def pieces(pairs):
            return {key: pairs[key] for key in together & pairs.keys()}

        self.assertEqual(
            pieces(current if pieces(base) == pieces(mine) else mine),
            pieces(after))
