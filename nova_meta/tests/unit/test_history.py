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

"""What a call does to a map, and whether its answer is true."""

import testtools

from nova_meta.race import history


class OperationTestCase(testtools.TestCase):

    def test_told(self):
        one = history.Operation(history.SET, 'k', {'k': '1'}, 200, {'k': '1'},
                                1, 2, writer=3)
        self.assertEqual("writer 3, 1.000000 to 2.000000 s: set 'k' "
                         "{'k': '1'}: 200", one.told())
        one = history.Operation(history.LIST, None, None, 200,
                                {'a': '1', 'b': '2'}, 1, 2)
        self.assertEqual("1.000000 to 2.000000 s: list: 200 {'a': '1'}",
                         one.told('a'))
        one = history.Operation(history.DELETE, 'k', None, None, None, 1, 2)
        self.assertEqual("1.000000 to 2.000000 s: delete 'k': no answer",
                         one.told())

    def test_differences(self):
        state = {'a': '1', 'b': '2', 'c': '3'}
        for call, key, pairs, status, answer, expected in (
                (history.LIST, None, None, 200, {'a': '1', 'd': '4'},
                 {'b', 'c', 'd'}),
                (history.MERGE, None, {'b': '0'}, 200, {'a': '1', 'b': '0'},
                 {'c'}),
                (history.SHOW, 'a', None, 200, {'a': '1'}, set()),
                (history.SHOW, 'a', None, 404, None, {'a'}),
                (history.DELETE, 'a', None, 204, None, {'a'})):
            self.assertEqual(expected, history.differences(
                state, history.Operation(call, key, pairs, status, answer, 0,
                                         1)))
