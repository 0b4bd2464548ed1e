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

"""Start over after a database conflict.

oslo.db does the waiting. Its default pauses grow from one second to ten. Here
conflicts are over sooner, so the pauses begin shorter, and are random while
they grow. If many writers collide, longer pauses help more than more tries.
"""

import itertools
import re
import time

from oslo_db import api as oslo_db_api
from oslo_db import exception as db_exc
from oslo_log import log as logging
from sqlalchemy import exc as sqla_exc

from nova_meta.db import swap

LOG = logging.getLogger(__name__)

# Seconds. The first pause is this long. Each later one is random, up to twice
# the limit of the one before, and cut off at the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

# What oslo.db has no exception for, at least in the older releases that are
# supported here. MySQL and MariaDB: record has changed since last read, lock
# wait timeout, deadlock; what a group of MySQL servers does not certify, at
# COMMIT. PostgreSQL: serialization failure, deadlock, lock not
# available. SQLite: under several names, which Python tells since 3.11 only.
MYSQL_CONFLICTS = frozenset((1020, 1205, 1213, 3101))
POSTGRESQL_CONFLICTS = frozenset(('40001', '40P01', '55P03'))
SQLITE_CONFLICT = 'database is locked'

# Error during COMMIT. Galera: of a node that has just lost the cluster. MySQL
# Group Replication: of a transaction that was rolled back because another one
# that was certified needed its locks; that has a number of its own within.
MYSQL_COMMIT = 1180
COMMIT_DEADLOCK = re.compile(r'\b149\b')

# Since this process was started.
_retries, _exhausted = itertools.count(1), itertools.count(1)


class RetriesExhausted(Exception):
    """Every try that the budget allowed has met a conflict."""


def is_conflict(exc):
    """Tell whether an error means that somebody else was faster.

    Whoever meets it has changed nothing, and may start over.

    :param exc: an exception of SQLAlchemy, oslo.db or the engine
    :returns: bool
    """
    if isinstance(exc, (db_exc.DBDeadlock, swap.VersionMismatch)):
        return True
    driver = _of_driver(exc)
    if driver is None:
        return False
    return (driver.args[:1] and driver.args[0] in MYSQL_CONFLICTS or
            _failed_at_commit(driver) and _is_deadlock(driver) or
            getattr(driver, 'pgcode', None) in POSTGRESQL_CONFLICTS or
            driver.args == (SQLITE_CONFLICT,))


def is_connection_lost(exc):
    """Tell whether an error means that the database server is gone.

    Or is not there yet, or its node is no part of its cluster. Before
    COMMIT nothing was changed. At COMMIT nobody knows.

    :param exc: an exception of SQLAlchemy, oslo.db or the engine
    :returns: bool
    """
    if isinstance(exc, db_exc.DBConnectionError):
        return True
    if isinstance(exc, sqla_exc.OperationalError) and exc.statement is None:
        # There was no connection to be had. oslo.db does not know what
        # psycopg2 says of a server that is starting up.
        return not is_conflict(exc)
    driver = _of_driver(exc)
    return (driver is not None and _failed_at_commit(driver) and
            not _is_deadlock(driver))


def _failed_at_commit(driver):
    return driver.args[:1] == (MYSQL_COMMIT,)


def _is_deadlock(driver):
    return bool(COMMIT_DEADLOCK.search(str(driver.args[1:])))


def _of_driver(exc):
    return getattr(getattr(exc, 'inner_exception', exc), 'orig', None)


def run(function, max_retries, timeout, retry_on=is_conflict, what='changes'):
    """Call a function until it meets no conflict.

    :param function: called without arguments; it must begin a transaction of
        its own and depend on nothing that an earlier call has read
    :param max_retries: how many calls may follow the first one
    :param timeout: seconds after which no further call is begun
    :param retry_on: tells of an exception whether to call again
    :param what: names in the log what the function changes
    :returns: what the function returns
    :raises: RetriesExhausted if the budget is spent and the last call met a
        conflict, too; any other error as it is
    """
    begun = time.monotonic()
    tries, failed = 0, None

    def is_late():
        return time.monotonic() >= begun + timeout

    def attempt():
        nonlocal tries
        # The pause may have been too long.
        if failed and is_late():
            raise failed
        tries += 1
        return function()

    def report(exc):
        return {'what': what, 'tries': tries, 'error': exc,
                'spent': time.monotonic() - begun}

    def may_retry(exc):
        nonlocal failed
        if not retry_on(exc) or tries > max_retries or is_late():
            return False
        failed = exc
        LOG.debug('Try %(tries)d to change %(what)s has failed after '
                  '%(spent).2f s: %(error)s. This process has tried again '
                  '%(total)d times.',
                  {**report(exc), 'total': next(_retries)})
        return True

    retrying = oslo_db_api.wrap_db_retry(
        retry_interval=FIRST_PAUSE, max_retry_interval=LONGEST_PAUSE,
        max_retries=max_retries, inc_retry_interval=True, jitter=True,
        exception_checker=may_retry)
    try:
        return retrying(attempt)()
    except Exception as exc:
        if not is_conflict(exc):
            raise
        LOG.warning('Gave up changing %(what)s after %(tries)d tries in '
                    '%(spent).2f s: %(error)s. This process has given up '
                    '%(total)d times.',
                    {**report(exc), 'total': next(_exhausted)})
        raise RetriesExhausted() from exc
