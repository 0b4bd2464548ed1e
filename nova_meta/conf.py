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
How often a metadata change is tried again after a database conflict.

A change that loses against another one (a deadlock, a lock wait timeout, a
certification failure on Galera) is rolled back and starts again from fresh
reads, after a short random pause. When the tries are used up the client gets
409 and nothing has been changed.

On a single database server conflicts are rare. On a Galera cluster that is
written through several nodes they are not, and the default is made for that: a
change that meets one conflict after the other uses it up in about the time
that ``retry_timeout`` allows. 0 turns retries off.

Related options:

* ``[nova_meta]/retry_timeout``
"""),
    cfg.FloatOpt(
        'retry_timeout',
        default=30.0,
        min=0,
        help="""
How long, in seconds, a metadata change may go on being tried again.

No new try begins after this time, whatever ``max_retries`` says. A try that
has begun may still wait for a lock as long as the database allows, so the
longest that a request can take is this plus the lock wait time-out of the
database:

* MariaDB and MySQL: ``innodb_lock_wait_timeout``, 50 seconds by default. With
  both defaults a request can take 80 seconds.
* PostgreSQL: ``lock_timeout``, which by default is not limited.
* SQLite: ``timeout`` of the connection, 5 seconds by default.

To wait less, at no cost for a request, put it into the database URL of the
cell and of the API database, such as
``?init_command=SET%20SESSION%20innodb_lock_wait_timeout%3D20`` with PyMySQL or
``?options=-c%20lock_timeout%3D20000`` with psycopg2. It holds for all that
nova-api does there. A server that does not answer at all is waited for as long
as the driver does (``read_timeout`` of PyMySQL). A request that finds out that
it needs more of the quota than expected begins again, with as much time.

Keep the sum below the time-out of the proxy in front of nova-api, which is
often 60 seconds, or clients get the proxy's error instead of a 409 that says
what happened.

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
