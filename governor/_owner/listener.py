"""Listener on a unix socket: accepts the connections of processes, reads what they say, and writes what sessions say.

All frames that one read brings are handled together, and what they cause, in whichever session, is written together
afterwards.

Bounds: `MAX_MEMBERS` connections; a frame of `MAX_FRAME` bytes; `MAX_BACKLOG` bytes that a process has not read, beyond which
its connection is closed; `_HELLO_TIMEOUT` seconds until the first message of a connection.
"""

import logging
import math
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, final

import anyio
from anyio.abc import TaskGroup

from governor._actors.readable import keep_reading
from governor._forks import closed_in_children
from governor._owner.members import MAX_MEMBERS, Members
from governor._owner.peers import has_ended, is_ours, process_of, user_of
from governor._owner.session import Session
from governor._owner.socket_file import ListenError, SocketFile
from governor.error_log import ErrorLog
from governor.errors import GovernorError
from governor.protocol import FROM_MEMBER, FrameError, FrameReader, FromOwner, Leased, Recall, Rejected, encode

_log: Final = logging.getLogger("governor")

#: Bytes that are written for a process and that it has not read.
MAX_BACKLOG: Final = 2_097_152
_READ: Final = 65_536
_HELLO_TIMEOUT: Final = 5.0
#: Seconds for the last messages when the listener ends.
_FLUSH_TIMEOUT: Final = 0.5
#: Seconds between looks at a process that has lost its connection: its sockets are closed shortly before it has ended.
_ENDING: Final = (0.002, 0.02)
#: Seconds between two looks at whether the socket file is still there.
_LOOK_INTERVAL: Final = 1.0
#: Seconds to wait when the process has no file descriptor left.
_ACCEPT_PAUSE: Final = 0.1


@final
class Listener:
    """The connections on one socket. `post` runs a callback on the loop soon.

    As a context manager it writes at the end of the block what is said within.
    """

    def __init__(self, members: Members, post: Callable[[Callable[[], object]], object]) -> None:
        self.members = members
        self._post = post
        self.connections: dict[Session, Connection] = {}
        self._error_log = ErrorLog()
        #: Connections with something to write, while frames are handled or a flush has been posted.
        self._dirty: OrderedDict[Connection, None] = OrderedDict()
        self._collecting = False

    async def accept_at(self, file: SocketFile, tasks: TaskGroup) -> None:
        """Accepts connections at a path, for ever: a daemon beside this one would grant everything a second time."""
        while True:
            async with anyio.create_task_group() as accepting:
                accepting.start_soon(self.accept, file.bound.listener, tasks)
                while not file.bound.is_lost():  # noqa: ASYNC110 - no event tells of it
                    await anyio.sleep(_LOOK_INTERVAL)
                accepting.cancel_scope.cancel()
            _log.warning("The socket %s has been removed or replaced: the governor listens there anew.", file.path)
            await self._renew(file)

    async def _renew(self, file: SocketFile) -> None:
        try:
            file.renew()
            return
        except ListenError as error:
            _log.error("All processes are disconnected until the governor can listen again: %s.", error)
        for connection in tuple(self.connections.values()):
            connection.close()
        while True:
            await anyio.sleep(_LOOK_INTERVAL)
            with suppress(ListenError):
                file.renew()
                break
        self.members.wait_for_others()

    async def accept(self, listener: socket.socket, tasks: TaskGroup) -> None:
        """Accepts connections, for ever."""
        listener.setblocking(False)
        while True:
            await anyio.wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                self._error_log(f"A process cannot connect: {error.strerror or error}.")
                await anyio.sleep(_ACCEPT_PAUSE)
                continue
            accepted.setblocking(False)
            closed_in_children(accepted)
            reason = self._why_not(accepted)
            if reason is None:
                tasks.start_soon(self._serve, accepted, tasks)
            else:
                with accepted, suppress(OSError):
                    accepted.send(encode(Rejected(reason)))

    def _why_not(self, accepted: socket.socket) -> str | None:
        if not is_ours(user_of(accepted)):
            return "the governor serves processes of its own user only"
        if self.members.full:
            return f"{MAX_MEMBERS} processes are connected, and there is no room for more"
        return None

    async def _serve(self, accepted: socket.socket, tasks: TaskGroup) -> None:
        with accepted:
            connection = Connection(accepted, self, tasks)
            session = connection.session
            self.connections[session] = connection
            try:
                await connection.run()
            except OSError:
                pass  # It is gone.
            finally:
                connection.closed = True
                connection.drained.set()
                del self.connections[session]
                with self:
                    self.members.lost(session)
        for pause in _ENDING:
            if session.due:
                await anyio.sleep(pause)
                with self:
                    self.members.look_after(session)

    def __enter__(self) -> None:
        self._collecting = True

    def __exit__(self, *_: object) -> None:
        self._collecting = False
        self.flush()

    def wants_to_write(self, connection: "Connection", *, first: bool) -> None:
        """The connection has something to write. A recall goes `first`: before the answer to what has caused it."""
        if not self._dirty and not self._collecting:
            self._post(self.flush)
        self._dirty[connection] = None
        if first:
            self._dirty.move_to_end(connection, last=False)

    def flush(self) -> None:
        """Writes what there is to write, as far as it can be written at once."""
        while self._dirty:
            self._dirty.popitem(last=False)[0].flush()

    def room(self, session: Session) -> anyio.Event | None:
        """What to wait for before a long message is sent; None if there is room for it."""
        connection = self.connections.get(session)
        return None if connection is None or connection.drained.is_set() else connection.drained

    async def close(self) -> None:
        """Denies every ask that waits, and gives the processes a moment to read it."""
        with self:
            self.members.shut_down()
        with anyio.move_on_after(_FLUSH_TIMEOUT, shield=True):
            for connection in tuple(self.connections.values()):
                await connection.drained.wait()


@final
class Connection:
    """One connection and its session."""

    def __init__(self, accepted: socket.socket, listener: Listener, tasks: TaskGroup) -> None:
        self._socket = accepted
        self._listener = listener
        self._tasks = tasks
        self._out = bytearray()
        self._writing = False
        self.closed = False
        #: Set while nothing is left to write.
        self.drained = anyio.Event()
        self.drained.set()
        self._reader = FrameReader(FROM_MEMBER)
        self._hello = anyio.CancelScope()
        self._welcomed = False
        self.session = listener.members.open(self._send, partial(has_ended, process_of(accepted)))

    async def run(self) -> None:
        """Handles frames until the connection ends."""
        try:
            with anyio.move_on_after(_HELLO_TIMEOUT) as self._hello:
                await keep_reading(self._socket, self._read)
        except (FrameError, GovernorError) as mistake:
            await self._reject(str(mistake))
        except OSError:
            raise
        except Exception as error:
            _log.error("A message of process %d could not be handled.", self.session.pid, exc_info=error)
            await self._reject("the message could not be handled; see the log of the governor")
        if self._hello.cancelled_caught:
            await self._reject("the first message did not come in time")

    def _read(self) -> bool:
        """Handles what has arrived. False at the end. Raises what is wrong with it."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return True
        if not data or self.closed:
            return False
        session = self.session
        with self._listener:
            for message in self._reader.feed(data):
                session.handle(message)
            session.finish()
        if session.greeted and not self._welcomed:
            self._welcomed = True
            self._hello.deadline = math.inf
        return True

    async def _reject(self, reason: str) -> None:
        self._send(Rejected(reason))
        self.flush()
        with anyio.move_on_after(_FLUSH_TIMEOUT, shield=True):
            await self.drained.wait()

    def _send(self, message: FromOwner) -> None:
        if self.closed:
            return
        self._out += encode(message)
        if isinstance(message, Leased):
            self._listener.members.wake()
        if len(self._out) > MAX_BACKLOG:
            self.close()
        else:
            self._listener.wants_to_write(self, first=isinstance(message, Recall))

    def flush(self) -> None:
        """Writes as much as fits, and leaves the rest to a task."""
        if self._writing or self.closed:
            return
        self._write()
        if self._out and not self.closed:
            self._writing = True
            self.drained = anyio.Event()
            self._tasks.start_soon(self._keep_writing)

    def _write(self) -> None:
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    async def _keep_writing(self) -> None:
        with suppress(OSError, anyio.ClosedResourceError):
            while self._out and not self.closed:
                await anyio.wait_writable(self._socket)
                self._write()
        self._writing = False
        self.drained.set()

    def close(self) -> None:
        """Ends the connection: its reader finds out."""
        self.closed = True
        self._out.clear()
        self.drained.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def listening(
    members: Members, place: socket.socket | SocketFile, post: Callable[[Callable[[], object]], object]
) -> AsyncIterator[None]:
    """Serves the processes that connect to a socket, within the block."""
    served = Listener(members, post)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(members.keep_looking, served.flush)
        tasks.start_soon(members.answer_queries, served.room)
        if isinstance(place, SocketFile):
            tasks.start_soon(served.accept_at, place, tasks)
        else:
            tasks.start_soon(served.accept, place, tasks)
        try:
            yield
        except Exception as error:
            failure = error  # As it is, not wrapped into a group.
        finally:
            await served.close()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
