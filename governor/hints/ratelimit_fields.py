"""The fields RateLimit and RateLimit-Policy of the IETF, in the syntax of the current draft and of older ones.

Source: draft-ietf-httpapi-ratelimit-headers-10, `"name";r=5;t=30` and `"name";q=100;w=60`. Draft 07 wrote `limit=100,
remaining=5, reset=30` and `100;w=60`. Both are structured fields (RFC 9651); a field that is not valid is read as far as its
parameters can be recognised.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from governor.hints.values import MAX_FIELD

#: Items of a field that are read.
MAX_ITEMS: Final = 32
#: Characters of a field that is parsed as a structured field. One that is longer is read item by item.
_MAX_STRUCTURED: Final = 1_024

#: The usual form, which needs no parser: items with a name and numbers.
_USUAL: Final = re.compile(
    r'(?:\s*(?:^|,)\s*(?:"[^"\\,;]{0,64}"|[A-Za-z][\w.:-]{0,63})(?:\s?;\s?[a-z]{1,3}=[0-9]{1,15}){1,4})+\s*'
)
_ITEM: Final = re.compile(
    r'(?:"(?P<quoted>[^"\\]{0,128})"|(?P<token>[A-Za-z*0-9][\w.:/*-]{0,127}))?(?P<parameters>(?:\s*;[^;,]*)*)'
)
_PARAMETER: Final = re.compile(r';\s*([a-z]{1,16})\s*=\s*"?([^";,]{0,64})')
_OLD: Final = re.compile(r"\b(limit|remaining|reset)\s*=\s*([0-9]{1,15})")


class Item(NamedTuple):
    """An item of a field: the name of a limit, and its parameters as text."""

    name: str
    parameters: dict[str, str]


def items(text: str) -> list[Item]:
    """The items of a field; the state of draft 07 is one item without a name, with `limit`, `r` and `t`."""
    if len(text) > _MAX_STRUCTURED or _USUAL.fullmatch(text) is None:
        if len(text) <= _MAX_STRUCTURED and (found := _structured(text)) is not None:
            return found
        old = dict(_OLD.findall(text, 0, MAX_FIELD))
        if old:
            renamed = {"limit": "q", "remaining": "r", "reset": "t"}
            return [Item("", {renamed[key]: value for key, value in old.items()})]
    return [item for part in text[:MAX_FIELD].split(",")[:MAX_ITEMS] if (item := _item(part.strip())) is not None]


@lru_cache(maxsize=256)
def policies(text: str) -> dict[str, dict[str, str]]:
    """The parameters of RateLimit-Policy by the name of the limit. The field rarely changes, hence the cache."""
    return {item.name: item.parameters for item in items(text)}


def _item(part: str) -> Item | None:
    found = _ITEM.match(part)
    if found is None or not found["parameters"]:
        return None
    return _named(found["quoted"] or found["token"] or "", dict(_PARAMETER.findall(found["parameters"])))


def _structured(text: str) -> list[Item] | None:
    """The items of a valid structured field; None for another text."""
    import http_sf  # Loaded on first use, because few servers send more than the usual form.

    try:
        listed: Any = http_sf.parse(text.encode("utf-8", "replace"), tltype="list")
        found = [_named(str(name), {key: str(value) for key, value in parameters.items()}) for name, parameters in listed]
    except (http_sf.StructuredFieldError, ValueError, TypeError, IndexError, RecursionError):
        return None
    return found[:MAX_ITEMS] if any(item.parameters for item in found) else None


def _named(name: str, parameters: dict[str, str]) -> Item:
    """An item of a policy without a name, `100;w=60`, has its quota in place of one."""
    if name.isdecimal() and "q" not in parameters and "r" not in parameters:
        return Item("", {"q": name, **parameters})
    return Item(name, parameters)
