"""Permits per second of four processes in a scope of which nothing is granted ahead: each takes a message, and its outcome too.

In one scope a strict window is never reached; in another one, which allows few calls in flight, nearly all calls wait.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.contention.throughput import WIDE, Tally, per_second, span_of
from benchmarks.processes.crew import ask_together
from benchmarks.processes.subject import SharedSubject
from benchmarks.processes.throughput import PER_SECOND

#: The metrics: what the process that got least, or most, got, in fair shares.
LEAST_SHARE: Final = "least_share"
LARGEST_SHARE: Final = "largest_share"

#: Threads of each process.
THREADS: Final = 8


def message_by_message(subject: SharedSubject, size: int) -> Mapping[str, float]:
    """`size` milliseconds."""
    with TemporaryDirectory() as folder, subject.serve(Path(folder), WIDE) as address:
        tallies = ask_together(subject, address, WIDE, span_of(size), THREADS)
    return {PER_SECOND: per_second(tallies), **shares(tallies, THREADS)}


def shares(tallies: Sequence[Tally], threads: int) -> Mapping[str, float]:
    """The share of each process, whose threads stand together."""
    rates = [tally.granted / (tally.end - tally.begin) for tally in tallies]
    each = [sum(rates[start : start + threads]) for start in range(0, len(rates), threads)]
    mean = sum(each) / len(each)
    return {LEAST_SHARE: min(each) / mean, LARGEST_SHARE: max(each) / mean}
