"""How are durations and limits written as text, and read back?

A duration is `90s`, `1m30s` or `250ms`. A limit is a token bucket (`60/minute burst 10`), a strict window (`60 per minute
strict`) or a number of requests in flight (`30 in flight`). Decimals are exact: `8.33/s` is 833 in 100 seconds. `60 per minute`
alone is refused: it does not say whether 60 may come at the end of one minute and 60 more at the beginning of the next.

For every duration, and every limit with a unit of at most 100 characters, what is written here is read back as the same value.
"""

import re
from math import gcd
from typing import Final, assert_never

from governor._units import DAY, HOUR, MAX_DURATION, MICROSECOND, MILLISECOND, MINUTE, SECOND, Duration
from governor.errors import ConfigError
from governor.policies import unit_names
from governor.policies.contract import REQUESTS
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

#: What a duration may look like, for messages.
DURATION_FORMS: Final = (
    "a duration of at most 366 days with a unit (us, ms, s, m, h, d or w), for instance '60s', '1m30s' or '250ms'"
)
#: What a limit may look like, for messages.
LIMIT_FORMS: Final = (
    "a limit as text, for instance '60/minute burst 10', '8.33/s burst 500', '60 per minute strict', "
    "'90000 tokens per minute strict' or '30 in flight'"
)

#: More than any limit or duration needs; what is longer is not worth a regular expression's time.
_MAX_TEXT_LENGTH: Final = 200
#: Decimal places with which a rate is written at most; a rate that needs more is written over a longer period.
_FINEST: Final = 10**6

_UNITS: Final[dict[str, Duration]] = {
    **dict.fromkeys(("us", "usec", "usecs", "microsecond", "microseconds"), MICROSECOND),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), MILLISECOND),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), SECOND),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), Duration(7 * DAY)),
}
_SYMBOLS: Final = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLISECOND), ("us", MICROSECOND))
_PERIODS: Final = {SECOND: "s", MINUTE: "minute", HOUR: "hour", DAY: "day"}

_WHOLE: Final = "[0-9]+(?:_[0-9]+)*"
_NUMBER: Final = rf"{_WHOLE}(?:\.[0-9]+)?"
_PART: Final = re.compile(rf"({_NUMBER})\s*({'|'.join(sorted(_UNITS, key=len, reverse=True))})\s*")
_DURATION: Final = re.compile(f"(?:{_PART.pattern})+")
_IN_FLIGHT: Final = re.compile(rf"({_WHOLE})\s+in\s+flight")
_RATE: Final = re.compile(
    rf"(?P<amount>{_NUMBER})(?:\s+(?P<unit>[^\s/]+))?(?:\s*/\s*|\s+(?P<per>per)\s+)(?P<period>\S.*?)"
    rf"(?:\s+(?P<strict>strict)|\s+burst\s+(?P<burst>{_WHOLE}))?"
)


def parse_duration(text: object, *, field: str = "duration") -> Duration:
    """`90s`, `1.5h`, `1m30s` as a duration from 0 to 366 days.

    Units are us, ms, s, m, h, d and w, their usual abbreviations (sec, min, hr, wk) and their names, in the singular or the
    plural. Raises `ConfigError`, naming `field`, for anything else, a bare number included, and for fractions of a microsecond.
    """
    words = _words(text)
    if words is None or not _DURATION.fullmatch(words):
        raise ConfigError(field, text, DURATION_FORMS)
    total = 0
    for number, unit in _PART.findall(words):
        amount, parts = _ratio(number)
        span, rest = divmod(amount * _UNITS[unit], parts)
        if rest:
            raise ConfigError(field, text, "a duration in whole microseconds")
        total += span
    if total > MAX_DURATION:
        raise ConfigError(field, text, DURATION_FORMS)
    return Duration(total)


def describe_duration(span: Duration) -> str:
    """The shortest text in one unit that `parse_duration` reads as `span`: `90s`, `1h`, `0s`."""
    symbol, unit = next((symbol, unit) for symbol, unit in _SYMBOLS if span % unit == 0 and (span or unit == SECOND))
    return f"{span // unit}{symbol}"


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
    words = _words(text)
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


def _words(text: object) -> str | None:
    return text.strip().lower() if isinstance(text, str) and len(text) <= _MAX_TEXT_LENGTH else None


def _ratio(number: str) -> tuple[int, int]:
    """A decimal as numerator and denominator: `8.33` is 833 and 100."""
    whole, _, decimals = number.partition(".")
    return int(whole + decimals), 10 ** len(decimals)


def _in_flight(words: str) -> InFlight | None:
    said = _IN_FLIGHT.fullmatch(words)
    return InFlight(int(said[1])) if said else None


def _rate(words: str) -> TokenBucket | StrictWindow | None:
    said = _RATE.fullmatch(words)
    period = _period(said["period"]) if said else None
    if said is None or period is None:
        return None
    amount, parts = _ratio(said["amount"])
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
    if words in _UNITS:
        return _UNITS[words]
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
