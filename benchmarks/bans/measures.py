"""The measures of a run, beside the oracle's."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Final

import msgspec

from benchmarks.bans.contract import Run
from benchmarks.bans.provider import FORBIDDEN, OK, TOO_MANY, UNAUTHORIZED
from benchmarks.bans.virtual_time import SECOND

PERCENTILES: Final = (50, 95, 99)
#: Statuses by which a provider denies a request because of its limits, or of a ban.
DENIED: Final = frozenset({FORBIDDEN, TOO_MANY})
#: The parts of a time line.
BINS: Final = 120


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A run in `BINS` equal parts of its length: calls answered and requests denied in each, and the bans in seconds."""

    answered: list[int]
    denied: list[int]
    bans: list[tuple[float, float]]


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the calls of one run, and what the provider saw.

    `in_time` and `in_twice` are the calls answered within the span of the calls and within twice that. `requests` is what
    arrived, `denied` what was answered 403 or 429, `unauthorized` what was answered 401, `served` what was answered 200 within
    the span, and `wasted` all requests but those that answered a call. `banned` is in seconds, and so is `longest_pause`, the
    time between two requests. `delays` are percentiles of the seconds from the time of a call to the end of its answer; a call
    without an answer counts as one that is answered at the end of the run. `tokens` are those of the requests that were served.
    """

    scenario: str
    contender: str
    seed: int
    calls: int
    in_time: int
    in_twice: int
    requests: int
    served: int
    denied: int
    unauthorized: int
    wasted: int
    bans: int
    banned: float
    longest_pause: float
    delays: tuple[float, ...]
    tokens: int
    timeline: Timeline


def measures(run: Run) -> Measures:
    """The measures of a run."""
    span = run.scenario.span
    answered = [at for at in run.answered if at is not None]
    served = [arrival for arrival in run.log if arrival.status == OK and arrival.at <= span]
    delays = sorted(
        (2 * span if at is None else at) - call.at
        for call, at in zip(run.calls, run.answered, strict=True)
        if call.give_up_after is None
    )
    denied = [arrival.at for arrival in run.log if arrival.status in DENIED]
    arrivals = [arrival.at for arrival in run.log]
    return Measures(
        scenario=run.scenario.name,
        contender=run.contender,
        seed=run.seed,
        calls=len(run.calls),
        in_time=sum(at <= span for at in answered),
        in_twice=len(answered),
        requests=len(run.log),
        served=len(served),
        denied=len(denied),
        unauthorized=sum(arrival.status == UNAUTHORIZED for arrival in run.log),
        wasted=len(run.log) - len(answered),
        bans=len(run.bans),
        banned=sum(max(0, min(ban.until, 2 * span) - ban.since) for ban in run.bans) / SECOND,
        longest_pause=max((later - at for at, later in pairwise(arrivals)), default=0) / SECOND,
        delays=tuple(_percentile(delays, percent) / SECOND for percent in PERCENTILES),
        tokens=sum(run.calls[arrival.call].prompt + run.calls[arrival.call].max_tokens for arrival in served),
        timeline=Timeline(
            answered=_binned(answered, 2 * span),
            denied=_binned(denied, 2 * span),
            bans=[(ban.since / SECOND, min(ban.until, 2 * span) / SECOND) for ban in run.bans],
        ),
    )


def _binned(instants: Sequence[int], length: int) -> list[int]:
    bins = [0] * BINS
    for at in instants:
        bins[min(BINS - 1, at * BINS // length)] += 1
    return bins


def _percentile(ordered: Sequence[int], percent: int) -> int:
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
