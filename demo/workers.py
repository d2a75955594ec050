"""The workload in several processes, as several workers of one service have it."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from demo.launch import ProviderFailed
from demo.traffic import Call
from demo.workload import Driven

#: Processes.
WORKERS: Final = 2


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker does: its calls, against the provider at `base_url`, under these settings."""

    base_url: str
    settings: dict[str, Any]
    calls: Sequence[Call]
    duration: float


class Ended(msgspec.Struct, frozen=True):
    """How the calls of one worker ended."""

    workload: dict[str, int]
    loop: dict[str, int]


def drive_workers(base_url: str, settings: dict[str, Any], calls: Sequence[Call], duration: float) -> Driven:
    """Shares the calls out among the workers, and returns what they report together. Raises `ProviderFailed` without it."""
    command = [sys.executable, "-m", "demo.worker"]
    with ExitStack() as stack:
        workers = []
        for _ in range(WORKERS):
            workers.append(stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)))
            stack.callback(workers[-1].kill)
        for worker in workers:
            _read(worker)
        for number, worker in enumerate(workers):
            share = Task(base_url=base_url, settings=settings, calls=calls[number::WORKERS], duration=duration)
            assert worker.stdin is not None
            worker.stdin.write(msgspec.json.encode(share) + b"\n")
            worker.stdin.close()
        return _together([msgspec.json.decode(_read(worker), type=Ended) for worker in workers])


def _read(worker: "subprocess.Popen[bytes]") -> bytes:
    said = b"" if worker.stdout is None else worker.stdout.readline()
    if not said:
        raise ProviderFailed("a worker ended without its figures; what it said stands above")
    return said


def _together(ended: Sequence[Ended]) -> Driven:
    return Driven(
        workload=sum((Counter(one.workload) for one in ended), Counter()),
        loop=sum((Counter(one.loop) for one in ended), Counter()),
    )
