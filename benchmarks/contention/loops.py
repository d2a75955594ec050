"""Throughput of tasks: 100 on one loop, on two loops, and on one loop beside threads."""

from collections.abc import Mapping
from typing import Final

from benchmarks.contention.crowd import TASKS, one_loop, tasks_and_threads, two_loops
from benchmarks.contention.exactness import OVER, over_admitted
from benchmarks.contention.subject import Law, Subject, for_everybody, lock_based
from benchmarks.contention.throughput import ASKING, WIDE, per_second, span_of

#: The metrics: pairs per second.
ONE_LOOP: Final = "one_loop"
TWO_LOOPS: Final = "two_loops"
MIXED_TASKS: Final = "mixed_tasks"
MIXED_THREADS: Final = "mixed_threads"


def everywhere(subject: Subject, size: int) -> Mapping[str, float]:
    """`size` milliseconds in each place."""
    return {
        **_rates(subject, size),
        OVER: max(over_admitted(subject, crowd) for crowd in (one_loop, two_loops, tasks_and_threads)),
    }


def on_one_loop(subject: Subject, size: int) -> Mapping[str, float]:
    """For those who belong to one loop."""
    return {
        ONE_LOOP: per_second(one_loop(subject, WIDE, span_of(size), ASKING)),
        OVER: over_admitted(subject, one_loop),
    }


def without_a_limiter(size: int) -> Mapping[str, float]:
    """The same crowds without a limiter."""
    return _rates(lock_based(lambda _: for_everybody(lambda _: lambda: True), law=Law.BUCKET), size)


def _rates(subject: Subject, size: int) -> Mapping[str, float]:
    mixed = tasks_and_threads(subject, WIDE, span_of(size), ASKING)
    return {
        ONE_LOOP: per_second(one_loop(subject, WIDE, span_of(size), ASKING)),
        TWO_LOOPS: per_second(two_loops(subject, WIDE, span_of(size), ASKING)),
        MIXED_TASKS: per_second(mixed[:TASKS]),
        MIXED_THREADS: per_second(mixed[TASKS:]),
    }
