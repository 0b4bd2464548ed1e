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

"""What a long run tells."""

import collections

import testtools

from nova_meta_lab import soak


class TableTestCase(testtools.TestCase):

    def test_rows(self):
        one = soak.Judged(collections.Counter({200: 5, 403: 2, None: 1}), 4)
        other = soak.Judged(collections.Counter({204: 3, 503: 2}), 3, 1, 2)
        self.assertEqual([
            ('a', 8, 4, 2, 0, 0, 0, 0, 1, 0, 0),
            ('b', 5, 3, 0, 0, 0, 0, 2, 0, 1, 2),
            ('all', 13, 7, 2, 0, 0, 0, 2, 1, 1, 2),
        ], list(soak.rows({'a': one, 'b': other})))
        for row in soak.rows({'a': one}):
            self.assertEqual(len(soak.COLUMNS), len(row))
