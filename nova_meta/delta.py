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

"""What a request changes in a map of keys to values.

A :class:`Delta` says what to change and not what was there. So it can be
applied again, to whatever the map has become. Keys are compared as Python
strings: ``foo`` and ``Foo`` are two keys on every database.
"""

import dataclasses
from typing import Mapping
from typing import Optional


@dataclasses.dataclass(frozen=True)
class Delta:
    """A change of a map.

    :param put: the pairs to set
    :param drop: the keys to remove
    :param keep: whether all other keys stay
    """

    put: Mapping[str, Optional[str]] = dataclasses.field(default_factory=dict)
    drop: frozenset = frozenset()
    keep: bool = True

    def apply(self, current):
        """Apply the change to a map.

        :param current: the map; it is not modified
        :returns: a new dict
        """
        kept = {key: value for key, value in current.items()
                if self.keep and key not in self.drop}
        return {**kept, **self.put}


def merge(pairs):
    """Set the given pairs and keep everything else."""
    return Delta(put=dict(pairs))


def replace(pairs):
    """Set the given pairs and nothing else."""
    return Delta(put=dict(pairs), keep=False)


def remove(*keys):
    """Remove the given keys, present or not, and keep everything else."""
    return Delta(drop=frozenset(keys))


def difference(base, mine, together=frozenset()):
    """Return the change that makes one map of another.

    :param base: the map before
    :param mine: the map after
    :param together: keys that are one value in pieces: if one of them was
        changed, all are set to their values in ``mine``
    """
    changed = {key for key, value in base.items() ^ mine.items()}
    if changed & together:
        changed |= together
    return Delta(put={key: value for key, value in mine.items()
                      if key in changed},
                 drop=frozenset(changed.difference(mine)))
