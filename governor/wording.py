"""Numbers, spans, rates, times and reasons as text for people, in a terminal and on the dashboard."""

import math
from datetime import UTC, datetime
from typing import Final

from governor.errors import Reason

_REASONS: Final[dict[str, str]] = {
    Reason.BAN_BUDGET: "too many calls rejected by the server",
    Reason.BUDGET: "budget of the caller spent",
    Reason.CIRCUIT_OPEN: "circuit breaker open",
    Reason.CONCURRENCY: "all calls in flight",
    Reason.COST: "cost exceeds capacity",
    Reason.COOLDOWN: "pause that the server asked for",
    Reason.DEGRADED: "degraded mode",
    Reason.REQUEST_CAP: "global request cap",
    Reason.RATE_LIMIT: "rate limit used up",
    Reason.RETRY_BUDGET: "retry budget used up",
}
#: A span that is longer by so many seconds rounds to the same text: floats are not exact.
_TOLERANCE: Final = 1e-6


def reason(word: str) -> str:
    """The text for a reason on the wire."""
    return _REASONS.get(word) or plain(word).replace("_", " ")


def plain(text: str) -> str:
    """Text from elsewhere, safe for a terminal: everything but printable ASCII becomes `?`, so each character is one column."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def count(number: float) -> str:
    """A whole number, with commas."""
    return f"{math.floor(number + 0.5):,}"


def span(seconds: float) -> str:
    """A span of seconds, rounded up: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(0, math.ceil(seconds - _TOLERANCE))
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return _two(whole, 60, "min", "s")
    minutes = math.ceil(whole / 60)
    if minutes < 2_880:
        return _two(minutes, 60, "h", "min")
    return _two(math.ceil(minutes / 60), 24, "d", "h")


def _two(value: int, size: int, large: str, small: str) -> str:
    whole, rest = divmod(value, size)
    return f"{whole:,} {large} {rest} {small}" if rest else f"{whole:,} {large}"


def rate(per_second: float) -> str:
    """A rate per second in the unit of time that reads best: `8.3/s`, `30/min`, `50/h`."""
    if per_second >= 1 or per_second == 0:
        return f"{short(per_second)}/s"
    if per_second * 60 >= 1:
        return f"{short(per_second * 60)}/min"
    return f"{short(per_second * 3_600)}/h"


def short(number: float) -> str:
    """A number with one decimal below 100, and whole above."""
    return count(number) if number >= 100 else f"{math.floor(number * 10 + 0.5) / 10:g}"


def clock(seconds: float) -> str:
    """A time of day in the time zone of this machine, from seconds since 1970."""
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().strftime("%H:%M:%S")


def several(number: int, word: str) -> str:
    """`1 scope`, `2 scopes`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def listed(words: "tuple[str, ...] | list[str]", most: int = 3) -> str:
    """`github, reddit and 4 more`."""
    shown = ", ".join(plain(word) for word in words[:most])
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown
