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

"""How rounds are played."""

import concurrent.futures

import testtools

from nova_meta.race import workload


class Subject:
    """A map that nobody can write to."""

    quota = 128

    def prepare(self, pairs):
        pass

    def client(self, number):
        pass


class PlayerTestCase(testtools.TestCase):

    def test_ends_if_not_all_can_start(self):
        submit, started = concurrent.futures.ThreadPoolExecutor.submit, []

        def few(*args):
            if len(started) == 3:
                raise RuntimeError("can't start new thread")
            started.append(submit(*args))
            return started[-1]

        self.patch(concurrent.futures.ThreadPoolExecutor, 'submit', few)
        self.assertRaises(RuntimeError, workload.Player(Subject()).play,
                          workload.named('merge'), 4)
        self.assertTrue(all(one.done() for one in started))
