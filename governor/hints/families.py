"""Families of headers: the names that providers without a dialect give to the parts of a limit.

`x-acme-ratelimit-hour-remaining` is what remains of the limit of an hour of `x-acme-ratelimit`. A name has a word of limits in
it (`ratelimit`, `rate-limit`), a part (`limit`, `remaining`, `reset`), and perhaps a unit and a window; names that differ in
the part only are one limit. A reset without a unit and a window is that of all limits of its family.
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

_WORD: Final = re.compile(r"rate-?limit(?:ing)?|(?<=-)remaining-(?:this|today)|limit-per|quota|throttle")
_PARTS: Final = (
    ("reset", re.compile(r"(?:reset(?:s|-?after|-?at|-?in|-?time|-?ms)*|next|renews?-?(?:at|in)?)(?:-ms)?$")),
    ("remaining", re.compile(r"(?:remaining|left|available)")),
    ("limit", re.compile(r"(?:limit|max|quota|total)(?!.*(?:limit|max|quota|total))")),
)
_WINDOWS: Final = (
    (re.compile(r"(?:second|secondly|persecond)"), SECOND),
    (re.compile(r"(?:minute|minutely)"), MINUTE),
    (re.compile(r"(?:hour|hourly)"), HOUR),
    (re.compile(r"(?:day|daily|today)"), DAY),
)
_TOKENS: Final = re.compile(r"tokens?")
#: Words that say nothing about which limit is meant.
_FILLERS: Final = re.compile(r"\b(?:this|per|the|current|requests?|calls?|api)\b|[-_ ]+")
#: Limits that are no rates.
_OTHER: Final = re.compile(r"concurren|size|length|retry|type|policy|resource|bucket|scope|name|used|usage|observed|cost|near")


class Part(NamedTuple):
    """What the name of a header says: a part of which limit."""

    part: str
    #: Names the limit within the answer.
    limit: str
    dimension: str
    window: Duration | None
    milliseconds: bool


def readers_of(names: tuple[str, ...]) -> tuple[LimitReader, ...]:
    """The limits that headers with these names say."""
    parts: dict[str, list[tuple[str, Part]]] = {}
    for name in names:
        if (part := _part(name)) is not None:
            parts.setdefault(part.limit, []).append((name, part))
    resets = {limit: [one for one in said if one[1].part == "reset"] for limit, said in parts.items()}
    made = []
    for limit, said in parts.items():
        stated = [name for name, part in said if part.part == "limit"]
        for name, part in said:
            if part.part == "remaining":
                # `x-acme-ratelimit-reset` is also that of `x-acme-ratelimit-hour-remaining`.
                ends = [one for family, found in resets.items() if limit.startswith(family) for one in found]
                unit = MILLISECOND if any(end.milliseconds for _, end in ends) else SECOND
                reset = tuple(end for end, _ in ends)
                sources = LimitSources(
                    dimension=part.dimension, limit=stated[0] if stated else None, remaining=name, reset=reset
                )
                window = -1 if part.window is None else part.window
                made.append(LimitReader(sources, name, (name, *reset), unit, window, in_body=False))
    return tuple(made[:MAX_FAMILIES])


def fields_of(names: tuple[str, ...]) -> tuple[PolicyFields, ...]:
    """The fields with these names that have the syntax of RateLimit, under another name."""
    states = (name for name in names if name.endswith("-ratelimit") and len(name) <= _MAX_NAME)
    return tuple(PolicyFields(name, f"{name}-policy") for name in states)[:MAX_FAMILIES]


@lru_cache(maxsize=1_024)
def _part(name: str) -> Part | None:
    if len(name) > _MAX_NAME or _OTHER.search(name):
        return None
    word = _WORD.search(name)
    if word is None:
        return None
    # `remaining-this` and `limit-per` are a part of the limit as well.
    kept = word[0] if word[0].startswith(("remaining", "limit-per")) else " "
    rest = f"{name[: word.start()]}{kept}{name[word.end() :]}".removeprefix("x-")
    for part, pattern in _PARTS:
        said = pattern.search(rest)
        if said is None:
            continue
        key = rest[: said.start()] + " " + rest[said.end() :]
        window = next((span for words, span in _WINDOWS if words.search(key)), None)
        tokens = _TOKENS.search(key)
        return Part(part, _FILLERS.sub("", key), "tokens" if tokens else "requests", window, said[0].endswith("ms"))
    return None
