"""Latency of one call without a shortage: 8 threads in one scope, together at half of their throughput.

How much that is, the same process measures first. Each thread then asks in bursts, a millisecond apart and in turns with the
others, and times every ask. The same again at a load that is alike for all.
"""

from collections.abc import Mapping
from itertools import count
from time import monotonic_ns, perf_counter_ns, sleep
from typing import Final

from benchmarks.contention.crowd import SHARED, Times, threads
from benchmarks.contention.subject import Ask, Subject
from benchmarks.contention.throughput import WIDE, ask_and_ask, per_second, span_of
from benchmarks.measure import check_count, percentile

#: The metrics, at half load and at the common one: pairs per second, and microseconds for one.
HALF: Final = "half"
COMMON: Final = "common"
LOAD: Final = "per_second"
P50, P99, P999 = "p50_us", "p99_us", "p999_us"

_THREADS: Final = 8
#: Pairs per second of all together, which every contender can bear.
_COMMON_LOAD: Final = 10_000
_TICK_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000


def half_load(subject: Subject, size: int) -> Mapping[str, float]:
    """`size` milliseconds at full load, and as many at each of the two others."""
    with subject.open(WIDE) as doors:
        asks = [doors.ask(SHARED)] * _THREADS
        full = per_second(threads(asks, span_of(size), ask_and_ask))
        return {**_paced(asks, size, HALF, full / 2), **_paced(asks, size, COMMON, _COMMON_LOAD)}


def _paced(asks: list[Ask], size: int, name: str, load: float) -> Mapping[str, float]:
    burst = max(1, round(load / _THREADS * _TICK_NS / _SECOND_NS))
    tick = round(burst * _THREADS * _SECOND_NS / load)
    places = count()

    def live(ask: Ask, times: Times) -> list[int]:
        return _bursts(ask, times, burst=burst, tick=tick, lag=next(places) * tick // _THREADS)

    taken = [one / 1_000 for of_thread in threads(asks, span_of(size), live) for one in of_thread]
    return {
        f"{name}_{LOAD}": len(taken) * 1_000 / size,
        f"{name}_{P50}": percentile(taken, 0.5),
        f"{name}_{P99}": percentile(taken, 0.99),
        f"{name}_{P999}": percentile(taken, 0.999),
    }


def _bursts(ask: Ask, times: Times, *, burst: int, tick: int, lag: int) -> list[int]:
    """Nanoseconds of each ask, of one burst at least.

    A thread that is late catches up at once, so that the load is what it should be.
    """
    taken: list[int] = []
    granted = asked = 0
    due = monotonic_ns() + lag
    while not taken or (due < times.end and monotonic_ns() < times.end):
        if (now := monotonic_ns()) < due:
            sleep((due - now) / _SECOND_NS)
        counts = due >= times.begin
        for _ in range(burst):
            start = perf_counter_ns()
            granted += ask()
            if counts:
                taken.append(perf_counter_ns() - start)
        asked += burst
        due += tick
    check_count(granted, asked)
    return taken
