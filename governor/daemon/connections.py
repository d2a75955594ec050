"""Bounds on the connections of `governor serve`: how many there are, and how long a silent one is kept.

uvicorn bounds neither the time to the first request, nor the time that a client takes to read an answer. Here a client has
`HEADERS_TIMEOUT` seconds for the header of a request and `WRITE_TIMEOUT` seconds to read what is waiting for it; then its
connection is closed. At `max_connections` a newcomer takes the place of the connection that has been without a request for
longest; if all have one, the newcomer is closed.
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

#: Seconds for the header of a request, from the opening of the connection or the end of the request before.
HEADERS_TIMEOUT: Final = 10.0
#: Seconds after which a client that reads nothing is disconnected.
WRITE_TIMEOUT: Final = 10.0
#: Connections at most, where the limit on open files allows as many.
MAX_CONNECTIONS: Final = 512
#: Open files that are left for everything else.
_RESERVED_FILES: Final = 64
#: Microseconds between two lines about connections that cannot be accepted.
_LOG_INTERVAL: Final = 60_000_000
#: Bytes that may wait for a client, in this process and in the kernel, before it counts as one that does not read.
_MAX_UNREAD: Final = 16_384


def max_connections() -> int:
    """How many connections are kept: `MAX_CONNECTIONS`, or what the limit on open files leaves room for, at least 16."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

    files = getrlimit(RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if files == RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, files - _RESERVED_FILES))


@final
class BoundedProtocol(H11Protocol):
    """The HTTP protocol of uvicorn with the bounds of this module. Its `connections` are shared by all of one server."""

    _deadline: TimerHandle | None = None
    _unread_deadline: TimerHandle | None = None
    _idle_since = Instant(0)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Takes a place among the connections, that of an idle one if need be."""
        if len(self.connections) >= max_connections() and not self._evict_idle():
            transport.abort()
            return
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_MAX_UNREAD)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(SOL_SOCKET, SO_SNDBUF, _MAX_UNREAD)
        self._await_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the place back."""
        self._cancel_timers()
        if self.transport is not None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handles what has come; the header of a request must be complete in time."""
        super().data_received(data)
        if not self._is_idle():
            self._header_is_here()

    def on_response_complete(self) -> None:
        """The connection is idle again. What has come of the next request, a client that pipelines has sent before."""
        super().on_response_complete()
        if self._is_idle() and not self.transport.is_closing():
            self._await_header()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        if self._unread_deadline is None:
            self._unread_deadline = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._unread_deadline is not None:
            self._unread_deadline.cancel()
            self._unread_deadline = None

    def _is_idle(self) -> bool:
        """Whether no request is under way: none has been read to the end of its header that is not answered."""
        return self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete)

    def _await_header(self) -> None:
        self._header_is_here()
        self._idle_since = system_clock()
        self._deadline = self.loop.call_later(HEADERS_TIMEOUT, self._too_late)

    def _header_is_here(self) -> None:
        """Ends the wait for a header, if there is one."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
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
        # At once, as the place is needed now and `connection_lost` comes later.
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True


@final
class AcceptErrors:
    """Handles errors of an event loop: failed accepts are logged once a minute, everything else as before.

    Without it asyncio writes a traceback for each of the connections that wait, many thousand times a second.
    """

    def __init__(self, otherwise: Callable[[dict[str, Any]], object]) -> None:
        self._otherwise = otherwise
        self._logged_at: Instant | None = None

    def __call__(self, loop: object, context: dict[str, Any]) -> None:
        """One error. `context` is asyncio's."""
        if not str(context.get("message", "")).startswith("socket.accept()"):
            self._otherwise(context)
            return
        now = system_clock()
        if self._logged_at is None or now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            _log.error("The daemon cannot accept connections: %s. It goes on trying.", context.get("exception"))
