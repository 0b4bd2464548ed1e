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

"""The quota of a map, checked before the row lock is taken.

A quota check reads tables of another database, or asks Keystone. Neither may
happen while other requests wait for the lock. But only under the lock is it
known how many items the map will have. So the check is made beforehand for a
number that is likely to be enough. A request that turns out to need more gives
up the lock, has that number checked, and starts over.
"""

import contextlib


class NotChecked(Exception):
    """The map would have more items than the quota check was made for.

    :param count: how many it would have
    """

    def __init__(self, count):
        super().__init__(count)
        self.count = count


class Allowance:
    """The largest number of items that has passed a quota check.

    :param check: called with a number of items; raises if that is too many
    """

    def __init__(self, check):
        self._check = check
        self._passed = -1

    def expect(self, guess):
        """Check a likely number, not under a lock.

        Errors are ignored: others come first, such as the state of the server,
        and those are not known yet.

        :param guess: called without arguments, returns the number
        """
        with contextlib.suppress(Exception):
            self.ask(guess())

    def ask(self, count):
        """Check a number that is needed, not under a lock.

        :raises: what the check raises
        """
        if count > self._passed:
            self._check(count)
            self._passed = count

    def require(self, count):
        """Ensure that a number has passed the check; for use under a lock.

        :raises: NotChecked if it has not
        """
        if count > self._passed:
            raise NotChecked(count)
