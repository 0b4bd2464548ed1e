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

"""Entity tags of a map and of an item, and the conditions made of them.

A tag is made of the content alone: the same content has the same tag, whoever
computes it, from whatever database, in whatever order the rows come, and what
else happens to the server does not touch it. The tags of a map and of its
items never equal each other, so that the one does not unlock the other.

The headers are parsed by WebOb. RFC 9110, sections 8.8.3 and 13.
"""

import functools
import hashlib
import json
from typing import Any
from typing import Callable
from typing import NamedTuple
from typing import Optional

from webob import etag


def of_map(pairs):
    """Return the entity tag of a map, without quotes."""
    return _digest('map', *sorted(map(json.dumps, pairs.items())))


def of_item(key, pairs):
    """Return the entity tag of an item, without quotes.

    :param key: which item
    :param pairs: the map that it is in
    :returns: None if there is no such item
    """
    if key not in pairs:
        return None
    return _digest('item', json.dumps([key, pairs[key]]))


def of(key=None):
    """Return what makes the tag of a map, or of one of its items.

    :param key: which item; None for the map
    :returns: a function of the map
    """
    return of_map if key is None else functools.partial(of_item, key)


def _digest(*parts):
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


class Condition(NamedTuple):
    """The preconditions of a request.

    :param tag: makes of a map the tag of what the request is about; None if
        that does not exist
    :param if_match: something that tags are looked up in, None if the request
        has no such header
    :param if_none_match: likewise
    """

    tag: Callable
    if_match: Optional[Any] = None
    if_none_match: Optional[Any] = None

    @classmethod
    def of(cls, tag, if_match, if_none_match):
        """Make a condition of the values of the headers.

        :param if_match: If-Match, None if there is none; compared strongly
        :param if_none_match: If-None-Match, likewise; compared weakly
        """
        return cls(tag, _parse(if_match, strong=True),
                   _parse(if_none_match, strong=False))

    def __bool__(self):
        return self.if_match is not None or self.if_none_match is not None

    def matches(self, tag):
        """Whether If-Match holds for a tag; ``*`` is whatever exists.

        :param tag: what :attr:`tag` has made of the map
        """
        return self.if_match is None or (
            tag is not None and tag in self.if_match)

    def is_news(self, tag):
        """Whether If-None-Match holds for a tag, likewise."""
        return (self.if_none_match is None or tag is None or
                tag not in self.if_none_match)

    def holds(self, tag):
        """Whether a request may change what has this tag."""
        return self.matches(tag) and self.is_news(tag)


def _parse(value, strong):
    if value is None:
        return None
    # WebOb looks for a tag after a space only, and a list needs none. It takes
    # a backslash for an escape, which is a character like others in a tag. Our
    # own tags have neither.
    return etag.ETagMatcher.parse(
        value.strip().replace(',', ', ').replace('\\', '/'), strong)
