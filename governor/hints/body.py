"""Small bodies: JSON and text. A value is found by its path: `$.error.details[].retryDelay` visits every element of a list."""

from typing import Final

import msgspec

#: Bytes of a body that is read; the hints of no provider are in a larger one.
MAX_BODY: Final = 65_536
#: Bytes of a text, or characters of one within a JSON body, that are read.
MAX_CHARACTERS: Final = 2_048
#: What some servers of Windows write before a text in UTF-8.
_MARK: Final = b"\xef\xbb\xbf"
#: Values that one path finds.
MAX_FOUND: Final = 64


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
