"""Readers of the values of headers: numbers, durations and dates, in every spelling that servers use.

All of them take time linear in the text, read `MAX_FIELD` characters at most, and return None for what they cannot read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from governor._units import HOUR, MILLISECOND, MINUTE, SECOND, UNITS
from governor.hints.hint import Headers
from governor.hints.patterns import pattern

#: Characters of a field that are read, values among them, and characters of one value: no valid field is longer.
MAX_FIELD: Final = 4_096
MAX_VALUES: Final = 32
MAX_LENGTH: Final = 128

#: A number beyond every bound.
VERY_LONG: Final = 2**63 - 1
#: From this number of seconds on (33 years, and the year 2001), a number is a date rather than a span.
_EPOCH: Final = 10**9
#: The end of the numbers that are seconds since 1970; larger ones are in milliseconds and smaller units.
_FAR: Final = 10**11
#: Characters before the time of a date of RFC 3339, which begins with a year.
_SHORTEST_DATE: Final = 10
#: Digits of a number; more are beyond every bound.
MAX_DIGITS: Final = 19
_INFINITE: Final = frozenset({"inf", "infinity", "+inf"})

_NUMBER: Final = pattern(r"\+?([0-9]+)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
#: A value ends at a comma, but for commas between the digits of a number and after the weekday of a date.
_VALUE: Final = pattern(
    r"\s*(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?(?=\s*(?:[,;]|$))"
    r"|(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}, (?:[A-Z][a-z]{2,8} [0-9]{1,2}, (?=[0-9]{4} ))?)?[^,]+)"
)
#: A number that something else follows: `60:transaction:key`, `120; comment`.
_AND_MORE: Final = pattern(r"([0-9]{1,19}(?:\.[0-9]{1,9})?)\s{0,4}[:;]")
_UNITS: Final = {**UNITS, "ns": None, "µs": UNITS["us"], "μs": UNITS["us"]}
_PART: Final = pattern(rf"([0-9]+)(?:\.([0-9]*))?\s*({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?![a-z])\s*")
#: The usual durations: hours, minutes, and seconds or milliseconds with at most as many decimals as microseconds have.
_GO: Final = pattern(
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m(?!s))?(?:([0-9]{1,9})(?:\.([0-9]{1,6}))?s|([0-9]{1,9})(?:\.([0-9]{1,3}))?ms)?"
)
#: A duration as .NET writes it, `00:12:03` and `1.00:00:00.5`: days, hours, minutes and seconds.
_CLOCK: Final = pattern(r"(?:([0-9]{1,6})\.)?([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,9})?)")
_DATE: Final = pattern(r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
#: As Java and .NET write a date in words: `Saturday, July 30, 2016 12:00:00 AM GMT`.
_WORDS: Final = pattern(
    r"(?:[A-Z][a-z]{2,8}, )?([A-Z][a-z]{2})[a-z]{0,6} ([0-9]{1,2}), ([0-9]{4})"
    r" ([0-9]{1,2})(:[0-9]{2}:[0-9]{2}) ([AP])M ([A-Z]{3,4})"
)
#: Not from `calendar`, whose names depend on the locale.
_MONTHS: Final = {
    name: at // 3 + 1 for at, name in ((at, "JanFebMarAprMayJunJulAugSepOctNovDec"[at : at + 3]) for at in range(0, 36, 3))
}
#: What some servers write for several limits, `300/3000/12000`.
_SLASHED: Final = pattern(r"[0-9]{1,15}(?:/[0-9]{1,15}){1,7}")
_PAIR: Final = pattern(r"([0-9]{1,15}):([0-9]{1,9})")
#: What some servers write for several limits, `{"minute": 100, "day": 5000}`.
_RATIO: Final = pattern(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s?/\s?([0-9]{1,15})(?![0-9])")
_OLD_POLICY: Final = pattern(r"([0-9]{1,15})\s*;\s*w=([0-9]{1,15})")
_NAMED: Final = pattern(r"(?i)[\"'](second|minute|hour|day|month)(?:ly)?[\"']\s?:\s?[\"']?([0-9]{1,15})(?![0-9.])")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "month": 2_592_000}
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The time of the server, in microseconds since 1970.

    The header `Date` says it, so that a clock that is wrong on either side changes no wait. Without a valid one it is `now`,
    in seconds since 1970.
    """

    __slots__ = ("_headers", "_now", "_read")

    def __init__(self, headers: Headers, now: float) -> None:
        self._headers = headers
        self._now = now
        self._read: int | None = None

    def __call__(self) -> int:
        """The time of the server."""
        if self._read is None:
            sent = self._headers.get("date")
            said = date(sent.strip()) if sent is not None and len(sent) <= MAX_LENGTH else None
            self._read = int(self._now * 1_000_000) if said is None else said
        return self._read


def values(text: str) -> Iterator[str]:
    """The values of a field that a server or a proxy may have joined with commas."""
    if "," not in text[:MAX_FIELD]:
        yield text[:MAX_FIELD].strip(' \t"')
        return
    for count, found in enumerate(_VALUE.finditer(text, 0, MAX_FIELD)):
        if count == MAX_VALUES:
            return
        yield found[0].strip(' \t"')


def number(text: str, scale: int = 1) -> int | None:
    """A number, multiplied by `scale` and rounded up: `60`, `60.5`, `1,234`, `1e3`; `VERY_LONG` for an absurd one."""
    if len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii():
        return min(int(text) * scale, VERY_LONG)
    if len(text) > MAX_LENGTH:
        digits = text[:MAX_FIELD]
        return VERY_LONG if digits.isdecimal() and digits.isascii() and digits.strip("0") else None
    found = _NUMBER.fullmatch(text.replace(",", "")) if text[:1].isdecimal() or text[:1] == "+" else None
    if found is None:
        return VERY_LONG if text.lower() in _INFINITE else None
    whole, fraction, power = found[1], found[2] or "", found[3] or "0"
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 0
    # The position of the point, from the left of the digits that count.
    point = len(digits) - len(fraction) + (int(power) if len(power) <= 4 else (-10_000 if power[0] == "-" else 10_000))
    if point > MAX_DIGITS:
        return VERY_LONG
    if point < -MAX_DIGITS:
        return 1
    shift = len(digits) - point
    amount = int(digits) * scale
    power_of_ten: int = 10 ** abs(shift)
    return min(-(-amount // power_of_ten) if shift >= 0 else amount * power_of_ten, VERY_LONG)


def count(text: str) -> int | None:
    """A number of units, rounded down; None for a negative one. Parameters after a semicolon are ignored."""
    if len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii():
        return int(text)
    text = text[:MAX_FIELD]
    amount = number(text.partition(";")[0].strip(), 1_000)
    if amount is None and ";" in text and len(text) <= MAX_LENGTH:
        amount = number(text.rpartition(";")[2].strip(), 1_000)  # Azure writes the name of the limit before it.
    return None if amount is None else amount if amount == VERY_LONG else amount // 1_000


def least(text: str) -> int | None:
    """The smallest of the numbers of units of a field; None without a valid one."""
    if len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii():
        return int(text)
    if "," not in text[:MAX_FIELD]:
        return count(text[:MAX_FIELD].strip())
    return min((units for value in values(text) if (units := count(value)) is not None), default=None)


def span(text: str, clock: Clock, *, unit: int = SECOND, dates: bool = True) -> int | None:
    """The time from now on that a value says, in microseconds; None for one in the past and for what cannot be read.

    A value is a number of `unit`, a duration (`6m0s`, `120ms`, `PT30S`), or a date of HTTP or RFC 3339. With `dates`, a
    number of 1,000,000,000 or more is a date in seconds, milliseconds, microseconds or nanoseconds since 1970.
    """
    if len(text) <= MAX_DIGITS and text.isdecimal() and text.isascii():
        whole = int(text)
        if dates and whole * unit >= _EPOCH * SECOND:
            return _future(_since_1970(whole), clock)
        return min(whole * unit, VERY_LONG)
    if len(text) > _SHORTEST_DATE and text[4] == "-" and len(text) <= MAX_LENGTH and (moment := date(text)) is not None:
        wait = moment - clock()
        return wait if wait > 0 else None
    if text[-1:] == "s" and (amount := _usual(text)) is not None:
        return amount
    amount = number(text, unit)
    if amount is not None:
        if dates and amount >= _EPOCH * SECOND and (seconds := number(text)) is not None and seconds < _FAR:
            return _future(number(text, 1_000_000) or 0, clock)
        return amount
    if not text or len(text) > MAX_LENGTH:
        return None
    amount = duration(text)
    if amount is not None:
        return amount
    moment = date(text)
    if moment is None and (rest := _AND_MORE.match(text)) is not None:
        return span(rest[1], clock, unit=unit, dates=dates)
    return None if moment is None else _future(moment, clock)


def duration(text: str) -> int | None:
    """A duration in microseconds, rounded up: `1s`, `6m0s`, `7.66s`, `30 seconds`, `PT1M30S`, `00:01:30`."""
    usual = _usual(text)
    if usual is not None and text:
        return usual
    if (clock := _CLOCK.fullmatch(text)) is not None:
        hours = int(clock[1] or 0) * 24 + int(clock[2])
        return hours * HOUR + int(clock[3]) * MINUTE + (number(clock[4], SECOND) or 0)
    text = text.lower()
    if text[:1] == "p":
        text = text[1:].replace("t", "", 1)
    total = at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        unit = _UNITS[part[3]]
        amount = number(f"{part[1]}.{part[2] or ''}", 1 if unit is None else unit)
        if amount is None:
            return None
        total += amount if unit is not None else -(-amount // 1_000)
        at = part.end()
    return min(total, VERY_LONG) if text else None


def _usual(text: str) -> int | None:
    if text[-1:] == "s":  # `120ms` and `30s` are read at once.
        digits, scale = (text[:-2], MILLISECOND) if text[-2:] == "ms" else (text[:-1], SECOND)
        if len(digits) <= MAX_DIGITS and digits.isdecimal() and digits.isascii():
            return min(int(digits) * scale, VERY_LONG)
    found = _GO.fullmatch(text)
    if found is None:
        return None
    hours, minutes, seconds, decimals, thousandths, rest = found.groups()
    total = int(seconds) * SECOND if seconds else 0
    if decimals:
        total += int(decimals.ljust(6, "0"))
    if thousandths:
        total = int(thousandths) * MILLISECOND + (int(rest.ljust(3, "0")) if rest else 0)
    if minutes:
        total += int(minutes) * MINUTE
    return total + int(hours) * HOUR if hours else total


def _mail_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # Slow to load, and few dates have this form.

    return parsedate_to_datetime(text)


@lru_cache(maxsize=256)
def date(text: str) -> int | None:
    """A date in microseconds since 1970: of HTTP, RFC 3339, mail, or JavaScript. Without a zone it is UTC.

    The cache serves the header `Date`, which many answers have in common. The text has at most `MAX_LENGTH` characters.
    """
    found = _DATE.fullmatch(text)
    try:
        if found is not None:
            day, month, year, hour, minute, second = found.groups()
            return _microseconds(datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=UTC))
    except (ValueError, KeyError):
        return None
    if (found := _WORDS.fullmatch(text)) is not None:
        month, day, year, hour, rest, half, zone = found.groups()
        text = f"{day} {month} {year} {int(hour) % 12 + (12 if half == 'P' else 0):02}{rest} {zone}"
    for read in (datetime.fromisoformat, _mail_date):
        try:
            # JavaScript writes `Tue Feb 16 2021 09:02:42 GMT+0100 (Central European Standard Time)`.
            plain = text.partition(" (")[0].replace("GMT+", "+").replace("GMT-", "-")
            plain = plain.replace(" UTC ", " ").replace(" GMT ", " ")  # `Tue Nov 14 22:30:00 UTC 2023`, as Java writes it.
            if plain[4:5] == plain[7:8] == "/":  # `2023/11/14 22:43:20 +0000`, as SoundCloud writes it.
                plain = plain.replace("/", "-").replace(" +", "+")
            if plain[4:5] == "-" and (month := _MONTHS.get(plain[5:8].title())) is not None:
                plain = f"{plain[:5]}{month:02}{plain[8:]}"  # `2023-Nov-14 22:14:20+0000 UTC`, as gateways of WSO2 write it.
            return _microseconds(read(plain.removesuffix(" UTC")))  # As Ruby writes it.
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _microseconds(moment: datetime) -> int:
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _START
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def _since_1970(amount: int) -> int:
    """A number that is too large for a span, in microseconds since 1970, by its magnitude."""
    for digits, scale in ((11, 1_000_000), (14, 1_000), (17, 1)):
        if amount < 10**digits:
            return amount * scale
    return amount // 1_000


def _future(moment: int, clock: Clock) -> int | None:
    wait = moment - clock()
    return wait if wait > 0 else None


def listed(text: str | None) -> list[str]:
    """The values of a header that may be absent."""
    if text is not None and "/" in text and _SLASHED.fullmatch(text) is not None:
        return text.split("/")
    if text is not None and "{" in text:  # As pairs.
        return [f"{units}:{_SECONDS[window.lower()]}" for window, units in _NAMED.findall(text, 0, MAX_FIELD)][:MAX_VALUES]
    return [] if text is None else list(values(text))


def split(text: str | None) -> list[str]:
    """The values of a header in which a comma is none of a number."""
    return [] if text is None else [value.strip() for value in text[:MAX_FIELD].split(",", MAX_VALUES)[:MAX_VALUES]]


def pair(text: str) -> tuple[int | None, int]:
    """An amount and its window, `20:120`; the window is -1 if there is only an amount."""
    found = _PAIR.fullmatch(text)
    return (count(text), -1) if found is None else (int(found[1]), int(found[2]) * SECOND)


def joined(
    limits: list[str], used: list[str], left: list[str], resets: list[str], windows: tuple[int, ...]
) -> list[tuple[int | None, int | None, str, int]]:
    """The limit, what remains, the reset and the window of limits of which each header has as many parts, in the same order.

    Empty if the parts do not match, or neither resets nor windows are said.
    """
    spans = list(windows) or [window for _, window in map(pair, limits or left) if window > 0]
    amounts, remaining = ([pair(one)[0] for one in part] for part in (limits, left))
    if used and len(used) == len(limits):
        spent = [pair(one)[0] for one in used]
        remaining = [None if one is None or of is None else max(0, of - one) for one, of in zip(spent, amounts, strict=True)]
    lengths = {len(part) for part in (amounts, remaining, resets, spans) if part}
    if lengths != {len(remaining)} or not (resets or spans):
        return []
    many = len(remaining)
    return list(zip(amounts or [None] * many, remaining, resets or [""] * many, spans or [-1] * many, strict=True))


def policies_in(text: str, clock: Clock) -> list[tuple[int | None, int]]:
    """The limits and their windows that an old draft of the IETF adds to a limit, `5, 60;w=60, 5;w=1`."""
    found = _OLD_POLICY.findall(text, 0, MAX_FIELD)[:MAX_VALUES]
    return [(count(quota), span(window, clock) or -1) for quota, window in found]


def ratio(text: str) -> tuple[str, str]:
    """What is used of a limit, and the limit: `40/40`, `api-usage=9/10, app-usage=2/5`. Of several those with least left."""
    found = _RATIO.findall(text, 0, MAX_FIELD)[:MAX_VALUES]
    return min(found, key=lambda one: float(one[1]) - float(one[0]), default=("", ""))


def refilled_in(rate: str | None, missing: int) -> int:
    """How long so many units take to come back at a rate per second; -1 if that is not said."""
    per_million = None if rate is None else number(rate.strip(), 1_000_000)
    return -1 if not per_million or missing <= 0 else min(-(-missing * 10**12 // per_million), VERY_LONG)


def shortened(name: str) -> str:
    """The text of a name that can be kept, and sent to a daemon: libraries read bytes that are not UTF-8 as lone surrogates."""
    return name[:MAX_LENGTH].encode("utf-8", "replace").decode()
