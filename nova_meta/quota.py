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

"""How many items a map may have, asked before the row lock is taken.

A quota check reads tables of another database, or asks Keystone; neither may
happen while other requests wait for the lock. But only under the lock is it
known how many items the map will have. So the check is asked beforehand for a
number that is most likely enough, its answer is kept, and a request that turns
out to need more leaves the lock, asks again and starts over.
"""

import contextlib


class NotChecked(Exception):
    """More items are needed than the quota check has been asked for.

    :param count: the number of items needed
    """

    def __init__(self, count):
        super().__init__(count)
        self.count = count


class Allowance:
    """The largest number of items that a quota check has let pass.

    :param check: called with a number of items; raises if that is too many
    """

    def __init__(self, check):
        self._check = check
        self._passed = -1

    def expect(self, guess):
        """Have a likely number checked; a refusal decides nothing yet.

        Nor does another error: what is to be told first, such as the state of
        the server, is not known yet. Not to be called under a lock.

        :param guess: called without arguments, returns the number
        """
        with contextlib.suppress(Exception):
            self.ask(guess())

    def ask(self, count):
        """Have a number checked that is needed; not to be called under a lock.

        :raises: what the check raises
        """
        if count > self._passed:
            self._check(count)
            self._passed = count

    def require(self, count):
        """Say whether so many items have been let pass.

        :raises: NotChecked if the check has not let that many pass
        """
        if count > self._passed:
            raise NotChecked(count)
