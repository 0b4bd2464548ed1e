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

"""The quota of a map, looked up before the row lock is taken.

A quota check reads tables of another database, or asks Keystone. Neither may
happen while other requests wait for the lock. But only under the lock is it
known how many items the map will have. So beforehand the limit is read. Where
only a driver knows it, which says yes or no to a number, one is checked that
is likely to be enough.

A request that turns out to need more gives up the lock, has that number
checked, and starts over if it passes.
"""

from nova import exception as nova_exception
from oslo_log import log as logging

from nova_meta.db import retry

LOG = logging.getLogger(__name__)


class NotChecked(Exception):
    """The map would have more items than are known to be allowed.

    :param count: how many it would have
    """

    def __init__(self, count):
        super().__init__(count)
        self.count = count


class Allowance:
    """The largest number of items that is known to be allowed.

    :param check: called with a number of items; raises if that is too many
    :param limit: called without arguments, reads the number that the check
        would let pass; None if nobody can tell
    """

    def __init__(self, check, limit=None):
        self._check = check
        self._limit = limit
        self._passed = -1
        # The smallest number that was not let pass, and why.
        self._refused = None

    def expect(self, guess):
        """Read the limit, or check a likely number; not under a lock.

        Errors are only logged: others come first, such as the state of the
        server, and those are not known yet. Nor will they be if the database
        is down.

        :param guess: called without arguments, returns the number
        :raises: what there is if the database is down
        """
        try:
            if self._limit:
                self._passed = self._limit()
            else:
                self._pass(guess())
        except Exception as exc:
            if retry.is_connection_lost(exc):
                raise
            LOG.debug("No number of items is known to be allowed",
                      exc_info=True)

    def ask(self, count):
        """Check a number that is needed, not under a lock.

        :raises: what the check raises
        """
        # The limit may have been raised. Of a check, some room is asked for,
        # or each key that others add meanwhile would lead here again.
        self.expect(lambda: count * 5 // 4)
        self._pass(count)

    def require(self, count):
        """Ensure that a number is allowed; for use under a lock.

        :raises: NotChecked if that is not known
        """
        if count > self._passed:
            raise NotChecked(count)

    def _pass(self, count):
        if count <= self._passed:
            return
        if self._refused and count >= self._refused[0]:
            raise self._refused[1]
        try:
            self._check(count)
        except nova_exception.OverQuota as exc:
            self._refused = count, exc
            raise
        self._passed = count
