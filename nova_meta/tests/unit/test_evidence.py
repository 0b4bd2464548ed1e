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

"""Pages that a run writes."""

import testtools

from nova_meta_lab import evidence


class PageTestCase(testtools.TestCase):

    def test_page(self):
        page = evidence.page(
            'Title', 'module', ['--seed', '3', '--evidence', 'file', 'x'],
            1.25, evidence.table(('a', 'b'), (1, '')))
        self.assertIn('\nTitle\n=====\n', page)
        # Where it was written to does not matter.
        self.assertIn(':Command: ``python -m module --seed 3 x``\n', page)
        self.assertTrue(page.endswith(
            '   * - a\n     - b\n   * - 1\n     -\n'), page)
