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

"""Entity tags of a map and of an item, and the conditions of a request.

A tag is made of the content alone. The same content has the same tag in every
process, on every database, in whatever order its rows come. The tag of a map
never equals that of an item, so that one cannot stand for the other.

WebOb parses the headers. RFC 9110, sections 8.8.3 and 13.
"""

import functools
import hashlib
import re
from typing import Any
from typing import Callable
from typing import NamedTuple
from typing import Optional

from oslo_serialization import jsonutils
from webob import etag


def of_map(pairs):
    """Return the entity tag of a map, without quotes."""
    return _digest('map', *sorted(map(jsonutils.dumps, pairs.items())))


def of_item(key, pairs):
    """Return the entity tag of an item, without quotes.

    :param key: which item
    :param pairs: the map that it is in
    :returns: None if there is no such item
    """
    if key not in pairs:
        return None
    return _digest('item', jsonutils.dumps([key, pairs[key]]))


def of(key=None):
    """Return the function that makes the tag of a map, or of one of its items.

    :param key: which item; None for the map
    :returns: a function of the map
    """
    return of_map if key is None else functools.partial(of_item, key)


def _digest(*parts):
    return hashlib.sha256(jsonutils.dumps(parts).encode()).hexdigest()[:32]


class Condition(NamedTuple):
    """What a request is about, and its preconditions.

    True if there are any.

    :param tag: a function of the map: returns the tag of the map, or of the
        item that the request names, None if there is no such item
    :param if_match: tags are looked up in it with ``in``; None if the request
        has no If-Match header
    :param if_none_match: likewise
    """

    tag: Callable
    if_match: Optional[Any] = None
    if_none_match: Optional[Any] = None

    @classmethod
    def of(cls, tag, if_match, if_none_match):
        """Make a condition of the headers, strings or None."""
        return cls(tag, _parse(if_match, strong=True),
                   _parse(if_none_match, strong=False))

    def __bool__(self):
        return self.if_match is not None or self.if_none_match is not None

    def matches(self, tag):
        """Whether If-Match holds for a tag; ``*`` matches what exists."""
        return self.if_match is None or (
            tag is not None and tag in self.if_match)

    def is_news(self, tag):
        """Whether If-None-Match holds for a tag."""
        return (self.if_none_match is None or tag is None or
                tag not in self.if_none_match)

    def holds(self, tag):
        """Whether both hold for a tag."""
        return self.matches(tag) and self.is_news(tag)


UNCONDITIONAL = Condition(of_map)


def _parse(value, strong):
    if value is None:
        return None
    if not strong and '*' in map(
            str.strip, re.sub('"[^"]*"', '', value).split(',')):
        # Proxies may send a line twice. In If-Match, where a list with it
        # matches less, that is safe.
        value = '*'
    # WebOb finds the second tag of a list only after a space, which is
    # optional. It takes a backslash for an escape, but in a tag that is a
    # character like others. Our own tags have neither.
    return etag.ETagMatcher.parse(
        value.strip().replace(',', ', ').replace('\\', '/'), strong)
