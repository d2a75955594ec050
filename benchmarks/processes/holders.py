"""The daemon with a thousand processes connected, each of which has held permits, and holds none any more.

The processes are connections of this one, which say what a process says. Counted are the memory of the daemon, and how often
one of its threads went to sleep in a second: each time, something had woken it. Linux only.
"""

import os
import resource
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.contract import BenchmarkError
from benchmarks.measure import BURST, CAP, RATE
from demo.daemon import daemon
from governor.messages import Acquire
from governor.protocol import FROM_OWNER, VERSION, Ask, FrameReader, FromMember, Granted, Hello, Recall, encode

#: The metrics.
RESIDENT_BYTES: Final = "resident_bytes"
SLEEPS: Final = "sleeps"
ALONE: Final = "sleeps_alone"

#: Seconds until everything is idle: leases of a second run out.
_SETTLING: Final = 2.5
#: Seconds over which sleeps are counted.
_COUNTED: Final = 2.0


def idle(size: int) -> Mapping[str, float]:
    """`size` connections, for two seconds."""
    settings = {"global": {"requests_per_minute": CAP}, "outbound": {"default": {"limits": [f"{RATE}/s burst {BURST}"]}}}
    with TemporaryDirectory() as folder, daemon(Path(folder), settings) as path, _files(size + 100):
        with _connected(path) as first:
            pid = struct.unpack("3i", first.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]
        time.sleep(_SETTLING)
        alone = _sleeps_per_second(pid)
        with ExitStack() as stack:
            for number in range(size):
                _hold(stack.enter_context(_connected(path)), number)
            time.sleep(_SETTLING)
            return {RESIDENT_BYTES: _resident(pid), ALONE: alone, SLEEPS: _sleeps_per_second(pid)}


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.fspath(path))
        connection.settimeout(10.0)
        yield connection


def _hold(connection: socket.socket, number: int) -> None:
    """Is granted permits in one of a hundred scopes, some of them ahead."""
    asks = [Ask(place, f"scope{number % 100}:get", Acquire()) for place in (1, 2)]
    messages: list[FromMember] = [Hello(VERSION, os.getpid(), "holder"), *asks]
    connection.sendall(b"".join(map(encode, messages)))
    reader, granted = FrameReader(FROM_OWNER), 0
    while granted < len(asks):
        for message in reader.feed(connection.recv(65_536)):
            granted += isinstance(message, Granted)
            if not isinstance(message, Granted | Recall) and granted > len(asks):
                raise BenchmarkError(f"the daemon says {message}")


@contextmanager
def _files(count: int) -> Iterator[None]:
    """Room for so many open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(before[0], count), before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _sleeps_per_second(pid: int) -> float:
    before = _sleeps(pid)
    time.sleep(_COUNTED)
    return (_sleeps(pid) - before) / _COUNTED


def _sleeps(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return sum(_field(task, "voluntary_ctxt_switches") for task in tasks)


def _resident(pid: int) -> int:
    return _field(Path(f"/proc/{pid}/status"), "VmRSS") * 1024


def _field(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
