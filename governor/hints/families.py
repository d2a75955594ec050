"""Families of headers: the names that providers give to the parts of a limit, where no dialect names them.

`x-acme-ratelimit-hour-remaining` is what remains of the limit of an hour of `x-acme-ratelimit`. A name has a word of limits in
it (`ratelimit`, `rate-limit`, `quota`), a part (`limit`, `remaining`, `used`, `reset`, `interval`), perhaps a unit and window;
names that differ in the part only are one limit. A reset without a unit and a window is that of all limits of its family.
Names without such a word are a limit if one says what remains and another a part of it: `x-acme-remaining`, `x-acme-reset`.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from governor._units import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Duration
from governor.hints.dialect import LimitReader, LimitSources, PolicyFields
from governor.hints.patterns import has_one, pattern

#: Limits of one answer that are read.
MAX_FAMILIES: Final = 16
#: Headers of one answer that are parts of limits. Each is compared with each, so that more would cost their square.
_MAX_PARTS: Final = 64
#: Characters of the name of a header that is understood.
_MAX_NAME: Final = 96

_WORD: Final = pattern(
    r"rate-?limit(?:ing|bysize)?|flood-?control|(?<=-)remaining-(?:this|today)|limit-per|quota|throttle|limit|calls?\b|requests?\b|\bqps\b|\breq(?=persec)"
    r"|tokens(?=.*-(?:limit|remaining|reset)$)"
)
#: Words that stay in the name, because they say a part of the limit, or which limit it is.
_KEPT: Final = ("remaining", "limit-per", "tokens", "throttle", "quota", "qps")
_PARTS: Final = (
    (
        "reset",
        pattern(
            r"(?:time-)?reset(?:s|-?after|-?at|-?in|-?by|-?time|-?timestamp|-?ms)*(?=-(?!date)|$)|time-?(?:left|remaining|to-?live)$|decay$|window-?ends?(?:-?at)?$|(?:next|until|remaining.{0,3}-ttl|expir(?:y|es)(?:-?time)?|renews?-?(?:at|in)?)(?:-?(?:ms|millis))?$"
        ),
    ),
    ("remaining", pattern(r"(?:remaining|remain$|left|available)")),
    (
        "interval",
        pattern(
            r"(?<!limit-)(?:time-?)?(?:interval|period|window)(?:-size|-in)?(?:-?(?:ms|milliseconds|sec|seconds))?$|policy$"
        ),
    ),
    ("used", pattern(r"(?:used|usage|current|consumed|count)$")),
    ("limit", pattern(r"(?:limit|max|quota|total|allowed$|allotted$)(?!.*(?:limit|max|quota|total|allowed$|allotted$))")),
)
_WINDOW: Final = pattern(r"second|minute|\bmin\b|hour|day|daily|month|persec|qps")
_WINDOWS: Final = {
    "second": SECOND,
    "persec": SECOND,
    "qps": SECOND,
    "minute": MINUTE,
    "min": MINUTE,
    "hour": HOUR,
    "day": DAY,
    "daily": DAY,
    "month": 30 * DAY,
}
#: A window at the end of a name: `x-ratelimit-remaining-15m`.
_SPAN: Final = pattern(r"-([0-9]{1,4})([smhd])$")
_UNITS: Final = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
#: Tokens of language models; the token of an API is a credential.
_TOKENS: Final = pattern(r"(?<!api-)tokens?(?!-used)")
#: Words that say nothing about which limit is meant.
_FILLERS: Final = pattern(r"\b(?:this|per|the|current|requests?|calls?|api)\b|[-_ ]+")
#: Names of headers that may say a whole limit.
_WHOLE: Final = pattern(r"rate-?limit|^remaining-req$|^api-limits$|^req-limit-")
#: Names of limits without such a word: `x-acme-remaining` beside `x-acme-reset`.
_PLAIN: Final = pattern(r"(.{2,64})-(remaining|left|limit|resets?(?:-?at|-?in|-?after)?)")
#: Names of limits that are said as a ratio: `x-acme-call-limit: 40/40`.
_RATIO: Final = pattern(r"(?:call-?limit|bucket-?level|(?:api|calls?|requests?)-usage|limit-?info)$")
#: Names of waits, which denials have.
_WAIT: Final = pattern(
    r"retry-?(?:after|in\b|at\b)|rate-?limit-retry$|lock-?out(?:-?until|-?ends?)?$|(?:banned|blocked|locked)-?until$|rate-?limit-after$"
    r"|(?:wait|delay|back-?off)(?:-?(?:time|sec|seconds|ms))?$|limited-?(?:for|until)$|time-?left$"
    r"|cool-?down(?:-?(?:sec|seconds|ms|until))?$|penalty(?:-?(?:time|sec|seconds|ms))?$|(?:ban|block(?:ed)?|lock(?:ed)?)-?expir(?:es|y)(?:-?at)?$"
    r"|available-?(?:at|in|after)$|try-?again(?:-?(?:at|in|after))?$|next-?(?:request|call|retry|attempt|allowed|available)[a-z-]{0,16}(?:at|in|time)$"
    r"|re(?:fill|plenish(?:ment)?)s?-?(?:at|in|time)$"
)
_MILLISECONDS: Final = pattern(r"-?(?:ms|millis|milliseconds)$")
#: Words in every name that says a part of a limit, or a wait; and those of which such a name has one of each kind.
_ALONE: Final = (
    *("limit", "quota", "remain", "left", "reset", "retry", "wait", "backoff", "back-off", "bucket", "qps", "lockout"),
    *(
        "lock-out",
        "until",
        "cooldown",
        "cool-down",
        "penalty",
        "-expir",
        "available-",
        "again",
        "next-",
        "refill",
        "replenish",
        "usage",
    ),
)
_WITH_A_PART: Final = ("call", "request", "token", "throttle")
_PART_WORDS: Final = ("next", "expir", "renew", "interval", "period", "window", "max", "total", "allowed", "available")
#: Limits that are no rates, and headers about something else.
_OTHER: Final = pattern(
    r"concurren|(?<!by)(?<!window-)size|length|retry|type|policy(?!$)|resource$|bucket|scope|name|us(?:ed|age)(?!$)|observed|cost|near|^access-control"
)

#: Things that an API counts and that are no calls, unless the name says calls as well: `x-stock-remaining`, `x-page-limit`.
_THING: Final = pattern(
    r"^(?!.*(?:rate-?limit|request|calls?\b|qps|throttl)).*\b(?:(?:page|chunk|item|row|result|record|cursor|scroll|session|seat|room|device|project"
    r"|member|upload|download|file|attachment|stock|ticket|coupon|voucher|discount|cart|vote|redirect|hop|slot|password|pin|login)s?"
    r"|pagination|paging|licen[cs]es?|inventory|storage|disk|memory|cpu|space|mailbox|depth|nesting|queue|cache|trial-days"
    r"|balance|battery|fuel|lives|timeout|lease|(?:auth|access|csrf|refresh)-token)\b"
)


class Part(NamedTuple):
    """What the name of a header says: a part of which limit."""

    part: str
    #: Names the limit within the answer.
    limit: str
    dimension: str
    window: Duration | None
    milliseconds: bool


def may_say(name: str) -> bool:
    """Whether the name of a header may say a part of a limit, or a wait. Most names do not, and get no closer look."""
    return has_one(name, _ALONE) or (has_one(name, _WITH_A_PART) and has_one(name, _PART_WORDS))


def readers_of(known: tuple[LimitReader, ...], names: tuple[str, ...], unknown: tuple[str, ...]) -> tuple[LimitReader, ...]:
    """The limits of headers with these names, of which some are `unknown`: no dialect says what they mean.

    They are the `known` limits, with the resets and windows that other headers say of them, and those of unknown headers alone.
    """
    if not unknown and all(any(reset in names for reset in reader.sources.reset) for reader in known if reader.marker in names):
        return known
    parts: dict[str, list[tuple[str, Part]]] = {}
    for name, part in _parts(names):
        parts.setdefault(part.limit, []).append((name, part))
    resets = {limit: [one for one in said if one[1].part == "reset"] for limit, said in parts.items()}
    made = [_completed(reader, names, parts) for reader in known]
    for limit, said in parts.items():
        stated = [name for name, part in said if part.part == "limit"]
        # `x-acme-ratelimit-reset` is also that of `x-acme-ratelimit-hour-remaining`, if that has none itself.
        ends = resets[limit] or [one for family, found in resets.items() if limit.startswith(family) for one in found]
        remaining = [(name, part) for name, part in said if part.part == "remaining" and name in unknown]
        for name, part in remaining:
            sources = LimitSources(dimension=part.dimension, limit=stated[0] if stated else None, remaining=name)
            window = -1 if part.window is None else part.window
            reader = LimitReader(sources, _marker(name), (name,), SECOND, window, (), in_body=False)
            made.append(_with(reader, ends, _spans(said)))
        used = [name for name, part in said if part.part == "used" and name in unknown]
        if used and stated and not any(part.part == "remaining" for _, part in said):
            sources = LimitSources(dimension=said[0][1].dimension, limit=stated[0], used=used[0])
            window = -1 if said[0][1].window is None else said[0][1].window
            reader = LimitReader(sources, _marker(used[0]), (used[0],), SECOND, window, (), in_body=False, is_calculated=True)
            made.append(_with(reader, ends, _spans(said)))
            continue
        own = [one for one in resets[limit] if one[0] in unknown]
        if own and not any(part.part == "remaining" for _, part in said):
            # Without what remains, a reset means something in a denial only: no answer has the marker.
            sources = LimitSources(dimension=said[0][1].dimension, limit=stated[0] if stated else None)
            made.append(_with(LimitReader(sources, "-", (), SECOND, -1, (), in_body=False), own, []))
    for name in unknown:
        if len(name) <= _MAX_NAME and _RATIO.search(name):
            sources = LimitSources(ratio=name, reset=(f"{name}-reset",))
            made.append(LimitReader(sources, name, (name,), SECOND, -1, (), in_body=False, is_calculated=True))
    return tuple(made[: len(known) + MAX_FAMILIES])


def _marker(name: str) -> str:
    """What an answer that is no denial must have for the limit to be read: the header, or a name that none has."""
    return "-" if _THING.search(name) else name


def waits_of(unknown: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """The headers among these that say how long to wait after a denial, and the unit of a number in them."""
    found = (
        name for name in unknown if len(name) <= _MAX_NAME and _WAIT.search(name) and not name.startswith("access-control")
    )
    return tuple([(name, MILLISECOND if _MILLISECONDS.search(name) else SECOND) for name in found][:MAX_FAMILIES])


def _parts(names: tuple[str, ...]) -> list[tuple[str, Part]]:
    """The names that say a part of a limit, and which."""
    found = [(name, part) for name in names if (part := _part(name)) is not None][:_MAX_PARTS]
    plain = [(name, one) for name in names if (one := _plain(name)) is not None][:_MAX_PARTS]
    counted = Counter(one[1] for _, one in plain)
    left = {one[1] for _, one in plain if one[2] in ("remaining", "left")}
    told = [(name, _part(f"{one[1]}-ratelimit-{one[2]}")) for name, one in plain if one[1] in left and counted[one[1]] > 1]
    return [*found, *((name, part) for name, part in told if part is not None)]


def _plain(name: str) -> re.Match[str] | None:
    return _PLAIN.fullmatch(name) if len(name) <= _MAX_NAME and _part(name) is None and not _OTHER.search(name) else None


def _completed(reader: LimitReader, names: tuple[str, ...], parts: Mapping[str, list[tuple[str, Part]]]) -> LimitReader:
    """A limit of a dialect, with the reset and the window that headers say which it does not name, if it has none itself."""
    sources = reader.sources
    if sources.remaining not in names or (part := _part(sources.remaining or "")) is None:
        return reader
    said = parts.get(part.limit, [])
    ends = [] if any(name in names for name in sources.reset) else [one for one in said if one[1].part == "reset"]
    return _with(reader, ends, [] if reader.window > 0 or sources.interval in names else _spans(said))


def _spans(said: list[tuple[str, Part]]) -> list[tuple[str, Part]]:
    return [one for one in said if one[1].part == "interval"]


def _with(reader: LimitReader, ends: list[tuple[str, Part]], spans: list[tuple[str, Part]]) -> LimitReader:
    """A limit with these resets and a window, if there are any."""
    if ends:
        reset = tuple([name for name, _ in ends])
        unit = MILLISECOND if any(part.milliseconds for _, part in ends) else SECOND
        sources = msgspec.structs.replace(reader.sources, reset=reset)
        reader = reader._replace(sources=sources, signs=(*reader.signs, *reset), unit=unit)
    if spans:
        name, part = spans[0]
        unit_name: Literal["s", "ms"] = "ms" if part.milliseconds else "s"
        reader = reader._replace(sources=msgspec.structs.replace(reader.sources, interval=name, interval_unit=unit_name))
    return reader


def fields_of(names: tuple[str, ...]) -> tuple[PolicyFields, ...]:
    """The fields with these names that say a whole limit, as RateLimit does: names of a limit without a part."""
    states = (name for name in names if len(name) <= _MAX_NAME and _WHOLE.search(name) and not _OTHER.search(name))
    fields = (PolicyFields(name, f"{name}-policy") for name in states if _part(name) is None and not _WAIT.search(name))
    return tuple(fields)[:MAX_FAMILIES]


@lru_cache(maxsize=1_024)
def _part(name: str) -> Part | None:
    if len(name) > _MAX_NAME or _OTHER.search(name):
        return None
    word = _WORD.search(name)
    if word is None:
        return None
    kept = word[0] if word[0].startswith(_KEPT) else " "
    rest = f"{name[: word.start()]}{kept}{name[word.end() :]}".removeprefix("x-")
    for part, words in _PARTS:
        said = words.search(rest)
        if said is None:
            continue
        key = rest[: said.start()] + " " + rest[said.end() :]
        found = _WINDOW.search(key)
        window = None if found is None else Duration(_WINDOWS[found[0]])
        if window is None and (span := _SPAN.search(key)) is not None and int(span[1]):
            window = Duration(int(span[1]) * _UNITS[span[2]])
        tokens = _TOKENS.search(key)
        milliseconds = said[0].endswith(("ms", "millis", "milliseconds"))
        return Part(part, _FILLERS.sub("", key), "tokens" if tokens else "requests", window, milliseconds)
    return None
