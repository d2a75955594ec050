"""How long does an answer ask us to wait?

`Retry-After` (RFC 9110, section 10.2.3) holds seconds or a date. Because servers send them, we also read what the RFC does not
know: fractions of a second, dates as ISO 8601 writes them, and the milliseconds of `retry-after-ms` and `x-amz-retry-after`.
What cannot be read says nothing: a mistake of the server must not stop us from coming back.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

import httpx

from governor.clock import MAX_DURATION, to_seconds, wall_clock

#: Values of a field that are read, and characters of each: none that can be understood is longer.
MAX_VALUES: Final = 32
MAX_LENGTH: Final = 128

_MILLISECONDS: Final = ("retry-after-ms", "x-amz-retry-after")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]*)?")
#: A value ends at a comma, unless that is the comma after the weekday of a date.
_VALUE: Final = re.compile(r"(?:[A-Za-z]+, )?[^,]+")


def server_wait(headers: httpx.Headers) -> float | None:
    """Seconds from now, from 0 to 366 days; None if nothing is said that can be read.

    A date in the past, a negative number and a wait beyond 366 days count as not said. Of several values, which a proxy may
    have joined, the longest wait is the one that contradicts none of them.
    """
    values = islice(_VALUE.finditer(headers.get("retry-after", "")), MAX_VALUES)
    said = [_seconds(value[0].strip()) for value in values]
    waits = [wait for wait in said if _is_sensible(wait)]
    if not waits:
        numbers = [headers.get(name, "").strip() for name in _MILLISECONDS]
        waits = [
            wait
            for wait in (float(text) / 1_000 for text in numbers if len(text) <= MAX_LENGTH and _NUMBER.fullmatch(text))
            if _is_sensible(wait)
        ]
    return max(waits, default=None)


def _seconds(value: str) -> float:
    """The wait that one value stands for; negative if it cannot be read, or lies in the past."""
    if len(value) > MAX_LENGTH:
        return -1.0
    if _NUMBER.fullmatch(value):
        return float(value)
    date = _date(value)
    return -1.0 if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall_clock()


def _date(value: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _is_sensible(wait: float) -> bool:
    return 0 <= wait <= to_seconds(MAX_DURATION)
