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

import random
import time

import openstack


def change_metadata(compute, server_id, decide):
    """Replace the metadata of a server by what a function makes of it.

    :param compute: the ``compute`` of an openstack.connection.Connection
    :param decide: called with the metadata, returns the new metadata; once
        more each time that somebody else was faster
    :returns: the new metadata
    """
    url = f'/servers/{server_id}/metadata'
    for attempt in range(20):
        seen = compute.get(url)
        openstack.exceptions.raise_from_response(seen)
        answer = compute.put(
            url, json={'metadata': decide(seen.json()['metadata'])},
            headers={'If-Match': seen.headers['ETag']})
        if answer.status_code != 412:
            openstack.exceptions.raise_from_response(answer)
            return answer.json()['metadata']
        time.sleep(random.uniform(0, min(2, 0.05 * 2 ** attempt)))
    raise RuntimeError(f'the metadata of {server_id} is changed all the time')
