"""Unix sockets of a machine in virtual time: what is sent arrives after a while, in pieces, or not at all."""

import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import geteuid
from types import SimpleNamespace, TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

from governor._owner import listener
from tests.simulation.machine.world import Process, World

#: Bytes in one direction that the other side has not read.
CAPACITY: Final = 100_000
#: Nanoseconds that a piece is under way, as a rule.
_DELAYS: Final = (0, 10_000, 50_000, 200_000)


class Pipe:
    """One direction of a connection."""

    def __init__(self, world: World, writer: Process, reader: Process) -> None:
        self.world = world
        self._ends = writer, reader
        self.arrived = bytearray()
        self.under_way = 0
        #: The writer has closed it, and all has arrived.
        self.ended = False
        #: The reader is gone.
        self.broken = False
        #: Nothing arrives before this instant.
        self.held_until = 0
        self._last = 0
        self._pieces: deque[bytes] = deque()

    @property
    def room(self) -> int:
        return max(0, CAPACITY - len(self.arrived) - self.under_way)

    def send(self, data: bytes) -> None:
        self.under_way += len(data)
        self._pieces.append(data)
        self._at(self._arrive)

    def end(self) -> None:
        """The end of what is written."""
        self._at(self._end)

    def _end(self) -> None:
        self.ended = True
        self.touch()

    def cut(self) -> None:
        """What is under way is lost."""
        self._pieces.clear()
        self.under_way = 0
        self.ended = self.broken = True
        self.touch()

    def touch(self) -> None:
        """Something may be read, or written."""
        for process in self._ends:
            process.touch()

    def _at(self, action: Any) -> None:
        # In order: no piece overtakes another one.
        world = self.world
        self._last = max(self._last, self.held_until, world.now + world.random.choice(_DELAYS))
        world.at(self._last, action)

    def _arrive(self) -> None:
        if self._pieces:
            piece = self._pieces.popleft()
            self.under_way -= len(piece)
            self.arrived += piece
            self.touch()


class Network:
    """The sockets that listen, by path."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listening: dict[str, FakeSocket] = {}
        #: In place of the module `socket`.
        self.module = SimpleNamespace(
            **{name: getattr(socket, name) for name in ("AF_UNIX", "SOCK_STREAM", "SOL_SOCKET", "SO_PEERCRED", "SHUT_RDWR")},
            socket=type("socket", (FakeSocket,), {"__init__": lambda made, *_: FakeSocket.__init__(made, self, world.current)}),
        )

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within the block, the code of processes finds these sockets."""
        with ExitStack() as stack:
            for name, module in tuple(sys.modules.items()):
                if name.startswith(("governor._member", "governor._owner")) and getattr(module, "socket", None) is socket:
                    stack.enter_context(patch.object(module, "socket", self.module))
            stack.enter_context(patch.object(listener, "has_ended", self.has_ended))
            yield

    def number_of(self, peer: "FakeSocket | None") -> int:
        """The number of the process at the other end of a connection."""
        return 0 if peer is None else 1 + self.world.processes.index(peer.process)

    def has_ended(self, process: int) -> bool:
        """What the system says of a process."""
        return process > 0 and self.world.processes[process - 1].dead

    def listen(self, path: str) -> "FakeSocket":
        """A socket of the running process that listens."""
        made: FakeSocket = self.module.socket()
        made.name = path
        self.listening[path] = made
        return made


class FakeSocket:
    """A socket of one process."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self.process = process
        self.fd = next(network.world.numbers)
        self.name = ""
        self.closed = False
        self.incoming: Pipe | None = None
        self.outgoing: Pipe | None = None
        self.peer: FakeSocket | None = None
        self.backlog: deque[FakeSocket] = deque()
        self.process.sockets[self.fd] = self

    # As processes use it.

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def getsockname(self) -> str:
        return self.name

    def getsockopt(self, *_: int) -> bytes:
        return struct.pack("=3i", self._network.number_of(self.peer), geteuid(), 0)

    def connect(self, path: str) -> None:
        self._network.world.syscall()
        listener = self._network.listening.get(path)
        if listener is None or listener.closed:
            raise ConnectionRefusedError(111, "Connection refused")
        other = FakeSocket(self._network, listener.process)
        self.incoming = other.outgoing = Pipe(self._network.world, listener.process, self.process)
        self.outgoing = other.incoming = Pipe(self._network.world, self.process, listener.process)
        self.peer, other.peer = other, self
        listener.backlog.append(other)
        listener.process.touch()

    def accept(self) -> "tuple[FakeSocket, str]":
        if not self.backlog:
            raise BlockingIOError
        return self.backlog.popleft(), ""

    def send(self, data: bytes) -> int:
        self._network.world.syscall()
        pipe = self.outgoing
        if self.closed or pipe is None or pipe.broken:
            raise BrokenPipeError(32, "Broken pipe")
        random = self._network.world.random
        size = min(len(data), pipe.room)
        if size > 1 and random.random() < 0.1:
            size = random.randrange(1, size)
        if not size:
            raise BlockingIOError
        pipe.send(bytes(data[:size]))
        return size

    def recv(self, most: int) -> bytes:
        self._network.world.syscall()
        if self.closed:
            raise OSError(9, "Bad file descriptor")
        pipe = self.incoming
        if pipe is None or (not pipe.arrived and pipe.ended):
            return b""
        if not pipe.arrived:
            raise BlockingIOError
        random = self._network.world.random
        size = min(most, len(pipe.arrived))
        if size > 1 and random.random() < 0.1:
            size = random.randrange(1, size)
        data = bytes(pipe.arrived[:size])
        del pipe.arrived[:size]
        pipe.touch()
        return data

    def shutdown(self, _: int) -> None:
        if self.outgoing is not None:
            self.outgoing.end()
        if self.incoming is not None:
            self.incoming.ended = self.incoming.broken = True
            self.incoming.touch()

    def close(self) -> None:
        if not self.closed and not self.process.dead:
            self.close_by_system()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # As the system uses it.

    def close_by_system(self) -> None:
        self.closed = True
        self.process.sockets.pop(self.fd, None)
        if self.outgoing is not None:
            self.outgoing.end()
        if self.incoming is not None:
            self.incoming.broken = True
            self.incoming.touch()
        for one in self.backlog:
            one.close_by_system()
        self.backlog.clear()

    def cut(self) -> None:
        """The connection breaks, with all that is under way."""
        for pipe in (self.incoming, self.outgoing):
            if pipe is not None:
                pipe.cut()

    def hold(self, duration: int, *, incoming: bool, outgoing: bool) -> None:
        """What is sent arrives only after a while."""
        for pipe, is_held in ((self.incoming, incoming), (self.outgoing, outgoing)):
            if is_held and pipe is not None:
                pipe.held_until = max(pipe.held_until, self._network.world.now + duration)

    def readable(self) -> bool:
        return bool(self.backlog) or (self.incoming is not None and (bool(self.incoming.arrived) or self.incoming.ended))

    def writable(self) -> bool:
        return self.outgoing is None or self.outgoing.broken or self.outgoing.room > 0
