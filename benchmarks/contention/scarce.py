"""Fairness and lateness under a shortage: 8 threads that all wait for more in a scope of 500 per second.

The bucket is full at first and never again: from then on it owes one permit every 2 ms. The n-th permit after the burst is due
n times as long after the first ask; a thread that gets it later is late.
"""

from collections.abc import Mapping, Sequence
from time import monotonic_ns
from typing import Final

from benchmarks.contention.crowd import SHARED, Span, Times, threads
from benchmarks.contention.exactness import OVER, judge, noted
from benchmarks.contention.subject import Ask, Limit, Subject
from benchmarks.laws import Admission
from benchmarks.measure import percentile

#: The metrics: what the thread that got least got, in fair shares; what all got, in parts of what is allowed; how late it was.
LEAST_SHARE: Final = "least_share"
OF_ALLOWED: Final = "of_allowed"
LATE_P50: Final = "p50_ms"
LATE_P99: Final = "p99_ms"

_SCARCE: Final = Limit(500, 50)
_THREADS: Final = 8
_SECOND_US: Final = 1_000_000


def fairness(subject: Subject, size: int) -> Mapping[str, float]:
    """`size` milliseconds of waiting."""
    with subject.open(_SCARCE) as doors:
        found = threads([doors.wait(SHARED)] * _THREADS, Span(0, size), _take_and_take)
    return {**shares(found, size), OVER: judge(subject, _SCARCE, [one for admissions in found for one in admissions])}


def shares(found: Sequence[Sequence[Admission]], size: int) -> Mapping[str, float]:
    """What each thread got within `size` milliseconds, or until the first had something, if that took longer; and how late."""
    everything = [one for admissions in found for one in admissions]
    first = min(one.before for one in everything)
    last = max(first + size * 1_000, min(one.after for one in everything))
    # A thread that still waits then gets one more.
    counts = [sum(one.after <= last for one in admissions) for admissions in found]
    late_ms = _late_ms(sorted(one.after for one in everything if one.after <= last), first)
    return {
        LEAST_SHARE: min(counts) * len(counts) / sum(counts),
        OF_ALLOWED: sum(counts) / (_SCARCE.burst + _SCARCE.per_second * size / 1_000),
        LATE_P50: percentile(late_ms, 0.5),
        LATE_P99: percentile(late_ms, 0.99),
    }


def _late_ms(granted: Sequence[int], first: int) -> Sequence[float]:
    interval = _SECOND_US // _SCARCE.per_second
    return [(at - first - max(0, place - _SCARCE.burst) * interval) / 1_000 for place, at in enumerate(granted, start=1)]


def _take_and_take(wait: Ask, times: Times) -> list[Admission]:
    admissions: list[Admission] = []
    while not admissions or monotonic_ns() < times.end:
        noted(wait, admissions)
    return admissions
