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

"""The kinds of requests whose orders are played."""

import itertools
from typing import NamedTuple
from typing import Optional

from nova_meta import etag
from nova_meta_lab import target as targets

# Of each map.
BEFORE = {'a': '0', 'b': '0'}

METADATA, EXTRA_SPECS, SAVED = (
    targets.METADATA, targets.EXTRA_SPECS, targets.SAVED)
COLUMN = SAVED.COLUMN


def before(target):
    """Return the pairs of a map before the requests.

    :param target: a :class:`nova_meta_lab.target.Target`
    """
    return {**BEFORE, COLUMN: '0'} if target is SAVED else BEFORE


class Call(NamedTuple):
    """A kind of request.

    :param name: how it is told
    :param arguments: of the client's method; called with the value that this
        request writes
    :param method: of the client, if it is not the name
    :param client: one of :data:`nova_meta_lab.steps.CLIENTS`
    :param target: the kind of map that it changes
    :param conditional: whether it has the condition that nothing has changed
    :param then: what the same client asks for next; a condition of that is on
        the tag that this one was answered
    """

    name: str
    arguments: object
    method: Optional[str] = None
    client: str = 'metadata'
    target: targets.Target = METADATA
    conditional: bool = False
    then: object = None

    def request(self, value, tag=None):
        """Return a request, as :mod:`nova_meta_lab.steps` takes it.

        :param value: that it writes
        :param tag: of its condition, if not that of what there was before,
            with its quotes
        """
        arguments = self.arguments(value)
        headers = {}
        if self.conditional:
            was = (etag.of_item(arguments[0], BEFORE)
                   if self.name in ('set', 'delete') else etag.of_map(BEFORE))
            headers['If-None-Match' if self.name == 'list' else
                    'If-Match'] = tag or f'"{was}"'
        return {'client': self.client, 'call': self.method or self.name,
                'arguments': arguments, 'headers': headers}

    def unconditional(self):
        return self._replace(
            conditional=False, then=self.then and self.then.unconditional())

    def __str__(self):
        name = f'{self.name} if' if self.conditional else self.name
        return f'{name}, {self.then}' if self.then else name


def some(value):
    # MariaDB would take A for a.
    return [{'a': value, f'new {value}': value}]


LIST = Call('list', lambda value: [])
MERGE = Call('merge', some)
REPLACE = Call('replace', some)
# Of one item that is there, each of another one.
MERGE_ONE = Call('merge one', lambda value: [{value.lower(): value}], 'merge')
PLAIN = [MERGE, REPLACE, Call('set', lambda value: ['a', value]),
         Call('delete', lambda value: ['a']), LIST]
CONDITIONAL = [one._replace(conditional=True) for one in PLAIN]
REBUILD = Call('rebuild', some, client='rebuild')
SAVE = Call('save', lambda value: [{**some(value)[0], COLUMN: value}],
            'merge', 'service', SAVED)
SPECS = [one._replace(client='extra-specs', target=EXTRA_SPECS)
         for one in PLAIN if one is not REPLACE]


def pairs(of):
    return list(itertools.combinations_with_replacement(of, 2))


# Those of which all orders are played, by what is written.
KINDS = {
    'metadata': [*pairs([*PLAIN, *CONDITIONAL]), (MERGE_ONE, MERGE_ONE),
                 *((REBUILD, other) for other in (*PLAIN, *CONDITIONAL))],
    'extra-specs': pairs(SPECS),
    # All of them update the row of the server.
    'system-metadata': [(SAVE, other)
                        for other in (SAVE, *PLAIN, *CONDITIONAL)],
}
THREE = (MERGE, MERGE,
         LIST._replace(then=REPLACE._replace(conditional=True)))
# Those of which some are played, by chance: a rebuild has several
# transactions, which may come anywhere between those of another request.
SAMPLED = {'by chance': [THREE, (REBUILD, REBUILD), (SAVE, REBUILD)]}
