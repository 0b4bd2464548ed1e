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

"""A server of a cloud, whose metadata the clients write at once.

Other people's keys may be beside those of the clients, which all begin with a
prefix. Workloads and judgements see keys without it, and no others.
"""

import contextlib
import math
import secrets
import time
from typing import NamedTuple

from keystoneauth1 import exceptions as keystone_exceptions
from openstack import exceptions

from nova_meta.race import client

PREFIX = 'nova-meta-race-'

# Seconds that a server may take to be made, or deleted, and between looks.
SERVER_TIMEOUT, INTERVAL = 600, 2
# Seconds after which each database node that answers has seen all changes.
LAG = 0.5
# Seconds to wait before each try of what a hiccup of the cloud may fail.
PAUSES = (0, 1, 2, 4, 8)


class CloudError(Exception):
    """It cannot be done, or should not; the message says why."""


# What another try may not meet; a time-out has been waited for already.
TROUBLE = (CloudError, exceptions.HttpException,
           keystone_exceptions.ClientException)


class Others(NamedTuple):
    """The keys of others that are not what they were.

    :param lost: those that were gone, and have been put back
    :param changed: those that have another value, which stays
    """

    lost: list
    changed: list


class Client(client.MetadataClient):
    """One client of the metadata that has a prefix.

    :param compute: an :class:`openstack.compute.v2._proxy.Proxy`
    :param server: the ID of the server
    :param prefix: what each key begins with in the cloud, and not here
    """

    def __init__(self, compute, server, prefix):
        super().__init__('', server)
        self._compute = compute
        self._prefix = prefix

    def _key(self, key):
        return self._prefix + key

    def _body(self, key, pairs):
        return super()._body(key, {self._key(k): v for k, v in pairs.items()})

    def _pairs(self, key, answer):
        pairs = super()._pairs(key, answer)
        return None if pairs is None else _own(pairs, self._prefix)

    def _send(self, method, path, body):
        try:
            # What is sent twice behind our back cannot be judged.
            answer = self._compute.request(
                path, method, data=body, timeout=client.TIMEOUT,
                headers={'Content-Type': 'application/json'},
                connect_retries=0, status_code_retries=0, skip_cache=True)
        except keystone_exceptions.ConnectionError as exc:
            raise ConnectionError(str(exc)) from exc
        try:
            decoded = answer.json()
        except ValueError:
            # That of a DELETE, or of a proxy.
            decoded = None
        return answer.status_code, answer.headers.get('ETag'), (
            decoded if isinstance(decoded, dict) else {})


class Metadata:
    """The metadata of a server, read and prepared by the API.

    ``quota`` is how many items there is room for.

    :param compute: an :class:`openstack.compute.v2._proxy.Proxy`
    :param server: an :class:`openstack.compute.v2.server.Server`
    :param most: how many items the server may have
    :param whole: whether all of it may be replaced
    :raises: an :class:`openstack.exceptions.SDKException` if it cannot be read
    """

    def __init__(self, compute, server, most, whole=False):
        self._compute = compute
        self._server = server
        self._whole = whole
        self._round = 0
        self.prefix = f'{PREFIX}{secrets.token_hex(2)}.'
        self.found = self._read()
        self.quota = most if whole else most - len(self.found)

    @property
    def _prefix(self):
        # Another one for each round: a request of the one before whose answer
        # was lost may be carried out yet.
        return f'{self.prefix}{self._round}.'

    def client(self, number):
        """Return a client for the writer of that number."""
        return Client(self._compute, self._server.id, self._prefix)

    def prepare(self, pairs):
        """Make the keys with a prefix be these.

        :raises: CloudError if that cannot be done
        """
        self._round += 1
        self._write({self._prefix + key: value
                     for key, value in pairs.items()})

    def rows(self):
        """Return what is there with the prefix as (key, value)."""
        time.sleep(LAG)
        return list(_own(_tried(self._read), self._prefix).items())

    def try_out(self):
        """Write a key and remove it again.

        :raises: CloudError if the server takes no metadata now
        """
        self._write({f'{self.prefix}0': 'try'}, pauses=(0,))
        self._write({})

    def restore(self):
        """Remove the keys with a prefix, and put back what others have lost.

        :returns: :class:`Others`
        :raises: CloudError if that cannot be done
        """
        there = _tried(self._read)
        lost = {key: value for key, value in self.found.items()
                if key not in there}
        self._write({}, lost)
        return Others(sorted(lost), sorted(
            key for key, value in self.found.items()
            if there.get(key, value) != value))

    def _read(self):
        answer = self._compute.get(f'/servers/{self._server.id}/metadata',
                                   skip_cache=True)
        exceptions.raise_from_response(answer)
        return answer.json()['metadata']

    def _write(self, wanted, lost=None, pauses=None):
        """Make the keys with a prefix be these, until they are.

        :param wanted: the keys and their values
        :param lost: keys without the prefix, to write if they are not there
        """
        try:
            _tried(lambda: self._write_once(wanted, lost or {}), pauses)
        except TROUBLE as exc:
            raise CloudError(f'The metadata of server {self._server.id} '
                             f'cannot be written: {exc}') from exc

    def _write_once(self, wanted, lost):
        self._change(self._read(), wanted, lost)
        time.sleep(LAG)
        there = self._read()
        if _own(there, self.prefix) != _own(wanted, self.prefix) or (
                not lost.keys() <= there.keys()):
            raise CloudError('it is not what was written')

    def _change(self, there, wanted, lost):
        if self._whole:
            self._server.replace_metadata(self._compute, wanted)
            return
        for key in there:
            if key.startswith(self.prefix) and key not in wanted:
                with contextlib.suppress(exceptions.NotFoundException):
                    self._compute.delete_server_metadata(self._server.id,
                                                         [key])
        missing = {key: value for key, value in wanted.items()
                   if there.get(key) != value}
        missing |= {key: value for key, value in lost.items()
                    if key not in there}
        if missing:
            self._server.set_metadata(self._compute, missing)


def _tried(function, pauses=None):
    """Call a function until it is through, or there were tries enough.

    :param pauses: seconds to wait before each try; PAUSES if not given
    :raises: what the last try has raised
    """
    *before, last = PAUSES if pauses is None else pauses
    for pause in before:
        time.sleep(pause)
        with contextlib.suppress(*TROUBLE):
            return function()
    time.sleep(last)
    return function()


def _own(pairs, prefix):
    return {key.removeprefix(prefix): value for key, value in pairs.items()
            if key.startswith(prefix)}


def find(connection, name):
    """Return the server of that name or ID, if it may be written to.

    :param connection: an :class:`openstack.connection.Connection`
    :returns: an :class:`openstack.compute.v2.server.Server`
    :raises: CloudError if it is somebody else's, is locked, or seems to be
        raced on; an :class:`openstack.exceptions.SDKException` if there is no
        such server, or more than one
    """
    server = connection.compute.find_server(name, ignore_missing=False)
    mine = connection.current_project_id
    if mine is None or server.project_id != mine:
        raise CloudError(f'Server {server.id} is not of the project that you '
                         f'are in ({mine}), but of {server.project_id}.')
    if server.is_locked:
        raise CloudError(f'Server {server.id} is locked.')
    strange = sorted(key for key in server.metadata or {}
                     if key.startswith(PREFIX))
    if strange:
        raise CloudError(
            f'Server {server.id} has keys of another race. If none is going '
            'on, one could not clean up; remove ' + ', '.join(strange))
    return server


@contextlib.contextmanager
def made(connection, say, flavor=None, image=None, network=None):
    """Make a server, and delete it when the context ends.

    :param connection: an :class:`openstack.connection.Connection`
    :param say: called with what is about to be done
    :param flavor: name or ID; the smallest one that fits if not given
    :param image: name or ID; the only one there is if not given
    :param network: name or ID; the server has no network if not given
    :returns: a context manager of a
        :class:`openstack.compute.v2.server.Server` that is ACTIVE
    :raises: CloudError if there is no such server to be had
    """
    image = _image(connection, image)
    flavor = _flavor(connection, flavor, image)
    networks = [{'uuid': connection.network.find_network(
        network, ignore_missing=False).id}] if network else 'none'
    compute = connection.compute
    name = PREFIX + secrets.token_hex(4)
    say(f'Making server {name}.')
    try:
        yield _active(compute, compute.create_server(
            name=name, flavor_id=flavor.id, image_id=image.id,
            networks=networks))
    finally:
        say(f'Deleting server {name}.')
        _tried(lambda: _delete(compute, name))


def _delete(compute, name):
    # By its name, as the answer that has its ID may have been lost.
    for server in compute.servers(details=False, name=f'^{name}$'):
        compute.delete_server(server)
        try:
            compute.wait_for_status(server, 'SOFT_DELETED', [], INTERVAL,
                                    SERVER_TIMEOUT)
        except exceptions.NotFoundException:
            continue
        # Nova would keep it for a while ([DEFAULT]/reclaim_instance_interval).
        compute.delete_server(server, force=True)
        compute.wait_for_delete(server, INTERVAL, SERVER_TIMEOUT)


def _active(compute, server):
    try:
        return compute.wait_for_server(server, interval=INTERVAL,
                                       wait=SERVER_TIMEOUT)
    except (exceptions.ResourceFailure, exceptions.ResourceTimeout) as exc:
        fault = compute.get_server(server.id).fault or {}
        raise CloudError(f'The server does not become ACTIVE: '
                         f'{fault.get("message", exc)}') from None


def _image(connection, name):
    if name:
        return connection.image.find_image(name, ignore_missing=False)
    images = list(connection.image.images(status='active'))
    if len(images) != 1:
        raise CloudError(
            f'There are {len(images)} images: say which one the server is '
            'made of, with --image, or name a server with --server.')
    return images[0]


def _flavor(connection, name, image):
    if name:
        return connection.compute.find_flavor(name, ignore_missing=False)
    fitting = [one for one in connection.compute.flavors()
               if one.ram >= (image.min_ram or 0) and
               one.disk >= max(1, image.min_disk or 0)]
    if not fitting:
        raise CloudError('There is no flavor with enough memory and disk for '
                         f'image {image.id}: name one with --flavor.')
    return min(fitting, key=lambda one: (one.ram, one.vcpus, one.disk))


def limit(connection):
    """Return how many items of metadata a server of the project may have.

    :param connection: an :class:`openstack.connection.Connection`
    :returns: a number, which may be infinite
    """
    most = connection.compute.get_limits().absolute.server_meta
    return math.inf if most is None or most < 0 else most


def check_room(room, writers):
    """See to it that each writer can have a key.

    :param room: how many items the server may have beside those it has
    :raises: CloudError
    """
    if room < writers:
        raise CloudError(
            f'{writers} writers need as many items of metadata, and the '
            f'server may have no more than {room} beside those it has' +
            (f': try --writers {room}.' if room > 0 else '.'))
