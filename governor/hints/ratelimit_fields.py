"""The fields RateLimit and RateLimit-Policy of the IETF, in the syntax of the current draft and of older ones.

Source: draft-ietf-httpapi-ratelimit-headers-10, `"name";r=5;t=30` and `"name";q=100;w=60`. Draft 07 wrote `limit=100,
remaining=5, reset=30` and `100;w=60`. Both are structured fields (RFC 9651); a field that is not valid is read as far as its
parameters can be recognised.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from governor._units import SECOND
from governor.hints.body import decode
from governor.hints.patterns import pattern
from governor.hints.values import MAX_FIELD, count, duration, number

#: Items of a field that are read.
MAX_ITEMS: Final = 32
#: Characters of a field that is parsed as a structured field. One that is longer is read item by item.
_MAX_STRUCTURED: Final = 1_024

#: The usual form, which needs no parser: items with a name and numbers.
_USUAL: Final = pattern(
    r'(?:\s*(?:^|,)\s*(?:"[^"\\,;]{0,64}"|[A-Za-z][\w.:-]{0,63})(?:\s?;\s?[a-z]{1,3}=[0-9]{1,15}){1,4})+\s*'
)
#: The usual state of the current draft: a name, what remains, and the seconds until the reset.
_STATE: Final = pattern(r'\s*"([^"\\,;]{0,64})"\s?;\s?r=([0-9]{1,15})\s?;\s?t=([0-9]{1,8})\s*')
_ITEM: Final = pattern(
    r'(?:"(?P<quoted>[^"\\]{0,128})"|(?P<token>[A-Za-z*0-9][\w.:/*-]{0,127}))?(?P<parameters>(?:\s*;[^;,]*)*)'
)
_PARAMETER: Final = pattern(r';\s*([a-z]{1,16})\s*=\s*"?([^";,]{0,64})')
#: Draft 07, and what servers make of it: `total=10; remaining=0; resets=45`, `hour-lim:3600;hour-rem:0;`, a JSON object.
_OLD: Final = pattern(
    r"(?<![a-z])(limit|lim|total|remaining|rem|resets?|until)\"?\s{0,4}[=:]\s{0,4}(?:([0-9]{1,15})(?![0-9:.-])|\"?([^\",;}\s]{1,40}))"
)
#: What is used of a limit, `token:7 20/2000 reset=1534s`.
_USED: Final = pattern(r"([\w.:-]{0,64})[ ]([0-9]{1,15})/([0-9]{1,15})[ ,;]{1,2}resets?[=:]([0-9.smhd]{1,16})")
_RENAMED: Final = {"remaining": "r", "rem": "r", "reset": "t", "resets": "t", "until": "t"}
_WORDS: Final = pattern(r"(?<![a-z])(second|minute|hour|day)(?![a-z])")
_WINDOWS: Final = {"second": "1", "minute": "60", "hour": "3600", "day": "86400"}
#: An item without a name, `q=100;r=0;t=60`.
_NAMELESS: Final = pattern(r"[a-z]{1,16}=")


class Item(NamedTuple):
    """An item of a field: the name of a limit, and its parameters as text."""

    name: str
    parameters: dict[str, str]


def items(text: str) -> list[Item]:
    """The items of a field; the state of draft 07 is one item without a name, with `limit`, `r` and `t`."""
    if text[:1] == "{" and (nested := _nested(text)):
        return nested
    if "/" in text and (used := _USED.findall(text, 0, MAX_FIELD)):
        return [Item(name, {"q": of, "r": str(max(0, int(of) - int(spent))), "t": end}) for name, spent, of, end in used][
            :MAX_ITEMS
        ]
    if len(text) > _MAX_STRUCTURED or _USUAL.fullmatch(text) is None:
        if len(text) <= _MAX_STRUCTURED and (found := _structured(text)) is not None:
            return found
        old = {
            _RENAMED.get(key, "q"): digits or other.upper() for key, digits, other in _OLD.findall(text.lower(), 0, MAX_FIELD)
        }
        if old:
            window = _WORDS.search(text.lower(), 0, MAX_FIELD)
            return [Item("", old if window is None else {**old, "w": _WINDOWS[window[1]]})]
    return [item for part in text[:MAX_FIELD].split(",")[:MAX_ITEMS] if (item := _item(part.strip())) is not None]


class Policy(NamedTuple):
    """What RateLimit-Policy says of a limit: its units, the length of its window, negative if not known, and its unit."""

    limit: int | None = None
    window: int = -1
    unit: str | None = None


class State(NamedTuple):
    """What RateLimit says of a limit: what remains, the reset as text, and what else it states itself."""

    name: str
    remaining: int | None
    reset: int | str
    policy: Policy


NO_POLICY: Final = Policy()


def states(text: str) -> list[State]:
    """The states that a field RateLimit says. The usual form is read at once: it is different in each answer."""
    if len(text) <= _MAX_STRUCTURED:
        found = [_STATE.fullmatch(part) for part in text.split(",", MAX_ITEMS)]
        if None not in found:
            return [State(one[1], int(one[2]), int(one[3]) * SECOND, NO_POLICY) for one in found if one][:MAX_ITEMS]
    return [State(name, count(said.get("r", "")), said.get("t", ""), _policy(said)) for name, said in items(text)]


@lru_cache(maxsize=256)
def policies(text: str) -> dict[str, Policy]:
    """The policies of RateLimit-Policy by the name of the limit, or by its units if it has none, as in draft 07.

    The field rarely changes, hence the cache.
    """
    found = [(item.name, _policy(item.parameters)) for item in items(text)]
    return {name or str(policy.limit or ""): policy for name, policy in found}


def _policy(parameters: dict[str, str]) -> Policy:
    limit, text = count(parameters.get("q", "")), parameters.get("w", "")
    # A window is a span: a number that could be a date is a span that is too long.
    window = number(text, SECOND) if text[:1].isdecimal() and text.isdecimal() else duration(text)
    return Policy(limit, -1 if window is None else window, parameters.get("qu"))


def _nested(text: str) -> list[Item]:
    """The windows of a JSON object of objects, `{"limits": {"minute": 5}, "used": {"minute": 1}}`; empty for another text."""
    document = decode(text[:MAX_FIELD].encode("utf-8", "replace"))
    parts = {key: value for key, value in document.items() if isinstance(value, dict)} if isinstance(document, dict) else {}
    limits, used, left = (parts.get(key, {}) for key in ("limits", "used", "remaining"))
    found = []
    for name, window in _WINDOWS.items():
        limit, spent, remaining = (one.get(name) for one in (limits, used, left))
        if type(limit) is int and type(spent) is int:
            remaining = max(0, limit - spent)
        if type(limit) is int and type(remaining) is int:
            found.append(Item(name, {"q": str(limit), "r": str(remaining), "w": window}))
    return found


def _item(part: str) -> Item | None:
    if _NAMELESS.match(part) is not None:
        part = f";{part}"
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
    if "sec" in parameters and "r" not in parameters:  # `group=default; min=1800; sec=29`: what remains in this second.
        return Item(parameters.get("group", name), {"r": parameters["sec"], "t": "1", "w": "1"})
    return Item(name, parameters)
