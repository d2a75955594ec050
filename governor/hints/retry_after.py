"""Retry-After and its relatives: how long a server asks to wait, and whether it asks for no retry at all.

`Retry-After` (RFC 9110, section 10.2.3) holds seconds or a date. Servers also send other forms, which are read too: fractions
of a second, durations (`5s`), ISO 8601 dates, and milliseconds in headers of their own.
"""

from typing import Final

from governor._units import MILLISECOND, SECOND, Duration
from governor.hints.body import Body
from governor.hints.hint import MAX_HINT, Headers
from governor.hints.values import MAX_DIGITS, MAX_LENGTH, VERY_LONG, Clock, span, values

#: The headers that say how long to wait, and the unit of a number in them.
RETRY_AFTER: Final = "retry-after"
#: Milliseconds; -1 asks for no retry (gRFC A6).
PUSHBACK: Final = "grpc-retry-pushback-ms"
#: What some servers that have too much to do send with any status, in seconds.
BACKOFF: Final = "backoff"
#: What a gRPC error says besides, in base64.
DETAILS: Final = "grpc-status-details-bin"
WAITS: Final = (
    (RETRY_AFTER, SECOND),
    ("retry-after-ms", MILLISECOND),
    ("x-ms-retry-after-ms", MILLISECOND),
    ("x-amz-retry-after", MILLISECOND),
    (BACKOFF, SECOND),
    (PUSHBACK, MILLISECOND),
)
#: Those that mean the next call whatever the status: the standard's, that of gRPC, which answers 200, and one of few servers.
ALWAYS_MEANT: Final = frozenset({RETRY_AFTER, PUSHBACK, BACKOFF})
#: Those of an answer about a job: its `Retry-After` is the wait for the result, and means no other call.
MEANT_OF_JOBS: Final = ALWAYS_MEANT - {RETRY_AFTER}
_SHOULD_RETRY: Final = ("x-should-retry", "stripe-should-retry")
_NO: Final = frozenset({"false", "?0", "0", "no", "never"})


def read_wait(headers: Headers, *, now: float, max_hint: Duration = MAX_HINT) -> Duration | None:
    """How long the server asks to wait, from 0 to `max_hint`; None without a valid value.

    `now` is in seconds since 1970; a date is measured against the header `Date` if there is one. Of several values, and of
    several headers, the longest wait is returned, because it satisfies all of them. A date in the past and a negative number
    are ignored; a number beyond `max_hint`, however long, is `max_hint`.
    """
    clock, longest = Clock(headers, now), -1
    for name, unit in WAITS:
        text = headers.get(name)
        if text is not None:
            longest = max(longest, longest_wait(text, clock, unit))
    return None if longest < 0 else Duration(min(longest, max_hint))


def longest_wait(text: str, clock: Clock, unit: int) -> int:
    """The longest of the waits of a field, in microseconds; -1 without a valid one."""
    if len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii():
        return min(int(text) * unit, VERY_LONG)  # As nearly always.
    waits = [span(value, clock, unit=unit, dates=False) for value in values(text)]
    if "nan" in text[:MAX_LENGTH].lower():  # What is infinite beside it was computed by the same mistake.
        waits = [wait for wait in waits if wait != VERY_LONG]
    return max((wait for wait in waits if wait is not None), default=-1)


def denied_wait(name: str, text: str, clock: Clock, unit: int) -> int:
    """The wait that another header of a denial says: a number, a date, a JSON object that names it, or the details of gRPC.

    In microseconds; -1 if it says none.
    """
    if name == DETAILS:
        from governor.hints.grpc_details import retry_delay  # Few answers have them.

        return retry_delay(text)
    if text.lstrip()[:1] == "{":
        from governor.hints.wording import wait_of

        return wait_of(Body(text.encode("utf-8", "replace")).leaves(), clock)
    return max((wait for value in values(text) if (wait := span(value, clock, unit=unit)) is not None), default=-1)


def forbids_retry(headers: Headers) -> bool:
    """Whether the server asks not to repeat the request: `x-should-retry: false`, `stripe-should-retry: false`.

    One of several joined values suffices, and so does a pushback of gRPC that is negative or no number. That a server asks to
    repeat a request changes nothing: whether that is harmless is for the settings to say.
    """
    said = (text for name in _SHOULD_RETRY if (text := headers.get(name)) is not None)
    if any(value.lower() in _NO for text in said for value in values(text)):
        return True
    pushback = headers.get(PUSHBACK)
    return pushback is not None and not pushback.strip().isdecimal()
