"""Pairs per second of four processes with two threads each, in one scope whose limit is never reached."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.contention.throughput import WIDE, per_second, span_of
from benchmarks.processes.crew import ask_together
from benchmarks.processes.subject import SharedSubject

#: The metric.
PER_SECOND: Final = "per_second"


def shared_by_processes(subject: SharedSubject, size: int) -> Mapping[str, float]:
    """`size` milliseconds."""
    with TemporaryDirectory() as folder, subject.serve(Path(folder), WIDE) as address:
        return {PER_SECOND: per_second(ask_together(subject, address, WIDE, span_of(size)))}
