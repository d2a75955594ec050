"""Link to the daemon: connects, says hello, serves the connection, and connects again when it has been lost.

While there is something to look after (leases, asks, failures that are not read), the daemon is asked for a sign of life
four times in the time to live of a lease. One that gives none for `DEAF_TIMEOUT` counts as away; leases end before, by their
time to live. Otherwise nothing is sent.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sized
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Final, Protocol, final

import anyio

from governor._member.connection import Connection, ConnectionLostError
from governor._member.session import Session, SessionRejected
from governor._member.spawn import START_TIMEOUT
from governor.clock import nanoseconds
from governor.error_log import ErrorLog
from governor.protocol import FrameError, FromMember, FromOwner, Hello, Welcome

_log: Final = logging.getLogger("governor")

#: Seconds between attempts to connect: at first, and at most. Each wait is drawn from half of it to all of it.
_FIRST_BACKOFF: Final = 0.01
_MAX_BACKOFF: Final = 0.5
#: Seconds in which a daemon must say welcome. Asks wait meanwhile, so that it is short at first, and longer each time.
_FIRST_WELCOME_TIMEOUT: Final = 0.05
_MAX_WELCOME_TIMEOUT: Final = 1.0
_NO_DAEMON: Final = (
    "There is no daemon at %s (%s): calls are decided without it, as on_daemon_loss of [machine] says; "
    "`governor serve --socket %s` starts one."
)
#: Seconds without an answer to what is answered at once. Longer than a busy machine takes.
DEAF_TIMEOUT: Final = 5.0


class Linked(Protocol):
    """What uses the link."""

    def greet(self, send: Callable[[FromMember], None]) -> tuple[Hello, Session]:
        """A connection begins: the hello, and the session, which begins with the welcome."""

    def welcome(self, welcome: Welcome) -> None:
        """The session has begun. Called within the turn."""

    @property
    def entries(self) -> Sized:
        """What threads have left."""

    def dispatch(self) -> bool:
        """Reads what is left. Called within the turn."""

    def look(self) -> float | None:
        """Looks after leases and asks. Seconds until the next look; None if there is nothing to look after."""

    def lose(self) -> None:
        """There is no daemon."""


@final
class Link:
    """The connection, again and again. Belongs to the thread of its event loop."""

    def __init__(
        self,
        socket: Path,
        linked: Linked,
        random: Random,
        *,
        turn: AbstractContextManager[object],
        missing: Callable[[], bool],
    ) -> None:
        self._socket = socket
        #: Held by the thread that works with the session.
        self._turn = turn
        self._linked = linked
        self._random = random
        #: Called when nothing listens at the socket. True if a daemon is being started, for which the first calls wait.
        self._missing = missing
        #: A daemon that another version has started may end every connection.
        self._errors = ErrorLog()
        #: For any thread.
        self.connection: Connection | None = None
        self._session: Session | None = None
        self._ttl = 0
        self._busy = anyio.Event()

    def flush(self) -> None:
        """Writes what there is to write."""
        if self.connection is not None:
            self.connection.flush()

    def break_off(self) -> None:
        """Ends the connection, from any thread, so that another one begins."""
        connection = self.connection
        if connection is not None:
            connection.break_off()

    def is_busy(self) -> None:
        """There is something to look after."""
        self._busy.set()

    async def run(self) -> None:
        """Stays connected, without end."""
        backoff, patience = _FIRST_BACKOFF, _MAX_WELCOME_TIMEOUT
        calls_wait_until = anyio.current_time() + START_TIMEOUT
        #: Whether this absence has been said in the log.
        said = False
        while True:
            try:
                connection = Connection(self._socket, self._turn)
            except OSError as error:
                if not self._missing() or anyio.current_time() >= calls_wait_until:
                    self._linked.lose()
                    if not said:
                        said = True
                        _log.warning(_NO_DAEMON, self._socket, error, self._socket)
            else:
                try:
                    if await self._serve(connection, patience):
                        said = False
                        backoff, patience = _FIRST_BACKOFF, _FIRST_WELCOME_TIMEOUT
                    else:
                        patience = min(2 * patience, _MAX_WELCOME_TIMEOUT)
                finally:
                    self.connection = self._session = None
                    connection.end()
                    self._linked.lose()
                    connection.close()
            await anyio.sleep(backoff * (0.5 + self._random.random() / 2))
            backoff = min(2 * backoff, _MAX_BACKOFF)

    async def _serve(self, connection: Connection, patience: float) -> bool:
        """Serves a connection until it ends. False if the daemon has not said welcome."""
        with self._turn:  # The hello is the first message: no thread may send an outcome before it.
            hello, session = self._linked.greet(connection.send)
            connection.send(hello)
            self.connection = connection
            connection.flush()
        waits = anyio.CancelScope()

        def handle(messages: Iterable[FromOwner]) -> None:
            with self._turn:
                for message in messages:
                    if self._session is None:
                        self._welcome(message, session)
                        waits.deadline = math.inf
                    else:
                        session.handle(message)
                if self._linked.entries:  # Left until these answers had been read.
                    self._linked.dispatch()
                connection.flush()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.keep_writing)
                tasks.start_soon(self._keep_looking, connection, session)
                with anyio.move_on_after(patience) as waits:
                    await connection.keep_reading(handle)
                tasks.cancel_scope.cancel()
        except* (OSError, FrameError, SessionRejected) as group:
            for error in group.exceptions:
                if not isinstance(error, ConnectionLostError):
                    self._errors.warn(f"The connection to the daemon at {self._socket} has ended", error)
        if self._session is None and patience >= _MAX_WELCOME_TIMEOUT:
            self._errors.warn(f"The daemon at {self._socket} does not say welcome: calls are decided without it")
        return self._session is not None

    def _welcome(self, message: FromOwner, session: Session) -> None:
        if not isinstance(message, Welcome):
            session.handle(message)  # Raises for one that rejects.
            raise SessionRejected(f"the daemon does not say welcome, but {message}")
        self._ttl = round(message.ttl * 1e9)
        self._linked.welcome(message)
        self._session = session

    async def _keep_looking(self, connection: Connection, session: Session) -> None:
        while True:
            await self._busy.wait()
            self._busy = anyio.Event()
            while (wait := self._linked.look()) is not None:
                now, since = nanoseconds(), session.unanswered_since
                if since is not None and now - since > DEAF_TIMEOUT * 1e9:
                    _log.warning("The daemon at %s does not answer.", self._socket)
                    connection.end()
                    return
                with self._turn:
                    if now - session.reported_at >= self._ttl // 4:
                        session.ping()
                    connection.flush()
                await anyio.sleep(wait)
            with self._turn:
                connection.flush()  # What the last look has said.
