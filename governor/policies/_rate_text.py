"""Text of limits that have a rate: `60/minute burst 10`, `90000 tokens per minute strict`.

Decimals are exact: `8.33/s` is 833 in 100 seconds.
"""

import re
from math import gcd
from typing import Final

import msgspec

from governor._units import DAY, HOUR, MINUTE, NUMBER, SECOND, UNITS, WHOLE, Duration, describe_duration, parse_duration, ratio
from governor.errors import ConfigError
from governor.policies import unit_names
from governor.policies.contract import REQUESTS

_PERIODS: Final = {SECOND: "s", MINUTE: "minute", HOUR: "hour", DAY: "day"}
#: The finest rate that is written with decimals, in parts of 1; a finer rate is written over a longer period.
_FINEST: Final = 10**6

_RATE: Final = re.compile(
    rf"(?P<amount>{NUMBER})(?:\s+(?P<unit>[^\s/]+))?(?:\s*/\s*|\s+(?P<per>per)\s+)(?P<period>\S.*?)"
    rf"(?:\s+(?P<strict>strict)|\s+burst\s+(?P<burst>{WHOLE}))?"
)


class Rate(msgspec.Struct, frozen=True):
    """A rate as it is written: `amount` / `parts` units per `period`, `strict` or with a `burst`, or neither."""

    amount: int
    parts: int
    period: Duration
    unit: str
    strict: bool
    burst: int | None


def parse_rate(words: str) -> Rate | None:
    """The rate that a text in lower case means; None if it is not a rate.

    `60 per minute` alone raises `ConfigError`: it does not say whether 60 may come at the end of one minute and 60 more at the
    beginning of the next.
    """
    said = _RATE.fullmatch(words)
    period = _period(said["period"]) if said else None
    if said is None or period is None:
        return None
    amount, parts = ratio(said["amount"])
    divisor = gcd(amount, parts)
    amount, parts = amount // divisor, parts // divisor
    unit = unit_names.canonical(said["unit"] or REQUESTS)
    if said["per"] and not said["strict"] and not said["burst"]:
        window = f"{amount}{unit_text(unit)} per {period_text(period * parts)} strict"
        bucket = f"{said['amount']}{unit_text(unit)}/{said['period']}"
        raise ConfigError("kind", words, f"said: {window!r} for a strict window, or {bucket!r} for a token bucket")
    return Rate(amount, parts, period, unit, said["strict"] is not None, int(said["burst"]) if said["burst"] else None)


def rate_text(amount: int, per: int, unit: str) -> str:
    """`8.33/s` for 833 in 100 s, where a few decimals say exactly that; else amount and period as they are."""
    for length, name in _PERIODS.items():
        parts, rest = divmod(per, length)
        if rest == 0 and 1 < parts < amount and _FINEST % parts == 0 and gcd(amount, parts) == 1:
            whole, millionths = divmod(amount * _FINEST // parts, _FINEST)
            return f"{whole}.{millionths:06}".rstrip("0") + f"{unit_text(unit)}/{name}"
    return f"{amount}{unit_text(unit)}/{period_text(per)}"


def period_text(period: int) -> str:
    """`minute` for a minute, and `90s` for other periods."""
    return _PERIODS.get(Duration(period)) or describe_duration(period)


def unit_text(unit: str) -> str:
    """The unit with a space before it; empty for requests."""
    return "" if unit == REQUESTS else f" {unit}"


def _period(words: str) -> Duration | None:
    if words in UNITS:
        return UNITS[words]
    try:
        return parse_duration(words)
    except ConfigError:
        return None
