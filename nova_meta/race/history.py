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

"""What the calls do to a map, and what their clients were told."""

import math
from typing import Any
from typing import NamedTuple
from typing import Optional

LIST, SHOW, MERGE, REPLACE, SET, DELETE = (
    'list', 'show', 'merge', 'replace', 'set', 'delete')
WRITES = frozenset((MERGE, REPLACE, SET, DELETE))


class Operation(NamedTuple):
    """A call, and what its client was told.

    :param key: of the item calls
    :param pairs: what was sent
    :param status: the HTTP status; None if no answer came
    :param answer: the map or item of a 200
    :param begun: when it was sent, on any one clock
    :param ended: when the answer was there
    :param etag: the entity tag of the answer, with its quotes
    :param writer: the number of the client among those of a round
    :param condition: the :class:`nova_meta.etag.Condition` that was sent
    """

    call: str
    key: Optional[str]
    pairs: Optional[dict]
    status: Optional[int]
    answer: Any
    begun: float
    ended: float
    etag: Optional[str] = None
    writer: Optional[int] = None
    condition: Any = None

    @property
    def keys(self):
        """The keys that it names."""
        return frozenset(self.pairs if self.pairs is not None else
                         [] if self.key is None else [self.key])

    @property
    def acknowledged(self):
        return self.status in (200, 202, 204)

    @property
    def unanswered(self):
        """Whether its client was told nothing of the map."""
        return self.status is None or self.status >= 500

    @property
    def unknown(self):
        """Whether it may have happened, or not, or may happen yet."""
        return self.call in WRITES and self.unanswered

    @property
    def changes(self):
        """Whether it was told that it has changed the map."""
        return self.call in WRITES and self.acknowledged

    def told(self, keys=None):
        """Say what was asked for and answered.

        :param keys: those of interest, if not all that it names
        """
        keys = self.keys if keys is None else keys
        asked = [self.call]
        if self.key is not None:
            asked.append(repr(self.key))
        if self.pairs is not None and self.call != DELETE:
            asked.append(str(part(self.pairs, keys)))
        if self.condition:
            asked.append('on a condition')
        told = [str(self.status or 'no answer')]
        if self.answer and self.answer != self.pairs:
            told.append(str(part(self.answer, keys)))
        who = '' if self.writer is None else f'writer {self.writer}, '
        return (f'{who}{self.begun:.6f} to {self.ended:.6f} s: '
                f'{" ".join(asked)}: {" ".join(told)}')


def effect(state, operation):
    """Return what a call makes of a map."""
    if operation.call == REPLACE:
        return dict(operation.pairs)
    if operation.call == DELETE:
        return {k: v for k, v in state.items() if k != operation.key}
    return {**state, **(operation.pairs or {})}


def explains(state, operation, quota=math.inf):
    """Tell whether a call on this map would have had this answer."""
    if operation.unanswered:
        return True
    condition, status = operation.condition, operation.status
    holds = not condition or condition.holds(condition.tag(state))
    if status in (304, 412):
        return not (condition and holds)
    if status == 404:
        return operation.key is not None and operation.key not in state
    if status in (401, 409, 429):
        return True
    after = effect(state, operation)
    if status == 403:
        return len(after) > quota
    if not holds:
        return False
    if operation.call == DELETE:
        return operation.key in state
    if operation.call == LIST:
        return operation.answer == state
    if operation.call == SHOW:
        return operation.answer == part(state, [operation.key])
    if operation.call == SET:
        return operation.answer == operation.pairs and len(after) <= quota
    return operation.answer == after and len(after) <= quota


def differences(state, operation):
    """Return the keys that a call has seen otherwise than in this map.

    Of a call that was not told what is in them those that it names.
    """
    if operation.call in (LIST, MERGE) and operation.status == 200:
        return {key for key, _ in state.items() ^ operation.answer.items()
                } - operation.keys
    if operation.call == SHOW and operation.status in (200, 404) and (
            part(state, operation.keys) ==
            (operation.answer if operation.status == 200 else {})):
        return frozenset()
    return operation.keys


def part(pairs, keys):
    """Return the pairs of a map that have these keys."""
    return {key: pairs[key] for key in sorted(keys) if key in pairs}
