"""How are durations and limits written as text, and read back?

A duration is `90s`, `1m30s` or `250ms`. A limit is a token bucket (`60/minute burst 10`), a strict window (`60 per minute
strict`) or a number of requests in flight (`30 in flight`). Decimals are exact: `8.33/s` is 833 in 100 seconds. `60 per minute`
alone is refused: it does not say whether 60 may come at the end of one minute and 60 more at the beginning of the next.

For every duration, and every limit with a unit of at most 100 characters, what is written here is read back as the same value.
"""

import re
from math import gcd
from typing import Final, assert_never

from governor._units import (
    DAY,
    HOUR,
    MINUTE,
    NUMBER,
    SECOND,
    UNITS,
    WHOLE,
    Duration,
    describe_duration,
    lowered,
    parse_duration,
    ratio,
)
from governor.errors import ConfigError
from governor.policies import unit_names
from governor.policies.contract import REQUESTS
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

#: What a limit may look like, for messages.
LIMIT_FORMS: Final = (
    "a limit as text, for instance '60/minute burst 10', '8.33/s burst 500', '60 per minute strict', "
    "'90000 tokens per minute strict' or '30 in flight'"
)

#: Decimal places with which a rate is written at most; a rate that needs more is written over a longer period.
_FINEST: Final = 10**6

_PERIODS: Final = {SECOND: "s", MINUTE: "minute", HOUR: "hour", DAY: "day"}

_IN_FLIGHT: Final = re.compile(rf"({WHOLE})\s+in\s+flight")
_RATE: Final = re.compile(
    rf"(?P<amount>{NUMBER})(?:\s+(?P<unit>[^\s/]+))?(?:\s*/\s*|\s+(?P<per>per)\s+)(?P<period>\S.*?)"
    rf"(?:\s+(?P<strict>strict)|\s+burst\s+(?P<burst>{WHOLE}))?"
)


def parse_limit(text: object, *, field: str = "limit") -> Limit:
    """The limit that the text says; a limit object is answered as it is.

    `AMOUNT [UNIT] / PERIOD [burst N]` is a token bucket; without `burst` it holds the amount of one period, rounded down, and
    at least 1. `AMOUNT [UNIT] per PERIOD strict` is a strict window, and needs a whole amount. `AMOUNT in flight` bounds
    concurrency. A period is a unit of time or a duration: `minute`, `10s`. `per` needs `strict` or `burst` behind it, which say
    the kind, and means the same as `/` then. Upper case, spaces, and `_` between digits do not matter. Words such as `req` and
    `calls` mean requests, and `token` means `tokens`. Raises `ConfigError`, naming `field`.
    """
    if isinstance(text, Limit):
        return text
    words = lowered(text)
    try:
        limit = None if words is None else _in_flight(words) or _rate(words)
    except ConfigError as mistake:
        raise ConfigError(field, text, f"a limit whose {mistake.field} is {mistake.allowed}") from None
    if limit is None:
        raise ConfigError(field, text, LIMIT_FORMS)
    return limit


def describe(limit: Limit) -> str:
    """The text that `parse_limit` reads as exactly this limit: `8.33/s burst 500`."""
    match limit:
        case TokenBucket():
            return f"{_frequency(limit)} burst {limit.burst}"
        case StrictWindow():
            return f"{limit.amount}{_unit(limit.unit)} per {_name(limit.per)} strict"
        case InFlight():
            return f"{limit.amount} in flight"
        case _:
            assert_never(limit)


def _in_flight(words: str) -> InFlight | None:
    said = _IN_FLIGHT.fullmatch(words)
    return InFlight(int(said[1])) if said else None


def _rate(words: str) -> TokenBucket | StrictWindow | None:
    said = _RATE.fullmatch(words)
    period = _period(said["period"]) if said else None
    if said is None or period is None:
        return None
    amount, parts = ratio(said["amount"])
    divisor = gcd(amount, parts)
    amount, parts = amount // divisor, parts // divisor
    unit = unit_names.canonical(said["unit"] or REQUESTS)
    if said["per"] and not said["strict"] and not said["burst"]:
        window = describe(StrictWindow(amount, Duration(period * parts), unit))
        bucket = f"{said['amount']}{_unit(unit)}/{said['period']}"
        raise ConfigError("kind", words, f"said: {window!r} for a strict window, or {bucket!r} for a token bucket")
    if not said["strict"]:
        return TokenBucket(amount, Duration(period * parts), int(said["burst"] or max(1, amount // parts)), unit)
    if parts > 1:
        # 8.33 in each second and 833 in 100 seconds are different promises, and only one of them can be kept.
        raise ConfigError("amount", said["amount"], "a whole number, as every strict window needs")
    return StrictWindow(amount, period, unit)


def _period(words: str) -> Duration | None:
    if words in UNITS:
        return UNITS[words]
    try:
        return parse_duration(words)
    except ConfigError:
        return None


def _frequency(bucket: TokenBucket) -> str:
    """`8.33/s` for 833 in 100 s, where a few decimals say exactly that; else amount and period as they are."""
    amount, per = bucket.amount, bucket.per
    for unit, name in _PERIODS.items():
        parts, rest = divmod(per, unit)
        if rest == 0 and 1 < parts < amount and _FINEST % parts == 0 and gcd(amount, parts) == 1:
            whole, millionths = divmod(amount * _FINEST // parts, _FINEST)
            return f"{whole}.{millionths:06}".rstrip("0") + f"{_unit(bucket.unit)}/{name}"
    return f"{amount}{_unit(bucket.unit)}/{_name(per)}"


def _name(period: Duration) -> str:
    return _PERIODS.get(period) or describe_duration(period)


def _unit(unit: str) -> str:
    return "" if unit == REQUESTS else f" {unit}"
