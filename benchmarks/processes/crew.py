"""Processes, each with several threads, that ask at the same time.

`python -m benchmarks.processes.crew SUBJECT ADDRESS LIMIT SCOPE THREADS` is one of them. It says `ready` once it is connected
and has asked once, reads the instants of beginning and end, and prints what its threads counted. All processes of a machine
read the same monotonic clock.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from time import monotonic_ns
from typing import IO, Final, TypeVar, cast

import msgspec

from benchmarks.contention.crowd import SHARED, Span, Times
from benchmarks.contention.subject import Limit
from benchmarks.contention.throughput import Tally, ask_and_ask
from benchmarks.contract import BenchmarkError
from benchmarks.processes.subject import SharedSubject

T = TypeVar("T")

PROCESSES: Final = 4
THREADS: Final = 2

_MILLISECOND_NS: Final = 1_000_000
#: Milliseconds for the instants to reach every process before the warm-up begins.
_NOTICE: Final = 50


def ask_together(subject: SharedSubject, address: str, limit: Limit, span: Span, threads: int = THREADS) -> Sequence[Tally]:
    """What each thread of each process counted, process by process. All ask in one scope."""
    settings = msgspec.json.encode(limit).decode()
    command = [sys.executable, "-m", "benchmarks.processes.crew", subject.path, address, settings, SHARED, str(threads)]
    return [tally for tallies in together(command, span, list[Tally]) for tally in tallies]


def together(command: Sequence[str], span: Span, counted: type[T]) -> Sequence[T]:
    """What each of several processes has counted, all of which run this command and begin at the same instant."""
    with ExitStack() as stack:
        crew = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(PROCESSES)
        ]
        for process in crew:
            stack.callback(process.kill)
        for process in crew:
            _read(process, "ready")
        begin = monotonic_ns() + (_NOTICE + span.warm_up) * _MILLISECOND_NS
        for process in crew:
            print(begin, begin + span.timed * _MILLISECOND_NS, file=process.stdin, flush=True)
        answers = [msgspec.json.decode(_read(process), type=counted) for process in crew]
        for process in crew:
            process.wait()
        return answers


def _read(process: "subprocess.Popen[str]", expected: str | None = None) -> str:
    said = cast("IO[str]", process.stdout).readline().strip()
    if not said or expected not in (None, said):
        raise BenchmarkError(f"a process ended, or said {said!r}")
    return said


def main(subject: str, address: str, limit: str, scope: str, threads: str) -> None:
    """One process of the crew."""
    module, name = subject.split(":")
    shared = cast("SharedSubject", getattr(import_module(f"benchmarks.{module}"), name))
    with shared.connect(address, msgspec.json.decode(limit, type=Limit)) as ask_in, ThreadPoolExecutor(int(threads)) as pool:
        ask = ask_in(scope)
        if not ask():
            raise BenchmarkError("the first permit was denied")
        print("ready", flush=True)
        begin, end = map(int, sys.stdin.readline().split())
        tallies = list(pool.map(lambda _: ask_and_ask(ask, Times(begin, end)), range(int(threads))))
    print(msgspec.json.encode(tallies).decode(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
