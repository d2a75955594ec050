"""Moments that a text names without a span: midnight, the end of the hour, 22:30 UTC, 8pm (Europe/Berlin), "a few minutes".

Midnight is that of the zone that the text names, and of UTC without one. Whose day it is may be unknown then, so that the wait
is an hour at least.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from governor._units import DAY, HOUR, MINUTE, SECOND
from governor.hints.patterns import has_one, pattern
from governor.hints.values import Clock, date

#: Each text that names such a moment has one of these words: to look for them takes a twentieth of the time.
_WORDS: Final = (
    *("midnight", "tomorrow", "few ", "couple ", "several ", "some ", " of ", "utc", "gmt", "/"),
    *("m pst", "m pdt", "m pt", "m est", "m edt", "m et", "m cet", "m cest", "m jst", "m kst"),
)
_DAYS: Final = pattern(
    r"(?:again|back|until|after|resets?|renew\w*|replenish\w*|restored|available|refresh\w*|tomorrow|continue|resumes?)\b[^.!?]{0,24}?"
    r"(?:(?:\btomorrow,? (?:at )?)?\bmidnight(?: tomorrow)?"
    r"(?: \(?(?P<zone>utc|gmt|pacific|p[sd]?t\b|eastern|e[sd]?t\b|ces?t\b|jst|kst|beijing))?|\btomorrow)"
)
#: The latest offset of each zone, in hours.
_OFFSETS: Final = {"u": 0, "g": 0, "p": -8, "e": -5, "c": 1, "j": 9, "k": 9, "b": 8}
_EDGE: Final = pattern(
    r"\b(?:end|start|beginning|top) of (?:(?:the|this|that|your|each|every|current|next|following|new|calendar|utc|billing) )"
    r"{0,4}(second|minute|hour|day|week|month|period|cycle)"
)
_SIZES: Final = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}
#: Periods whose ends are not known: they are beyond the usual bound.
_LONGER: Final = 31 * DAY
_FEW: Final = pattern(
    r"(?:again|retry|wait|back|later|try|available|resume)\b[^.!?0-9]{0,16}? (?:a )?(few|couple(?: of)?|several|some)"
    r" (?:more )?(second|minute|hour)s"
)
#: The least number that such a word is taken for.
_MANY: Final = {"few": 3, "several": 3, "some": 3}
#: A time of the day, and a date without a year.
_TIME: Final = pattern(
    r"(?:again|until|after|resets?|renew\w*|replenish\w*|available|permitted|allowed|refresh\w*|resumes?)\b[^.!?]{0,24}?[ (]"
    r"(?<![0-9] )(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]))?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?,? ?\(?"
    r"(?P<zone>(?:utc|gmt)(?![+-])|[a-z]{2,12}/[a-z_]{2,24}(?:/[a-z_]{2,24})?|(?:p[sd]?t|e[sd]?t|ces?t|jst|kst)\b)"
)
_YEARLESS: Final = pattern(r"(?<![0-9-])([0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}(?::[0-9]{2})?) ?(?:utc|gmt)")


def wait_until(text: str, clock: Clock, stated: int) -> int:
    """The longest wait until a moment that a text, in lower case, names, or the `stated` one; -1 if there is none.

    A time of the day counts only if nothing else is stated: it is part of a date otherwise.
    """
    if not has_one(text, _WORDS):
        return stated
    longest = stated
    for found in _DAYS.finditer(text):
        zone = found["zone"]
        left = DAY - (clock() + _OFFSETS[(zone or "utc")[0]] * HOUR) % DAY
        longest = max(longest, left if zone else max(left, HOUR))
    for found in _EDGE.finditer(text):
        size = _SIZES.get(found[1])
        longest = max(longest, _LONGER if size is None else size - clock() % size)
    for found in _FEW.finditer(text):
        longest = max(longest, _MANY.get(found[1], 2) * _SIZES[found[2]])
    return longest if longest >= 0 else _on_the_clock(text, clock)


def _on_the_clock(text: str, clock: Clock) -> int:
    now = clock()
    if (found := _YEARLESS.search(text)) is not None:
        year = datetime.fromtimestamp(now // SECOND, UTC).year
        moments = (date(f"{one}-{found[1]}T{found[2]}Z") for one in (year - 1, year, year + 1))
        return max(-1, min((one - now for one in moments if one is not None), key=abs, default=-1))
    waits = [_from(found, now) for found in _TIME.finditer(text) if found["minute"] or found["half"]]
    return max(waits, default=-1)


def _from(found: re.Match[str], now: int) -> int:
    """The wait until a time of the day: of tomorrow, if that of today has passed, but for one that has just passed."""
    hour = int(found["hour"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"] == "p" else 0)
    moment = hour * HOUR + int(found["minute"] or 0) * MINUTE + int(found["second"] or 0) * SECOND
    zone = found["zone"]
    offset = _offset(zone, now // HOUR) if "/" in zone else _OFFSETS[zone[0]] * HOUR
    wait = -1 if offset is None else (moment - offset - now) % DAY
    return wait if hour < 24 and wait < DAY - MINUTE else -1


@lru_cache(maxsize=64)
def _offset(name: str, hour: int) -> int | None:
    """The offset from UTC of a zone such as `america/new_york` in an hour since 1970; None for an unknown one."""
    from zoneinfo import ZoneInfo  # Few answers name one.

    try:
        zone = ZoneInfo("/".join("_".join(map(str.capitalize, part.split("_"))) for part in name.split("/")))
        found = datetime.fromtimestamp(hour * 3_600, zone).utcoffset()
    except (ValueError, OSError, KeyError):  # `ZoneInfoNotFoundError` is a `KeyError`.
        return None
    return None if found is None else round(found.total_seconds()) * SECOND
