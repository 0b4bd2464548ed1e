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

"""Which releases of Nova nova-meta works with.

This module imports little of Nova, so that on a release of Nova that has moved
things around it still gets to say what is wrong.
"""

import importlib.metadata

from nova import version as nova_version

from nova_meta import exception

# The major versions of Nova that nova-meta is tested with.
SERIES = {29: '2024.1', 30: '2024.2', 31: '2025.1', 32: '2025.2',
          33: '2026.1', 34: '2026.2'}


def version():
    """Return the version of nova-meta."""
    return importlib.metadata.version('nova-meta')


def major(nova):
    """Return the major version of a version of Nova, as a number.

    :raises: ValueError if it has none
    """
    return int(nova.split('.')[0])


def check():
    """Refuse a Nova that nova-meta was not tested with.

    :raises: UnsupportedNova
    """
    found = nova_version.version_string()
    if major(found) not in SERIES:
        raise exception.UnsupportedNova(
            found=found, oldest=min(SERIES), newest=max(SERIES))
