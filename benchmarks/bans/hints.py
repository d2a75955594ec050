"""What a provider says about its limits in the headers of an answer: nothing, the truth in some dialect, or something wrong."""

from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from math import ceil
from typing import Final

import msgspec

from benchmarks.bans.limits import Limit
from benchmarks.bans.virtual_time import EPOCH, SECOND

#: 30 days: as far in the future as no wait is meant to be.
_FAR: Final = 30 * 86_400


class State(msgspec.Struct, frozen=True):
    """One limit, as it stands when a request has arrived."""

    name: str
    limit: Limit


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer could say: the limits that the call counts in, and the wait if the call is denied, in microseconds."""

    now: int
    states: Sequence[State]
    denied: bool
    wait: int


#: Makes headers, with names in lower case.
Hints = Callable[[Situation], dict[str, str]]


def silent(situation: Situation) -> dict[str, str]:
    """Nothing."""
    return {}


def retry_after(situation: Situation) -> dict[str, str]:
    """`Retry-After` in whole seconds, on denials."""
    return {"retry-after": str(_seconds(situation.wait))} if situation.denied else {}


def github(situation: Situation) -> dict[str, str]:
    """`x-ratelimit-*` of the first limit with its reset as an epoch, on every answer; `Retry-After` on denials."""
    first = situation.states[0]
    return {
        "x-ratelimit-limit": str(first.limit.amount),
        "x-ratelimit-remaining": str(first.limit.remaining(situation.now)),
        "x-ratelimit-reset": str(EPOCH + ceil(first.limit.reset(situation.now) / SECOND)),
        "x-ratelimit-resource": "core",
        **retry_after(situation),
    }


def openai(situation: Situation) -> dict[str, str]:
    """`x-ratelimit-*-requests` and `-tokens`, with resets as durations, on every answer; `Retry-After` on denials."""
    said = {}
    for state in situation.states:
        if state.name in {"requests", "tokens"}:
            said[f"x-ratelimit-limit-{state.name}"] = str(state.limit.amount)
            said[f"x-ratelimit-remaining-{state.name}"] = str(state.limit.remaining(situation.now))
            wait = max(0, state.limit.reset(situation.now) - situation.now)
            said[f"x-ratelimit-reset-{state.name}"] = f"{ceil(wait / 1000)}ms"
    return {**said, **retry_after(situation)}


def ietf(situation: Situation) -> dict[str, str]:
    """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers, on every answer; `Retry-After` on denials."""
    windows = [state for state in situation.states if state.limit.per]
    policies = [f'"{state.name}";q={state.limit.amount};w={_seconds(state.limit.per)}' for state in windows]
    now = situation.now
    limits = [f'"{state.name}";r={state.limit.remaining(now)};t={_seconds(state.limit.reset(now) - now)}' for state in windows]
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(limits), **retry_after(situation)}


def past(situation: Situation) -> dict[str, str]:
    """A date that has passed, and a reset that has passed."""
    if not situation.denied:
        return {}
    before = EPOCH + situation.now // SECOND - 3600
    return {"retry-after": formatdate(before, usegmt=True), "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(before)}


def far_future(situation: Situation) -> dict[str, str]:
    """30 days."""
    if not situation.denied:
        return {}
    reset = str(EPOCH + situation.now // SECOND + _FAR)
    return {"retry-after": str(_FAR), "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}


def zero(situation: Situation) -> dict[str, str]:
    """No wait at all."""
    return {"retry-after": "0", "x-ratelimit-reset": "0"} if situation.denied else {}


def negative(situation: Situation) -> dict[str, str]:
    """Spans below zero."""
    return {"retry-after": "-30", "x-ratelimit-remaining": "-5", "x-ratelimit-reset": "-60"} if situation.denied else {}


def contradicting(situation: Situation) -> dict[str, str]:
    """Ten times the limit, of which nearly all remains, on every answer; on denials a second, and a reset in an hour."""
    first = situation.states[0].limit
    said = {
        "x-ratelimit-limit": str(first.amount * 10),
        "x-ratelimit-remaining": str(first.amount * 9),
        "x-ratelimit-reset": str(EPOCH + situation.now // SECOND + 1),
    }
    if situation.denied:
        said |= {"retry-after": "1", "ratelimit": '"default";r=100;t=3600'}
    return said


#: Hints that are wrong, by what is wrong with them.
WRONG: Final[Mapping[str, Hints]] = {
    "past": past,
    "far-future": far_future,
    "zero": zero,
    "negative": negative,
    "contradicting": contradicting,
}


def _seconds(span: int) -> int:
    return max(0, ceil(span / SECOND))
