"""Limits on the connections of `governor serve`: their number, and timeouts for slow clients.

Uvicorn limits neither the time to the first request nor the time in which a client reads a response. Here a client has
`HEADERS_TIMEOUT` seconds to send the header of a request and `WRITE_TIMEOUT` seconds to read pending data; then its connection
is closed. At `max_connections` a new connection replaces the connection that has been idle for longest; without an idle
connection, the new one is closed.
"""

import logging
import sys
from asyncio import TimerHandle, Transport
from collections.abc import Callable
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, Final, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from governor import Instant
from governor.clock import system_clock

_log: Final = logging.getLogger("governor")

#: Seconds for the header of a request, since the connection was opened or the previous request ended.
HEADERS_TIMEOUT: Final = 10.0
#: Seconds after which a client that reads nothing is disconnected.
WRITE_TIMEOUT: Final = 10.0
#: The maximum number of connections, if the limit on open files permits it.
MAX_CONNECTIONS: Final = 512
#: The number of open files that are reserved for other purposes.
_RESERVED_FILES: Final = 64
#: Microseconds between two log messages about connections that cannot be accepted.
_LOG_INTERVAL: Final = 60_000_000
#: Pending bytes, in this process and in the kernel each, above which `WRITE_TIMEOUT` begins.
_MAX_UNREAD: Final = 16_384


def max_connections() -> int:
    """The maximum number of connections: `MAX_CONNECTIONS`, or fewer if the limit on open files is low, but at least 16."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

    files = getrlimit(RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if files == RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, files - _RESERVED_FILES))


@final
class BoundedProtocol(H11Protocol):
    """The HTTP protocol of uvicorn with the limits of this module. All connections of one server share `connections`."""

    _deadline: TimerHandle | None = None
    _unread_deadline: TimerHandle | None = None
    _idle_since = Instant(0)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override] # of the base class, any transport
        """Adds the connection; closes an idle one to make room, or this one if none is idle."""
        if len(self.connections) >= max_connections() and not self._evict_idle():
            transport.abort()
            return
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_MAX_UNREAD)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(SOL_SOCKET, SO_SNDBUF, _MAX_UNREAD)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Removes the connection."""
        self._cancel_timers()
        if self.transport is not None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handles received data; a complete header stops the timeout."""
        super().data_received(data)
        if not self._is_idle():
            self._stop_header_timeout()

    def on_response_complete(self) -> None:
        """Restarts the timeout for the next header, unless a pipelined request is already complete."""
        super().on_response_complete()
        if self._is_idle() and not self.transport.is_closing():
            self._await_header()

    def pause_writing(self) -> None:
        """Starts the timeout for a client that reads more slowly than the daemon writes."""
        super().pause_writing()
        if self._unread_deadline is None:
            self._unread_deadline = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the timeout: the client has read."""
        super().resume_writing()
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
            self._unread_deadline = None

    def _is_idle(self) -> bool:
        """Whether every request with a complete header has its response."""
        return self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)

    def _await_header(self) -> None:
        self._stop_header_timeout()
        self._idle_since = system_clock()
        self._deadline = self.loop.call_later(HEADERS_TIMEOUT, self._on_header_timeout)

    def _stop_header_timeout(self) -> None:
        """Stops the timeout for a header, if it runs."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_header_timeout(self) -> None:
        self._deadline = None
        self.transport.abort()

    def _cancel_timers(self) -> None:
        for timer in (self._deadline, self._unread_deadline):
            if timer is not None:
                timer.cancel()
        self._deadline = self._unread_deadline = None

    def _evict_idle(self) -> bool:
        others = [other for other in self.connections if isinstance(other, BoundedProtocol) and other._is_idle()]
        if not others:
            return False
        oldest = min(others, key=lambda other: other._idle_since)
        # Immediately: the new connection needs the place now, and `connection_lost` is called later.
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True


@final
class AcceptErrors:
    """An exception handler for the event loop: logs failed accepts once a minute, passes other errors to `otherwise`.

    Asyncio itself logs a traceback for each waiting connection, many thousand times a second.
    """

    def __init__(self, otherwise: Callable[[dict[str, Any]], object]) -> None:
        self._otherwise = otherwise
        self._logged_at: Instant | None = None

    def __call__(self, loop: object, context: dict[str, Any]) -> None:
        """Handles one error. `context` is the one of asyncio's `set_exception_handler`."""
        if not str(context.get("message", "")).startswith("socket.accept()"):
            self._otherwise(context)
            return
        now = system_clock()
        if self._logged_at is None or now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            _log.error("The daemon cannot accept connections: %s. It keeps trying.", context.get("exception"))
