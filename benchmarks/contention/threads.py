"""Throughput of threads: 1 to 16 of them, first all in one scope, then each in a scope of its own."""

from collections.abc import Mapping
from typing import Final

from benchmarks.contention.crowd import SHARED, threads
from benchmarks.contention.exactness import OVER, over_admitted_to_threads
from benchmarks.contention.subject import Subject
from benchmarks.contention.throughput import WIDE, ask_and_ask, per_second, span_of

COUNTS: Final = (1, 2, 4, 8, 16)
#: With how many threads it is looked at whether the limit is kept.
CROWDED: Final = 8


def together(count: int) -> str:
    """The metric: pairs per second of so many threads in one scope."""
    return f"together_{count}"


def apart(count: int) -> str:
    """The metric: pairs per second of so many threads, each in a scope of its own."""
    return f"apart_{count}"


def one_scope_and_many(subject: Subject, size: int) -> Mapping[str, float]:
    """`size` milliseconds for each number of threads."""
    figures: dict[str, float] = {}
    for count in COUNTS:
        figures[together(count)] = _throughput(subject, [SHARED] * count, size)
        figures[apart(count)] = _throughput(subject, _scopes(count), size)
    figures[OVER] = max(over_admitted_to_threads(subject, scopes) for scopes in ([SHARED] * CROWDED, _scopes(CROWDED)))
    return figures


def _throughput(subject: Subject, scopes: list[str], size: int) -> float:
    with subject.open(WIDE) as doors:
        return per_second(threads([doors.ask(scope) for scope in scopes], span_of(size), ask_and_ask))


def _scopes(count: int) -> list[str]:
    return [f"scope{number}" for number in range(count)]
