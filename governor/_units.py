"""Units of time: instants and durations in whole microseconds, and durations as text.

An `Instant` is a point on the clock, a `Duration` the span between two of them. Seconds as floats exist only at the edges,
where `to_seconds` and `from_seconds` convert them. A duration as text is `90s`, `1m30s` or `250ms`.
"""

import math
import re
from datetime import timedelta
from typing import Final, NewType

from governor.errors import ConfigError

Instant = NewType("Instant", int)


class Duration(int):
    """A span of time in whole microseconds; printed as text, `1m`.

    Arithmetic makes plain integers.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(describe_duration(self))

    def __str__(self) -> str:
        return describe_duration(self)


def encode_duration(value: object) -> int:
    """For encoders of msgspec, which do not know subclasses of int, such as durations in microseconds. Fails for all else."""
    if isinstance(value, int):
        return int(value)
    raise NotImplementedError(f"{type(value).__name__} has no encoding")  # What msgspec asks of such a function.


def decode_duration(kind: type, value: object) -> Duration:
    """For decoders of msgspec: a duration, from microseconds. Raises `ValueError` for all else."""
    if kind is Duration and isinstance(value, int):
        return Duration(value)
    raise ValueError(f"expected a number of microseconds, got {type(value).__name__}")


#: What a constructor accepts as a duration: text such as `1m`, or a `timedelta`. Bare numbers have no unit, and are rejected.
DurationLike = Duration | timedelta | str

MICROSECOND: Final = Duration(1)
MILLISECOND: Final = Duration(1_000)
SECOND: Final = Duration(1_000_000)
MINUTE: Final = Duration(60_000_000)
HOUR: Final = Duration(3_600_000_000)
DAY: Final = Duration(86_400_000_000)

#: Waiting does not help: no passage of time makes this possible.
NEVER: Final = Instant(2**63 - 1)
#: Waiting may help, but only the outcome of another call ends the wait, at an instant that is not known.
AFTER_OUTCOME: Final = Instant(2**63 - 2)

#: The longest duration of any setting; longer ones are taken for typing mistakes.
MAX_DURATION: Final = Duration(366 * DAY)

#: What a duration may look like as text, for messages.
DURATION_FORMS: Final = (
    "a duration of at most 366 days with a unit (us, ms, s, m, h, d or w), for instance '60s', '1m30s' or '250ms'"
)
#: Characters of a limit or a duration; longer text is rejected before a regular expression sees it.
MAX_TEXT_LENGTH: Final = 200

#: Words for units of time, in lower case.
UNITS: Final[dict[str, Duration]] = {
    **dict.fromkeys(("us", "usec", "usecs", "microsecond", "microseconds"), MICROSECOND),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), MILLISECOND),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), SECOND),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), DAY),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), Duration(7 * DAY)),
}
_SYMBOLS: Final = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", MILLISECOND), ("us", MICROSECOND))

#: A whole number, and a decimal number, as limits and durations write them.
WHOLE: Final = "[0-9]+(?:_[0-9]+)*"
NUMBER: Final = rf"{WHOLE}(?:\.[0-9]+)?"
# Compiled when the first text is read.
_PART: Final = rf"({NUMBER})\s*([a-z]+)\s*"
_DURATION: Final = f"(?:{_PART})+"


def to_seconds(span: int) -> float:
    """Microseconds as seconds."""
    return span / 1_000_000


def from_seconds(value: float, *, field: str) -> Duration:
    """Seconds as a duration, rounded up so that a wait is never cut short.

    `value` is from 0 to 366 days. Raises `ConfigError` for `field` for anything else, including NaN and infinity.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_DURATION / SECOND:
        raise ConfigError(field, value, "a number of seconds from 0 to 31622400 (366 days)")
    span = math.ceil(value * 1_000_000)
    # The product is rounded as well, and beyond some 200 days possibly downwards.
    return Duration(span + (span / 1_000_000 < value))


def to_duration(value: object, *, field: str) -> Duration:
    """The duration that a `DurationLike` stands for.

    Raises `ConfigError` for `field` for anything else; for a bare number the message shows the number with a unit.
    """
    if isinstance(value, str):
        return parse_duration(value, field=field)
    if isinstance(value, timedelta):
        return Duration(value // timedelta(microseconds=1))
    if isinstance(value, Duration):
        return value
    number = value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else 60
    raise ConfigError(field, value, f"a duration with a unit, for instance '{number}s' or timedelta(seconds={number})")


def parse_duration(text: object, *, field: str = "duration") -> Duration:
    """The duration from 0 to 366 days that the text means: `90s`, `1.5h`, `1m30s`.

    Units are us, ms, s, m, h, d and w, their usual abbreviations (sec, min, hr, wk) and their names, in the singular or the
    plural. Raises `ConfigError` for `field` for anything else, including bare numbers and fractions of a microsecond.
    """
    words = lowered(text)
    parts = [] if words is None or not re.fullmatch(_DURATION, words) else re.findall(_PART, words)
    if not parts or any(unit not in UNITS for _, unit in parts):
        raise ConfigError(field, text, DURATION_FORMS)
    total = 0
    for number, unit in parts:
        amount, divisor = ratio(number)
        span, rest = divmod(UNITS[unit] * amount, divisor)
        if rest:
            raise ConfigError(field, text, "a duration in whole microseconds")
        total += span
    if total > MAX_DURATION:
        raise ConfigError(field, text, DURATION_FORMS)
    return Duration(total)


def describe_duration(span: int) -> str:
    """The shortest text in one unit that `parse_duration` reads as `span`: `90s`, `1h`, `0s`."""
    symbol, unit = next((symbol, unit) for symbol, unit in _SYMBOLS if span % unit == 0 and (span or unit == SECOND))
    return f"{span // unit}{symbol}"


def lowered(text: object) -> str | None:
    """The text without surrounding spaces and in lower case; None for what is too long, or no text."""
    return text.strip().lower() if isinstance(text, str) and len(text) <= MAX_TEXT_LENGTH else None


def ratio(number: str) -> tuple[int, int]:
    """A decimal as numerator and denominator: `8.33` is 833 and 100."""
    whole, _, decimals = number.partition(".")
    return int(whole + decimals), 10 ** len(decimals)
