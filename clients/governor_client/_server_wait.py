"""Parses how long a server asks to wait.

`Retry-After` (RFC 9110, section 10.2.3) holds seconds or a date. Servers also send other forms, which are
read too: fractions of a second, ISO 8601 dates, and milliseconds in `retry-after-ms` and `x-amz-retry-after`. A value that
cannot be parsed is ignored: a mistake of the server must not prevent retries.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

import httpx

from governor.clock import MAX_DURATION, to_seconds, wall_clock

#: The maximum number of values that are read, and characters of each: no valid value is longer.
MAX_VALUES: Final = 32
MAX_LENGTH: Final = 128

_MILLISECONDS: Final = ("retry-after-ms", "x-amz-retry-after")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]*)?")
#: A value ends at a comma, unless that is the comma after the weekday of a date.
_VALUE: Final = re.compile(r"(?:[A-Za-z]+, )?[^,]+")


def server_wait(headers: httpx.Headers) -> float | None:
    """Seconds from now, from 0 to 366 days; None without a valid value.

    A date in the past, a negative number and a wait of more than 366 days are ignored. Of several values, which a proxy may
    have joined, the longest is returned, because it satisfies all of them.
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
    """The wait of one value in seconds; negative if it cannot be parsed, or lies in the past."""
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
