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

"""Services that save one server at once, through nova-conductor.

``python -m nova_meta_lab.savers SERVER --config-file nova.conf ...``, in which
``[database]`` is that of the server's cell. A program of its own, as eventlet
patches all of a process: nova-conductor and nova-compute run in green threads
up to Nova 32. Here they are in one process, on a bus that is in its memory.

Each service saves a key of its own in the system_metadata, again and again, as
nova-compute does, by a call of nova-conductor. Prints, as JSON, whether they
were in green threads, what they were told is there, and their errors.
"""

# First of all, since it patches.
from nova.cmd import conductor as cmd  # noqa: F401  isort: skip

import json
import sys
import threading

from eventlet import patcher
from nova.conductor import rpcapi
from nova import config
from nova import context as nova_context
from nova import objects
from nova import service
from oslo_config import cfg

CONF = cfg.CONF
CONF.register_cli_opts([
    cfg.StrOpt('server', positional=True, required=True),
    cfg.BoolOpt('stock', default=False,
                help='Whether they are without nova-meta.'),
    cfg.IntOpt('savers', default=16),
    cfg.IntOpt('times', default=4, help='How often each of them saves.'),
])


class Saver(threading.Thread):
    """A service.

    :ivar kept: what it was told is there
    :ivar errors: what else it was told
    """

    def __init__(self, number, barrier):
        super().__init__(daemon=True)
        self._key = f'saver_{number}'
        self._barrier = barrier
        self.kept, self.errors = {}, []

    def run(self):
        context = nova_context.get_admin_context()
        server = objects.Instance.get_by_uuid(
            context, CONF.server, expected_attrs=['system_metadata'])
        # From now on it has no database.
        server.indirection_api = rpcapi.ConductorAPI()
        self._barrier.wait()
        for number in range(CONF.times):
            server.system_metadata[self._key] = str(number)
            try:
                server.save()
            except Exception as exc:
                self.errors.append(repr(exc))
            else:
                self.kept[self._key] = str(number)


def main():
    config.parse_args(sys.argv)
    objects.register_all()
    if not CONF.stock:
        import nova_meta.objects  # noqa: F401
    conductor = service.Service.create(binary='nova-conductor',
                                       topic=rpcapi.RPC_TOPIC)
    conductor.start()
    barrier = threading.Barrier(CONF.savers)
    savers = [Saver(number, barrier) for number in range(CONF.savers)]
    for one in savers:
        one.start()
    for one in savers:
        one.join()
    json.dump({'greened': patcher.is_monkey_patched('thread'),
               'kept': {key: value for one in savers
                        for key, value in one.kept.items()},
               'errors': [error for one in savers for error in one.errors]},
              sys.stdout)
    conductor.stop()


if __name__ == '__main__':
    main()
