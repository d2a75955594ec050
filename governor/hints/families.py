"""Families of headers: the names that providers give to the parts of a limit, where no dialect names them.

`x-acme-ratelimit-hour-remaining` is what remains of the limit of an hour of `x-acme-ratelimit`. A name has a word of limits in
it (`ratelimit`, `rate-limit`, `quota`), a part (`limit`, `remaining`, `reset`, `interval`), and perhaps a unit and a window;
names that differ in the part only are one limit. A reset without a unit and a window is that of all limits of its family.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from governor._units import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Duration
from governor.hints.dialect import LimitReader, LimitSources, PolicyFields

#: Limits of one answer that are read.
MAX_FAMILIES: Final = 16
#: Characters of the name of a header that is understood.
_MAX_NAME: Final = 96

_WORD: Final = re.compile(
    r"rate-?limit(?:ing|bysize)?|flood-?control|(?<=-)remaining-(?:this|today)|limit-per|quota|throttle|limit|calls?\b|requests?\b"
    r"|tokens(?=.*-(?:limit|remaining|reset)$)"
)
#: Words that stay in the name, because they say a part of the limit, or which limit it is.
_KEPT: Final = ("remaining", "limit-per", "tokens")
_PARTS: Final = (
    (
        "reset",
        re.compile(r"(?:(?:time-)?reset(?:s|-?after|-?at|-?in|-?time|-?timestamp|-?ms)*|next|renews?-?(?:at|in)?)(?:-ms)?$"),
    ),
    ("interval", re.compile(r"(?:time-?)?(?:interval|period|window)(?:-in)?(?:-?(?:ms|milliseconds|sec|seconds))?$")),
    ("remaining", re.compile(r"(?:remaining|remain$|left|available)")),
    ("limit", re.compile(r"(?:limit|max|quota|total)(?!.*(?:limit|max|quota|total))")),
)
_WINDOWS: Final = (
    (re.compile(r"(?:second|secondly|persecond)"), SECOND),
    (re.compile(r"(?:minute|minutely)|\bmin\b"), MINUTE),
    (re.compile(r"(?:hour|hourly)"), HOUR),
    (re.compile(r"(?:day|daily|today)"), DAY),
    (re.compile(r"(?:month)"), Duration(30 * DAY)),
)
#: Tokens of language models; the token of an API is a credential.
_TOKENS: Final = re.compile(r"(?<!api-)tokens?(?!-used)")
#: Words that say nothing about which limit is meant.
_FILLERS: Final = re.compile(r"\b(?:this|per|the|current|requests?|calls?|api)\b|[-_ ]+")
#: Names of headers that may say a whole limit.
_WHOLE: Final = re.compile(r"rate-?limit")
#: Limits that are no rates, and headers about something else.
_OTHER: Final = re.compile(
    r"concurren|(?<!by)size|length|retry|type|policy|resource$|bucket|scope|name|used|usage|observed|cost|near|^access-control"
)


class Part(NamedTuple):
    """What the name of a header says: a part of which limit."""

    part: str
    #: Names the limit within the answer.
    limit: str
    dimension: str
    window: Duration | None
    milliseconds: bool


def readers_of(names: tuple[str, ...], unknown: tuple[str, ...]) -> tuple[LimitReader, ...]:
    """The limits that headers with these names say, of which some are `unknown`: no dialect says what they mean."""
    parts: dict[str, list[tuple[str, Part]]] = {}
    for name in names:
        if (part := _part(name)) is not None:
            parts.setdefault(part.limit, []).append((name, part))
    resets = {limit: [one for one in said if one[1].part == "reset"] for limit, said in parts.items()}
    made = []
    for limit, said in parts.items():
        stated = [name for name, part in said if part.part == "limit"]
        spans = [(name, part) for name, part in said if part.part == "interval"]
        # `x-acme-ratelimit-reset` is also that of `x-acme-ratelimit-hour-remaining`.
        ends = [one for family, found in resets.items() if limit.startswith(family) for one in found]
        unit = MILLISECOND if any(end.milliseconds for _, end in ends) else SECOND
        reset = tuple(end for end, _ in ends)
        remaining = [(name, part) for name, part in said if part.part == "remaining" and name in unknown]
        for name, part in remaining:
            sources = LimitSources(
                dimension=part.dimension,
                limit=stated[0] if stated else None,
                remaining=name,
                reset=reset,
                interval=spans[0][0] if spans else None,
                interval_unit="ms" if spans and spans[0][1].milliseconds else "s",
            )
            window = -1 if part.window is None else part.window
            made.append(LimitReader(sources, name, (name, *reset), unit, window, (), in_body=False))
        own = tuple([name for name, part in said if part.part == "reset" and name in unknown])
        if own and not any(part.part == "remaining" for _, part in said):
            # Without what remains, a reset means something in a denial only: no answer has the marker.
            sources = LimitSources(dimension=said[0][1].dimension, limit=stated[0] if stated else None, reset=own)
            made.append(LimitReader(sources, "-", own, unit, -1, (), in_body=False))
    return tuple(made[:MAX_FAMILIES])


def fields_of(names: tuple[str, ...]) -> tuple[PolicyFields, ...]:
    """The fields with these names that say a whole limit, as RateLimit does: names of a limit without a part."""
    states = (name for name in names if len(name) <= _MAX_NAME and _WHOLE.search(name) and not _OTHER.search(name))
    return tuple(PolicyFields(name, f"{name}-policy") for name in states if _part(name) is None)[:MAX_FAMILIES]


@lru_cache(maxsize=1_024)
def _part(name: str) -> Part | None:
    if len(name) > _MAX_NAME or _OTHER.search(name):
        return None
    word = _WORD.search(name)
    if word is None:
        return None
    kept = word[0] if word[0].startswith(_KEPT) else " "
    rest = f"{name[: word.start()]}{kept}{name[word.end() :]}".removeprefix("x-")
    for part, pattern in _PARTS:
        said = pattern.search(rest)
        if said is None:
            continue
        key = rest[: said.start()] + " " + rest[said.end() :]
        window = next((span for words, span in _WINDOWS if words.search(key)), None)
        tokens = _TOKENS.search(key)
        milliseconds = said[0].endswith(("ms", "milliseconds"))
        return Part(part, _FILLERS.sub("", key), "tokens" if tokens else "requests", window, milliseconds)
    return None
