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

"""What clients were told, in files."""

import io
import math

import testtools

from nova_meta import etag
from nova_meta.race import history
from nova_meta.race import judge
from nova_meta_lab import histories


class HistoriesTestCase(testtools.TestCase):

    def again(self, played):
        """Write a round, and read it."""
        file = io.StringIO()
        histories.dump(played, file)
        file.seek(0)
        return histories.load(file)

    def test_without_conditions(self):
        for quota in 7, math.inf:
            played = judge.Round({'a': '1'}, [
                history.Operation(history.LIST, None, None, 200, {'a': '1'},
                                  0, 1),
                history.Operation(history.SET, 'a', {'a': '2'}, None, None,
                                  0, 1, writer=3)], {'a': '2'}, quota)
            self.assertEqual(played, self.again(played))

    def test_condition(self):
        tag = etag.of_item('a', {'a': '1'})
        for status, faults in (200, 0), (412, 1):
            found = self.again(judge.Round({'a': '1'}, [
                history.Operation(
                    history.SET, 'a', {'a': '2'}, status, {'a': '2'}, 0, 1,
                    condition=etag.Condition.of(etag.of('a'), f'"{tag}"',
                                                None))],
                {'a': '2' if status == 200 else '1'}))
            self.assertEqual(
                faults, judge.judge(found).faults['impossible rounds'])
