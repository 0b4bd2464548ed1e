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

"""The options of nova-meta, in nova.conf."""

import nova.conf
from oslo_config import cfg

GROUP = cfg.OptGroup(
    'nova_meta',
    title='Server metadata without lost updates',
    help="How nova-api writes the metadata of servers.")

OPTS = [
    cfg.IntOpt(
        'max_retries',
        default=30,
        min=0,
        help="""
The maximum number of retries of a metadata change after database conflicts.

A change that meets a conflict (a deadlock, a lock wait timeout, a
certification failure on Galera) is rolled back. After a short random pause it
starts again from fresh reads. When the retries are used up, the client gets
409, and nothing was changed.

On a single database server conflicts are rare. On a Galera cluster that is
written to through several nodes they are not. The default is made for that:
if a change meets one conflict after the other, ``retry_timeout`` ends the
retries first. 0 turns retries off.

Related options:

* ``[nova_meta]/retry_timeout``
"""),
    cfg.FloatOpt(
        'retry_timeout',
        default=30.0,
        min=0,
        help="""
The time, in seconds, after which a metadata change is not retried any more.

No new try begins after this time, whatever ``max_retries`` says. A try that
has begun may still wait for a lock as long as the database allows. So a
request can take at most this time plus the lock wait timeout of the database,
and twice that timeout on a node of a cluster that lags behind:

* MariaDB and MySQL: ``innodb_lock_wait_timeout``, 50 seconds by default. With
  both defaults a request can take 80 seconds.
* PostgreSQL: ``lock_timeout``, which by default is not limited.
* SQLite: ``timeout`` of the connection, 5 seconds by default.

To wait less, set a shorter lock wait timeout in the database URLs of the cell
and of the API database. That costs a request nothing. For example
``?init_command=SET%20SESSION%20innodb_lock_wait_timeout%3D20`` with PyMySQL or
``?options=-c%20lock_timeout%3D20000`` with psycopg2. It applies to everything
that nova-api does in that database. If a database server does not answer at
all, the driver decides how long to wait (``read_timeout`` of PyMySQL). A
request that needs more of the quota than expected starts again, with the full
time.

Keep the sum below the timeout of the proxy in front of nova-api, which is
often 60 seconds. Otherwise clients get the proxy's error instead of a 409 that
says what happened.

Related options:

* ``[nova_meta]/max_retries``
"""),
]


def register_opts(conf):
    """Register the group and its options on a ConfigOpts object."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)


def list_opts():
    """List the options for oslo-config-generator."""
    return [(GROUP, list(OPTS))]


register_opts(nova.conf.CONF)
CONF = nova.conf.CONF
