"""A daemon under floods of connections of those that do not speak its protocol, or not as they should.

    python -m tests.stress.floods --connects 10000

While they come in waves, as many at a time as the system allows, a process that behaves asks for permits. Ends with an error if
that is not answered, if the daemon keeps anything of the others, or if its memory grows beyond a bound.
"""

import argparse
import resource
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Final

from governor.messages import Acquire
from governor.protocol import (
    FROM_OWNER,
    MAX_FRAME,
    VERSION,
    Ask,
    FrameReader,
    Granted,
    Hello,
    LeaseReport,
    Told,
    Unused,
    encode,
)
from tests.integration.machine.machine import Machine
from tests.support.waits import PATIENCE, until

POLICY: Final = """
[global]
requests_per_minute = "off"
[outbound.weather]
limits = ["3 in flight"]
linger = "off"
"""


def _asks(count: int) -> bytes:
    return b"".join(encode(Ask(number, "weather:get", Acquire(timeout=0.0))) for number in range(1, count + 1))


HELLO: Final = encode(Hello(VERSION, 1, "flood"))
ASK: Final = _asks(1)
#: What they say: whether the daemon must end the connection by itself, at once or when the time for the hello is over.
KINDS: Final = {
    "silent": b"",
    "half a hello": HELLO[:-2],
    "half a length": HELLO[:2],
    "a wrong version": encode(Hello(VERSION + 1, 1)),
    "no hello": ASK,
    "too long a frame": HELLO + (MAX_FRAME + 1).to_bytes(4, "big"),
    "no message": HELLO + (8).to_bytes(4, "big") + b"\xc1" * 8,
    "half a frame": HELLO + MAX_FRAME.to_bytes(4, "big") + b"\x00" * 1000,
    "asks and never reads": HELLO
    + b"".join(encode(Ask(number, "weather:get", Acquire(timeout=0.0))) for number in range(1, 200)),
    "says hello, and nothing more": HELLO,
}
#: Those that are rejected with a reason.
REJECTED: Final = ("a wrong version", "no hello", "too long a frame", "no message")
#: Mebibytes that the daemon may have in memory, whatever comes.
MAX_MEMORY: Final = 300


class Good(Thread):
    """A process that behaves: it asks, and gives back what it gets."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self.stopping = Event()
        self.answered = 0

    def run(self) -> None:
        with _connected(self._path) as raw:
            raw.sendall(encode(Hello(VERSION, 2, "good")))
            reader, number = FrameReader(FROM_OWNER), 1
            raw.sendall(encode(Ask(number, "traffic:get", Acquire(timeout=0.0))))
            while not self.stopping.is_set() and (data := raw.recv(65_536)):
                for message in reader.feed(data):
                    if getattr(message, "number", None) != number:
                        continue
                    if isinstance(message, Granted):
                        raw.sendall(encode(Told("traffic:get", Unused(message.grant), number)))
                    self.answered += 1
                    number += 1
                    raw.sendall(encode(Ask(number, "traffic:get", Acquire(timeout=0.0))))


def run(folder: Path, connects: int, seed: int, *, say: Callable[[str], object] = str) -> None:
    """Lets so many connections come. Raises `AssertionError`."""
    random, at_once = Random(seed), min(connects, _descriptors() - 100)
    machine = Machine(folder, POLICY)
    try:
        daemon = machine.daemon()
        before, good = _memory(daemon.pid), Good(machine.socket)
        good.start()
        until(lambda: good.answered > 0)
        worst, made, seen = before, 0, Counter[str]()
        while made < connects:
            with ExitStack() as stack:
                wave = min(at_once, connects - made)
                answered = good.answered
                for _ in range(wave):
                    kind = random.choice(tuple(KINDS))
                    seen[kind] += 1
                    raw = stack.enter_context(_connected(machine.socket))
                    with suppress(BrokenPipeError, ConnectionResetError):
                        raw.sendall(KINDS[kind])
                    if kind in REJECTED:
                        assert b"rejected" in _all_of(raw), kind
                        raw.close()
                made += wave
                until(lambda answered=answered: good.answered >= answered + 20)  # type: ignore[misc] # a default
                worst = max(worst, _memory(daemon.pid))
                say(f"{made} connections, {good.answered} answers for one that behaves, {worst} MiB")
        # They are gone, or said nothing for too long: only the one that behaves is left, and all places are free.
        answered = good.answered
        until(lambda: good.answered >= answered + 20)
        good.stopping.set()
        good.join(PATIENCE)
        assert not good.is_alive()
        _judge_rest(machine.socket)
        assert daemon.poll() is None
        assert worst <= MAX_MEMORY, f"{worst} MiB, and {before} MiB before"
        assert len(KINDS) == len(seen)
    finally:
        machine.close()


def _judge_rest(path: Path) -> None:
    """All places come back: another process gets every one of them, although it sends its bytes one by one."""

    def gets_all() -> bool:
        with _connected(path) as raw:
            for byte in HELLO + _asks(3) + encode(LeaseReport(4, ())):
                raw.send(bytes((byte,)))
            granted = 0
            for message in _messages(raw):
                granted += isinstance(message, Granted)
                if getattr(message, "number", 0) == 4:
                    break
            return granted == 3

    until(gets_all)


def _messages(raw: socket.socket) -> Iterator[object]:
    reader = FrameReader(FROM_OWNER)
    while data := raw.recv(65_536):
        yield from reader.feed(data)


def _connected(path: Path) -> socket.socket:
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(PATIENCE)
    raw.connect(str(path))
    return raw


def _all_of(raw: socket.socket) -> bytes:
    """What the daemon says until it ends the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while data := raw.recv(65_536):
            found += data
    return found


def _memory(pid: int) -> int:
    """Mebibytes of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def _descriptors() -> int:
    """Descriptors that a process may have, after it has asked for as many as it may: the daemon inherits that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(most, 65_536) if most != resource.RLIM_INFINITY else 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return most


def main() -> None:
    """Runs it by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connects", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.connects, options.seed, say=lambda line: sys.stdout.write(line + "\n"))


if __name__ == "__main__":
    main()
