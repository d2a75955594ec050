"""Parses how long a server asks to wait.

`Retry-After` (RFC 9110, section 10.2.3) holds seconds or a date. Servers also send other forms, which are
read too: fractions of a second, ISO 8601 dates, and milliseconds in `retry-after-ms` and `x-amz-retry-after`. A value that
cannot be parsed is ignored: a mistake of the server must not prevent retries.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final, Protocol

from governor.clock import MAX_DURATION, to_seconds, wall_clock

#: The maximum number of values that are read, and characters of each: no valid value is longer.
MAX_VALUES: Final = 32
MAX_LENGTH: Final = 128

_MILLISECONDS: Final = ("retry-after-ms", "x-amz-retry-after")
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]*)?")
#: A value ends at a comma, unless that is the comma after the weekday of a date.
_VALUE: Final = re.compile(r"(?:[A-Za-z]+, )?[^,]+")


class Headers(Protocol):
    """The headers of a request or an answer: those of every HTTP library."""

    def get(self, name: str, /) -> str | None:
        """The value of a header, whose name is in lower case, or None; several values are joined with commas."""
        ...


def server_wait(headers: Headers) -> float | None:
    """Seconds from now, from 0 to 366 days; None without a valid value.

    A date is read by the clock of the server, which the header `Date` shows, so that a clock that is wrong on either side does
    not change the wait; without that header, by the clock of this machine. A date in the past, a negative number and a wait of
    more than 366 days are ignored. Of several values, which a proxy may have joined, the longest is returned, because it
    satisfies all of them.
    """
    values = islice(_VALUE.finditer(headers.get("retry-after") or ""), MAX_VALUES)
    said = [_seconds(value[0].strip(), headers) for value in values]
    waits = [wait for wait in said if _is_sensible(wait)]
    if not waits:
        numbers = [(headers.get(name) or "").strip() for name in _MILLISECONDS]
        waits = [
            wait
            for wait in (float(text) / 1_000 for text in numbers if len(text) <= MAX_LENGTH and _NUMBER.fullmatch(text))
            if _is_sensible(wait)
        ]
    return max(waits, default=None)


def _seconds(value: str, headers: Headers) -> float:
    """The wait of one value in seconds; negative if it cannot be parsed, or lies in the past."""
    if len(value) > MAX_LENGTH:
        return -1.0
    if _NUMBER.fullmatch(value):
        return float(value)
    until = _date(value)
    if until is None:
        return -1.0
    sent = headers.get("date") or ""
    now = _date(sent.strip()) if len(sent) <= MAX_LENGTH else None
    return until - (wall_clock() if now is None else now)


def _date(value: str) -> float | None:
    """A date as seconds since 1970; without a zone it is UTC. None if it cannot be parsed."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = read(value)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _is_sensible(wait: float) -> bool:
    return 0 <= wait <= to_seconds(MAX_DURATION)
