"""Small bodies: JSON and text. A value is found by its path: `$.error.details[].retryDelay` visits every element of a list."""

from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.hints.leaves import Leaf

#: Bytes of a body that is read; the hints of no provider are in a larger one.
MAX_BODY: Final = 65_536
#: Bytes of a text, or characters of one within a JSON body, that are read.
MAX_CHARACTERS: Final = 2_048
#: What some servers of Windows write before a text in UTF-8.
_MARK: Final = b"\xef\xbb\xbf"
#: Values that one path finds.
MAX_FOUND: Final = 64


class Body:
    """The body of an answer, which is decoded and taken apart when it is first asked for."""

    __slots__ = ("_data", "_document", "_leaves")

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data
        self._document: object = None
        self._leaves: list[Leaf] | None = None

    def document(self) -> object:
        """What `decode` makes of it."""
        if self._data is not None:
            self._document, self._data = decode(self._data), None
        return self._document

    def leaves(self) -> "list[Leaf]":
        """The values of the document that have no parts, and a text with its elements."""
        if self._leaves is None:
            self._leaves = _reader()(self.document())
        return self._leaves


@cache
def _reader() -> "Callable[[object], list[Leaf]]":
    """`leaves_of`, loaded on first use: most bodies are only searched by path."""
    from governor.hints.leaves import leaves_of

    return leaves_of


def decode(body: bytes | None) -> object:
    """The value of a JSON body, or the beginning of another as text; None for one of more than `MAX_BODY` bytes."""
    if not body or len(body) > MAX_BODY:
        return None
    body = body.removeprefix(_MARK)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        pass
    try:
        # Some servers write JSON in Latin-1, which no byte contradicts.
        return msgspec.json.decode(body.decode("latin-1").encode()) if body[:1] in (b"{", b"[") else _text_of(body)
    except (msgspec.DecodeError, RecursionError):
        return _text_of(body)


def _text_of(body: bytes) -> str:
    return body[:MAX_CHARACTERS].decode("utf-8", "replace")


def texts(document: object, path: str) -> list[str]:
    """The texts, numbers and truth values at a path, as text."""
    found = [document]
    for step in path.split("."):
        name, listed, _ = step.partition("[]")
        if name != "$":
            found = [value[name] for value in found if isinstance(value, dict) and name in value]
        if listed:
            found = [value for values in found if isinstance(values, list) for value in values[:MAX_FOUND]][:MAX_FOUND]
    return [text for value in found if (text := _text(value)) is not None]


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) and abs(value) < 10**300 else None
