"""Pairs per second of all callers together, under limits that are never reached.

Each thread or task asks again and again until the end, at least once however busy the machine is, and looks at the clock every
few asks. A task yields to its loop after each ask, as one would that makes a call.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic_ns
from typing import Final, NamedTuple

from benchmarks.contention.crowd import Behaviour, Span, Times
from benchmarks.contention.subject import Ask, AskOnLoop, Limit
from benchmarks.measure import BURST, RATE, check_count

WIDE: Final = Limit(RATE, BURST)

#: Asks of a thread between two looks at the clock.
_BATCH: Final = 10
_SECOND_NS: Final = 1_000_000_000


class Tally(NamedTuple):
    """What one of the crowd did between two instants."""

    asked: int
    granted: int
    begin: int
    end: int


def span_of(milliseconds: int) -> Span:
    """So long, after a warm-up of half as much, in which a lease for instance can grow."""
    return Span(milliseconds // 2, milliseconds)


def ask_and_ask(ask: Ask, times: Times) -> Tally:
    """What a thread does."""
    while monotonic_ns() < times.begin:
        for _ in range(_BATCH):
            ask()
    asked = granted = 0
    while not asked or monotonic_ns() < times.end:
        for _ in range(_BATCH):
            if ask():
                granted += 1
        asked += _BATCH
    return Tally(asked, granted, times.begin, monotonic_ns())


async def ask_and_yield(ask: AskOnLoop, times: Times) -> Tally:
    """What a task does."""
    while monotonic_ns() < times.begin:
        await ask()
        await asyncio.sleep(0)
    asked = granted = 0
    while not asked or monotonic_ns() < times.end:
        if await ask():
            granted += 1
        asked += 1
        await asyncio.sleep(0)
    return Tally(asked, granted, times.begin, monotonic_ns())


ASKING: Final = Behaviour(ask_and_ask, ask_and_yield)


def per_second(tallies: Sequence[Tally]) -> float:
    """From the common beginning until the last has come to an end. Raises `BenchmarkError` if anything was denied."""
    asked = sum(tally.asked for tally in tallies)
    check_count(sum(tally.granted for tally in tallies), asked)
    return asked * _SECOND_NS / (max(tally.end for tally in tallies) - tallies[0].begin)
