"""Validation of parameters: one function for each kind of value, used by every policy."""

from collections.abc import Mapping
from math import inf
from operator import index

import msgspec

from governor._units import MAX_DURATION, MICROSECOND, Duration, to_duration
from governor.errors import ConfigError
from governor.policies import unit_names

#: The largest amount of any setting: more than any provider grants, and small enough for exact products in 64 bits.
MAX_AMOUNT = 10**12
#: Stands for no bound: more than a thousand years of calls of `MAX_AMOUNT` in each microsecond.
_UNBOUNDED = 10**30
#: The number of units of one call, and of characters of each.
MAX_UNITS = 100


def integer(value: object) -> object:
    """A whole number of another type, such as those of numpy, as an `int`; anything else unchanged."""
    # Not `SupportsIndex`, which takes microseconds for each look, and records are made for each scope.
    if isinstance(value, int) or not hasattr(value, "__index__"):
        return value
    try:
        return index(value)
    except TypeError:
        return value


def integers(record: msgspec.Struct) -> None:
    """Makes plain `int`s of the whole numbers of a record and of its sets. Call it first in `__post_init__`."""
    for field in record.__struct_fields__:
        value = getattr(record, field)
        plain = frozenset(map(integer, value)) if isinstance(value, frozenset) else integer(value)
        if plain is not value:
            msgspec.structs.force_setattr(record, field, plain)


def whole(field: str, value: object, *, minimum: int = 1, maximum: int = MAX_AMOUNT) -> int:
    """The value as an `int`. Raises `ConfigError` unless it is a whole number from `minimum` to `maximum`."""
    number = integer(value)
    if not isinstance(number, int) or isinstance(number, bool) or not minimum <= number <= maximum:
        raise ConfigError(field, value, f"a whole number from {minimum} to {maximum}")
    return number


def span(record: msgspec.Struct, field: str, *, minimum: Duration = MICROSECOND, maximum: Duration = MAX_DURATION) -> None:
    """Makes a `Duration` of the text or the `timedelta` in this field of a record.

    Raises `ConfigError` for anything else, bare numbers included, and for durations outside of the range.
    """
    value = getattr(record, field)
    duration = to_duration(value, field=field)
    if not minimum <= duration <= maximum:
        raise ConfigError(field, value, f"a duration from {minimum} to {maximum}")
    if duration is not value:
        msgspec.structs.force_setattr(record, field, duration)


def share(field: str, value: object, *, maximum: float = 1.0) -> None:
    """Raises `ConfigError` unless `value` is a finite number above 0 and at most `maximum`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= maximum:
        raise ConfigError(field, value, f"a number above 0 and at most {maximum:g}")


def multiple(field: str, value: object, *, maximum: float) -> None:
    """Raises `ConfigError` unless `value` is a finite number from 0 to `maximum`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= maximum:
        raise ConfigError(field, value, f"a number from 0 to {maximum:g}")


def units_of(multiple: float, amount: int) -> int:
    """`multiple` times `amount`, in whole units; for infinity, more than any call can use."""
    return int(multiple * amount) if multiple < inf else _UNBOUNDED


def unit_name(field: str, value: object) -> None:
    """Raises `ConfigError` unless `value` is one lower-case word, spelled as the unit is if it is a known one."""
    allowed = "one lower-case word, for instance 'requests' or 'tokens'"
    if not isinstance(value, str) or len(value) > MAX_UNITS or not value.isidentifier() or value != value.lower():
        raise ConfigError(field, value, allowed)
    meant = unit_names.near(value)
    if meant is not None:
        raise ConfigError(field, value, f"{allowed} (did you mean {meant!r}?)")


def units(field: str, amounts: object) -> None:
    """Raises `ConfigError` unless these are amounts by at most 100 names of units, each of at most 100 printable characters."""
    if not isinstance(amounts, Mapping) or len(amounts) > MAX_UNITS or not all(map(_may_name_unit, amounts)):
        raise ConfigError(field, amounts, f"amounts of at most {MAX_UNITS} units, for instance {{'tokens': 900}}")


def _may_name_unit(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_UNITS and value.isprintable()
