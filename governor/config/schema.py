"""Tables of the policy file as records, and records as TOML.

The records are the schema: the keys of a table are the fields of its record, and the type of a field decides how its value is
written. A key that is not given keeps the value of the record beneath, so that reading a section also inherits from another.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import NoneType
from typing import Final, Literal, TypeVar, get_args, get_origin

import msgspec

from governor._units import Duration, describe_duration, to_duration
from governor.config.budget_settings import AMOUNT_FORMS, Amount
from governor.config.builtin import PRESETS
from governor.config.files import checked_path
from governor.config.mistakes import Mistakes, near_miss
from governor.config.names import join, quoted
from governor.config.preset import PresetReference
from governor.config.provider_settings import MethodCosts, ProviderSettings
from governor.config.sections import PresetName, ScopeSettings
from governor.config.text import describe, parse_limit
from governor.errors import ConfigError, Problem
from governor.policies import _checks
from governor.policies.contract import Limit

#: Switches off a setting that may be absent, or that is true or false. TOML has no null.
OFF: Final = "off"

Item = TypeVar("Item")
Record = TypeVar("Record", bound=msgspec.Struct)

#: The section in which keys of this one are looked for by mistake, and its record.
_OTHER_SECTIONS: Final[dict[type[msgspec.Struct], tuple[str, type[msgspec.Struct]]]] = {
    ScopeSettings: ("provider", ProviderSettings),
    ProviderSettings: ("outbound", ScopeSettings),
}
_LIMITS: Final[object] = tuple[Limit, ...]
_ALLOWED: Final[dict[object, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    frozenset[int]: "a list of whole numbers",
    frozenset[str]: "a list of texts",
    tuple[str, ...]: "a list of texts",
    Amount: AMOUNT_FORMS,
    PresetReference: "a preset such as 'github/token', or the path of a file",
    MethodCosts: "a table of costs by method, each a whole number or a table of amounts by unit, as in { post = 5 }",
}


def merge(tables: Iterable[Mapping[str, object]]) -> Mapping[str, object]:
    """One table made of many: tables are merged key by key, and of other values the latest wins."""
    merged: dict[str, object] = {}
    for table in tables:
        for key, value in table.items():
            beneath = merged.get(key)
            merged[key] = merge((beneath, value)) if isinstance(beneath, Mapping) and isinstance(value, Mapping) else value
    return merged


def entries(table: object, *, field: str) -> Iterator[tuple[str, str, object]]:
    """Key, path and value of every entry of a table. Raises `ConfigError` for `field` if `table` is not a table."""
    if not isinstance(table, Mapping):
        raise ConfigError(field, table, "a table of keys and values")
    for key, value in table.items():
        if not isinstance(key, str):
            raise ConfigError(field or "the configuration", key, "text as a key")
        yield key, join(field, key), value


def unknown_key(
    path: str, key: str, value: object, known: Iterable[str], *, field: str, hint: str | None = None
) -> ConfigError:
    """The error for a key of the table `field` that is not one of the known ones. Without a hint it names the nearest one."""
    known = list(known)
    near = None if hint else near_miss(key, known)
    hint = hint or (f"did you mean {near!r}?" if near else f"known keys: {', '.join(known)}")
    if not field and not near and isinstance(value, Mapping):
        hint = f"{hint}; a name is in [provider.{path}], [outbound.{path}] or [inbound.{path}]"
    message = f"unknown key {key!r} in [{field}]; {hint}" if field else f"unknown section [{path}]; {hint}"
    return ConfigError(path, value, f"one of the keys {', '.join(known)}", message=message)


def _misplaced(kind: type[msgspec.Struct], key: str) -> str | None:
    """What to say of a key that the other section of the provider has; None if it has no such key."""
    section, other = _OTHER_SECTIONS.get(kind, ("", None))
    return f"it is a key of [{section}.NAME], with NAME the provider" if other and key in other.__struct_fields__ else None


def read(beneath: Record, table: object, *, field: str) -> Record:
    """`beneath` with the changes that the table makes. A record of the same type replaces it.

    Raises one `ConfigError` with every mistake: unknown keys, values of the wrong type, and values that the record rejects.
    """
    kind = type(beneath)
    if isinstance(table, kind):
        return table
    return _made(partial(msgspec.structs.replace, beneath), kind, beneath, table, field)


def _read_new(kind: type[Record], table: object, field: str) -> Record:
    """A record with nothing beneath it."""
    if isinstance(table, kind):
        return table
    needed = _required(kind)
    if isinstance(table, Mapping) and not all(key in table for key in needed):
        raise ConfigError(field, dict(table), f"a table with {' and '.join(map(repr, needed))}")
    return _made(kind, kind, None, table, field)


# Cached: msgspec evaluates the annotations of a class anew each time, which took half of the time of reading a policy file.
@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _required(kind: type[msgspec.Struct]) -> list[str]:
    return [one.name for one in _fields(kind) if one.required]


def _made(make: Callable[..., Record], kind: type[Record], beneath: object, table: object, field: str) -> Record:
    known = {one.name: one.type for one in _fields(kind)}
    said: dict[str, object] = {}
    changes: dict[str, object] = {}
    mistakes = Mistakes()
    for key, path, value in entries(table, field=field):
        with mistakes:
            if key not in known:
                raise unknown_key(path, key, value, known, field=field, hint=_misplaced(kind, key))
            changes[key] = _read(known[key], getattr(beneath, key, None), value, path)
            said[key] = value
    if not mistakes.problems:
        with suppress(ConfigError):
            return make(**changes)
    for problem in _rejected(make, changes, needed=set(_required(kind)), complete=not mistakes.problems):
        mistakes.problems.append(_placed(problem, field, said))
    mistakes.report()
    return make(**changes)


def _rejected(
    make: Callable[..., object], changes: Mapping[str, object], *, needed: set[str], complete: bool
) -> Iterator[Problem]:
    """What the record rejects. It reports its first invalid field; without that field, it reports the next one.

    Rules about several fields may be broken only because fields are left out, and so count only while all are there, or if they
    name a field that is.
    """
    while needed <= changes.keys():
        try:
            make(**changes)
        except ConfigError as error:
            problems = [(problem, re.split(r"[.\[]", problem.path, maxsplit=1)[0]) for problem in error.problems]
        else:
            return
        yield from (problem for problem, key in problems if complete or key in changes)
        wrong = {key for _, key in problems}
        left = {key: value for key, value in changes.items() if key not in wrong}
        if len(left) == len(changes):
            return
        changes, complete = left, False


def _placed(problem: Problem, field: str, said: Mapping[str, object]) -> Problem:
    """A problem of a record, in the words of the policy file: durations as they were written, None as switched off."""
    path, shown = f"{field}.{problem.path}", said.get(problem.path, OFF if problem.value is None else problem.value)
    own = None
    if problem.message != ConfigError(*problem[:3]).problems[0].message:  # It has words of its own.
        own = f"{path}: {problem.message.removeprefix(f'{problem.path}: ')}"
    return ConfigError(path, shown, problem.allowed, message=own).problems[0]


def write(record: msgspec.Struct) -> list[tuple[str, str]]:
    """Keys and values from which `read` makes an equal record, whatever record of this type lies beneath."""
    return [(one.name, _write(one.type, getattr(record, one.name))) for one in _fields(type(record))]


def _read(kind: object, beneath: object, value: object, path: str) -> object:
    if isinstance(beneath, msgspec.Struct):
        return read(beneath, value, field=path)
    if NoneType in get_args(kind):
        return None if value is None or value == OFF else _read_optional(kind, value, path)
    if Duration in get_args(kind):
        return _read_duration_or_word(kind, value, path)
    if kind is Duration:
        return to_duration(value, field=path)
    if kind == _LIMITS:
        return _read_limits(value, path)
    if (record := _record(kind)) is not None:
        return _read_records(record, value, path) if get_origin(kind) is tuple else _read_named(record, beneath, value, path)
    if kind is Path:
        return checked_path(value, path)
    return _convert(kind, value, path)


def _read_optional(kind: object, value: object, path: str) -> object:
    (present,) = (one for one in get_args(kind) if one is not NoneType)
    try:
        return _read(present, None, value, path)
    except ConfigError as error:
        raise ConfigError(error.field, error.value, f"{error.allowed}; or {OFF!r}") from None


def _read_duration_or_word(kind: object, value: object, path: str) -> object:
    words = [word for one in get_args(kind) for word in get_args(one)]
    if value in words:
        return value
    try:
        return to_duration(value, field=path)
    except ConfigError as error:
        raise ConfigError(error.field, error.value, f"{error.allowed}; or {' or '.join(map(repr, words))}") from None


def _read_limits(value: object, path: str) -> tuple[Limit, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(path, value, "a list of limits, for instance ['60/minute burst 10', '5000 per hour strict']")
    return _read_items(lambda one, field: parse_limit(one, field=field), value, path)


def _read_items(read_one: Callable[[object, str], Item], value: Iterable[object], path: str) -> tuple[Item, ...]:
    mistakes, items = Mistakes(), []
    for index, one in enumerate(value):
        with mistakes:
            items.append(read_one(one, f"{path}[{index}]"))
    mistakes.report()
    return tuple(items)


def _record(kind: object) -> type[msgspec.Struct] | None:
    """The type of the records in a list of records, or in a table of records by name."""
    kinds = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return kinds[0] if kinds else None


def _read_records(record: type[Record], value: object, path: str) -> tuple[Record, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(path, value, "a list of tables")
    return _read_items(partial(_read_new, record), value, path)


def _read_named(record: type[Record], beneath: object, value: object, path: str) -> dict[str, Record]:
    """The records beneath, changed and added to name by name."""
    named: dict[str, Record] = dict(beneath) if isinstance(beneath, Mapping) else {}
    mistakes = Mistakes()
    for name, field, table in entries(value, field=path):
        known = named.get(name)
        with mistakes:
            named[name] = _read_new(record, table, field) if known is None else read(known, table, field=field)
    mistakes.report()
    return named


def _convert(kind: object, value: object, path: str) -> object:
    if kind is bool and value == OFF:
        return False
    plain = list(map(_checks.integer, value)) if isinstance(value, (list, tuple, set, frozenset)) else _checks.integer(value)
    words = _words(kind)
    try:
        if words and value not in words:
            raise msgspec.ValidationError
        return msgspec.convert(plain, kind)
    except (msgspec.ValidationError, TypeError, ValueError, AttributeError):
        # The latter two for text with lone surrogates, and for sequences that msgspec takes for mappings.
        near = near_miss(value, words) if isinstance(value, str) else None
        hint = f" (did you mean {near!r}?)" if near else ""
        raise ConfigError(path, value, f"one of {', '.join(map(repr, words))}{hint}" if words else _ALLOWED[kind]) from None


def _words(kind: object) -> list[str]:
    """The only words that a setting of this type may be; empty for other types."""
    if kind == PresetName:
        return list(PRESETS)
    return list(get_args(kind)) if get_origin(kind) is Literal else []


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
    if isinstance(value, Duration):
        return quoted(describe_duration(value))
    if isinstance(value, (tuple, frozenset)):
        items = value if isinstance(value, tuple) else sorted(value)
        return "[" + ", ".join(_write(None, item) for item in items) + "]"
    return quoted(str(value)) if isinstance(value, (str, Path)) else msgspec.json.encode(value).decode()
