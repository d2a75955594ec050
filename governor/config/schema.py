"""How does a table of the policy file become a record, and how is a record written back?

The records are the schema: the keys of a table are the fields of its record, and the type of a field says how its value is
written. A key that is not given keeps the value of the record beneath, so reading a section and inheriting are one step.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Final, Literal, TypeVar, get_args, get_origin

import msgspec

from governor._units import Duration
from governor.config.text import describe, describe_duration, parse_duration, parse_limit
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.limits import Limit

#: How a setting that may be absent, or is true or false, is switched off: TOML has no word for nothing.
OFF: Final = "off"

Record = TypeVar("Record", bound=msgspec.Struct)

_BARE_KEY: Final = re.compile("[A-Za-z0-9_-]+")
_LIMITS: Final[object] = tuple[Limit, ...]
_ALLOWED: Final[dict[object, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    frozenset[int]: "a list of whole numbers",
    frozenset[str]: "a list of texts",
    tuple[str, ...]: "a list of texts",
}


def join(path: str, key: str) -> str:
    """The path of a key, as TOML writes it: `outbound.github`, `outbound."github:post"`."""
    name = key if _BARE_KEY.fullmatch(key) else quoted(key)
    return f"{path}.{name}" if path else name


def quoted(text: str) -> str:
    """The text as a TOML string, which is one of JSON but for the character DEL."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def entries(table: object, *, field: str) -> Iterator[tuple[str, str, object]]:
    """Key, path and value of everything in a table. Raises `ConfigError`, naming `field`, if it is none."""
    if not isinstance(table, Mapping):
        raise ConfigError(field, table, "a table of keys and values")
    for key, value in table.items():
        if not isinstance(key, str):
            raise ConfigError(field or "the configuration", key, "text as a key")
        yield key, join(field, key), value


def unknown_key(path: str, key: str, value: object, known: Collection[str]) -> ConfigError:
    """The mistake of a key that nobody reads; names the nearest known one."""
    import difflib  # only whoever mistyped pays for it

    near = difflib.get_close_matches(key, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ConfigError(path, value, f"no such key{hint}, only {', '.join(known)}")


def read(beneath: Record, table: object, *, field: str) -> Record:
    """`beneath`, changed by what the table says. A ready record of the same kind replaces it.

    Raises `ConfigError` with the path, the value and what is allowed: for an unknown key, for a value of the wrong type, and
    for one that the record refuses.
    """
    kind = type(beneath)
    if isinstance(table, kind):
        return table
    return _made(partial(msgspec.structs.replace, beneath), kind, beneath, table, field)


def _read_new(kind: type[Record], table: object, field: str) -> Record:
    """A record with nothing beneath it."""
    if isinstance(table, kind):
        return table
    needed = [one.name for one in msgspec.structs.fields(kind) if one.required]
    if isinstance(table, Mapping) and not all(key in table for key in needed):
        raise ConfigError(field, dict(table), f"a table with {' and '.join(map(repr, needed))}")
    return _made(kind, kind, None, table, field)


def _made(make: Callable[..., Record], kind: type[Record], beneath: object, table: object, field: str) -> Record:
    known = {one.name: one.type for one in msgspec.structs.fields(kind)}
    said: dict[str, object] = {}
    changes: dict[str, object] = {}
    for key, path, value in entries(table, field=field):
        if key not in known:
            raise unknown_key(path, key, value, known)
        said[key] = value
        changes[key] = _read(known[key], getattr(beneath, key, None), value, path)
    try:
        return make(**changes)
    except ConfigError as mistake:
        # In the words of the policy file: a duration as it was written, and what is absent as switched off.
        shown = said.get(mistake.field, OFF if mistake.value is None else mistake.value)
        raise ConfigError(f"{field}.{mistake.field}", shown, mistake.allowed) from None


def write(record: msgspec.Struct) -> list[tuple[str, str]]:
    """Keys and values such that `read` makes this record of any other of its kind."""
    return [(one.name, _write(one.type, getattr(record, one.name))) for one in msgspec.structs.fields(record)]


def _read(kind: object, beneath: object, value: object, path: str) -> object:
    if isinstance(beneath, msgspec.Struct):
        return read(beneath, value, field=path)
    if NoneType in get_args(kind):
        return None if value is None or value == OFF else _read_optional(kind, value, path)
    if kind is Duration:
        return parse_duration(value, field=path)
    if kind == _LIMITS:
        return _read_limits(value, path)
    if (record := _record(kind)) is not None:
        return _read_records(record, value, path) if get_origin(kind) is tuple else _read_named(record, beneath, value, path)
    if kind is Path:
        return _read_path(value, path)
    return _convert(kind, value, path)


def _read_optional(kind: object, value: object, path: str) -> object:
    (present,) = (one for one in get_args(kind) if one is not NoneType)
    try:
        return _read(present, None, value, path)
    except ConfigError as mistake:
        raise ConfigError(mistake.field, mistake.value, f"{mistake.allowed}; or {OFF!r}") from None


def _read_limits(value: object, path: str) -> tuple[Limit, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(path, value, "a list of limits, for instance ['60/minute burst 10', '5000 per hour strict']")
    return tuple(parse_limit(one, field=f"{path}[{index}]") for index, one in enumerate(value))


def _record(kind: object) -> type[msgspec.Struct] | None:
    """The kind of the records in a list of them, or in a table of them by name."""
    kinds = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return kinds[0] if kinds else None


def _read_records(record: type[Record], value: object, path: str) -> tuple[Record, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(path, value, "a list of tables")
    return tuple(_read_new(record, one, f"{path}[{index}]") for index, one in enumerate(value))


def _read_named(record: type[Record], beneath: object, value: object, path: str) -> dict[str, Record]:
    """Those beneath, changed or added to name by name."""
    named: dict[str, Record] = dict(beneath) if isinstance(beneath, Mapping) else {}
    for name, field, table in entries(value, field=path):
        known = named.get(name)
        named[name] = _read_new(record, table, field) if known is None else read(known, table, field=field)
    return named


def _read_path(value: object, path: str) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ConfigError(path, value, "the path of a folder, as text")
    return Path(value)


def _convert(kind: object, value: object, path: str) -> object:
    if kind is bool and value == OFF:
        return False
    plain = list(map(_checks.integer, value)) if isinstance(value, (list, tuple, set, frozenset)) else _checks.integer(value)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError:
        words = [repr(word) for word in get_args(kind)] if get_origin(kind) is Literal else []
        raise ConfigError(path, value, f"one of {', '.join(words)}" if words else _ALLOWED[kind]) from None


def _write(kind: object, value: object) -> str:
    if value is None:
        return quoted(OFF)
    if isinstance(value, Limit):
        return quoted(describe(value))
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{join('', name)} = {_write(None, one)}" for name, one in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, msgspec.Struct):
        return "{ " + ", ".join(f"{key} = {text}" for key, text in write(value)) + " }"
    if isinstance(value, int) and Duration in (kind, *get_args(kind)):
        return quoted(describe_duration(Duration(value)))
    if isinstance(value, (tuple, frozenset)):
        items = value if isinstance(value, tuple) else sorted(value)
        return "[" + ", ".join(_write(None, item) for item in items) + "]"
    return quoted(str(value)) if isinstance(value, (str, Path)) else msgspec.json.encode(value).decode()
