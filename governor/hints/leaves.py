"""Leaves of error bodies: the values without parts of a JSON document, and the elements of XML that have a text only.

A text is one leaf, with the elements in it. Of one body the first `MAX_LEAVES` are read, `MAX_CHARACTERS` of each, and
`MAX_TEXT` of all: denials are short, and the largest body took 20 ms to read, for which the event loop waited.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from governor.hints.body import MAX_CHARACTERS, decode
from governor.hints.patterns import pattern
from governor.hints.values import MAX_LENGTH

MAX_LEAVES: Final = 1_024
MAX_TEXT: Final = 16_384

#: An element of XML that has a text only: its name, or the name that an attribute gives it, and its text.
_ELEMENT: Final = pattern(r'(?i)<(?:\w{1,16}:)?([\w.-]{1,64})(?: name="([\w.-]{1,64})")?[^<>]{0,128}>([^<>]{1,256})</')


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """A value that has no parts."""

    #: In lower case and without separators; empty for a whole text.
    key: str
    value: object
    #: The object that it is in.
    of: Mapping[str, object]
    #: Its beginning in lower case, if it is a text.
    lower: str
    #: Whether that is more than one word.
    is_sentence: bool


def leaves_of(document: object) -> list[Leaf]:
    """The leaves of a decoded body, or of a text."""
    if isinstance(document, str):
        return [Leaf("", document, {}, document[:MAX_CHARACTERS].lower(), True), *elements_of(document)]
    return list(_leaves(document))


def _leaves(document: object) -> Iterator[Leaf]:
    left: list[tuple[str, object, Mapping[str, object]]] = [("", document, {})]
    found, room = 0, MAX_TEXT
    while left and found < MAX_LEAVES:
        name, value, of = left.pop()
        if isinstance(value, dict):
            left.extend([(key, one, value) for key, one in value.items()][MAX_LEAVES - 1 :: -1])
        elif isinstance(value, list):
            left.extend([(name, one, of) for one in value[MAX_LEAVES - 1 :: -1]])
        elif not isinstance(value, str):
            found += 1
            yield Leaf(letters(name), value, of, "", False)
        elif value[:1] == "{" and isinstance(inner := decode(value.encode("utf-8", "replace")), dict):
            left.append((name, inner, of))  # What a gateway quotes of the answer of another server.
        else:
            found += 1
            lower = value[: min(MAX_CHARACTERS, room)].lower()
            room = max(0, room - len(lower))
            yield Leaf(letters(name), value, of, lower, " " in value or not value.isascii())


def elements_of(text: str) -> Iterator[Leaf]:
    """The elements of an XML document that have a text only; none of another text, nor of a page for people."""
    if text[:1] == "<" and "<html" not in (text := text[:MAX_CHARACTERS].strip()).lower():
        for found in _ELEMENT.finditer(text):
            value = found[3].strip()
            yield Leaf(letters(found[2] or found[1]), value, {}, value.lower(), " " in value or not value.isascii())


def letters(text: str) -> str:
    """The letters of a key or a code, in lower case."""
    return _of_key(text[:MAX_LENGTH])


@lru_cache(maxsize=1_024)
def _of_key(text: str) -> str:
    """Kept, because bodies have the same few keys."""
    return "".join([letter for letter in text.lower() if letter.isalpha()])
