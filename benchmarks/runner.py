"""The order of measurements: round-robin within each family, every repetition in a fresh process.

In each round every contender of a family runs once, one after the other, and the next round begins with the next contender.
What the machine does meanwhile hits all of them alike, and ratios are taken within a round.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.contract import BenchmarkError, Contender, Family, Sample

ROUNDS: Final = {
    Family.PAIRS: 9,
    Family.THREADS: 5,
    Family.LOOPS: 5,
    Family.LATENCY: 5,
    Family.WAITING: 7,
    Family.SCARCE: 5,
    Family.PROCESSES: 5,
    Family.ADMISSIONS: 5,
    Family.MESSAGES: 5,
    Family.ROUND_TRIPS: 5,
    Family.HOLDERS: 5,
    Family.MEMORY: 5,
    Family.IDLE: 5,
    Family.WATCHING: 5,
    Family.CALLS: 9,
    Family.ADAPTERS: 5,
    Family.POOL: 5,
    Family.SERVED: 5,
    Family.CLIENTS: 5,
    Family.STARTUP: 7,
    Family.RECOVERY: 5,
}
#: These take long, and are measured less often where they are only to be looked at.
_LONG: Final = (
    Family.THREADS,
    Family.LOOPS,
    Family.LATENCY,
    Family.SCARCE,
    Family.PROCESSES,
    Family.ADMISSIONS,
    Family.MESSAGES,
    Family.ROUND_TRIPS,
    Family.HOLDERS,
    Family.IDLE,
    Family.WATCHING,
    Family.SERVED,
    Family.CLIENTS,
)
QUICK_ROUNDS: Final = dict.fromkeys(Family, 5) | dict.fromkeys(_LONG, 2)

_ROOT: Final = Path(__file__).resolve().parents[1]
_TIMEOUT_SECONDS: Final = 300

Measure = Callable[[Contender, int], dict[str, float]]


def run(contenders: Sequence[Contender], *, quick: bool, measure: Measure) -> Iterator[Sample]:
    """All samples, as they come."""
    for family in Family:
        members = [contender for contender in contenders if contender.family is family]
        for number in range((QUICK_ROUNDS if quick else ROUNDS)[family]):
            for contender in _rotated(members, number):
                yield Sample(contender.name, number, measure(contender, contender.quick_size if quick else contender.size))


def measure_in_fresh_process(contender: Contender, size: int) -> dict[str, float]:
    """One repetition. Raises `BenchmarkError`, with what the process said, when it fails."""
    command = [sys.executable, "-m", "benchmarks.worker", contender.name, str(size)]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"{contender.name} failed:\n{error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{contender.name} took longer than {_TIMEOUT_SECONDS} s") from error
    return msgspec.json.decode(done.stdout, type=dict[str, float])


def _rotated(members: Sequence[Contender], number: int) -> Sequence[Contender]:
    first = number % len(members) if members else 0
    return [*members[first:], *members[:first]]
