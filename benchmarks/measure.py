"""Timing of one repetition, the same for all contenders.

A contender hands over work that does a number of pairs in one plain loop and answers how many were granted. It is warmed first;
then the whole loop is timed by the wall clock, with the garbage collector on, and the number of grants is checked.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Final

from benchmarks.contract import PAIR_US, BenchmarkError

#: Limits so wide that no benchmark of the hot path ever meets them: per second, at once, and per minute over all scopes.
RATE: Final = 1_000_000
BURST: Final = 100_000_000
CAP: Final = 1_000_000_000

_WARM_UP: Final = 5_000


def check_count(granted: int, expected: int) -> None:
    """Raises `BenchmarkError` unless every permit was granted: a denial is cheaper, and would flatter its contender."""
    if granted != expected:
        raise BenchmarkError(f"{granted} permits were granted where it should have been {expected}; this is no measurement")


def time_pairs(work: Callable[[int], int], pairs: int) -> Mapping[str, float]:
    """Microseconds for one pair, the cost of the loop itself included."""
    check_count(work(_WARM_UP), _WARM_UP)
    start = perf_counter_ns()
    granted = work(pairs)
    elapsed = perf_counter_ns() - start
    check_count(granted, pairs)
    return {PAIR_US: elapsed / pairs / 1_000}


async def time_pairs_on_loop(work: Callable[[int], Awaitable[int]], pairs: int) -> Mapping[str, float]:
    """The same for work that belongs on an event loop; the loop runs already."""
    check_count(await work(_WARM_UP), _WARM_UP)
    start = perf_counter_ns()
    granted = await work(pairs)
    elapsed = perf_counter_ns() - start
    check_count(granted, pairs)
    return {PAIR_US: elapsed / pairs / 1_000}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (above 0, at most 1) of all values do not exceed.

    Raises `BenchmarkError` if there are no values.
    """
    if not values:
        raise BenchmarkError("nothing was timed; this is no measurement")
    return sorted(values)[math.ceil(share * len(values)) - 1]
