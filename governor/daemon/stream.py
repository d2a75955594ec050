"""Responses with server-sent events (WHATWG HTML, section 9.2).

A stream ends when the client disconnects or reads nothing for 10 seconds, when the daemon or the surrounding server shuts down,
when the governor closes, or when the feed gives the listener's place to a newer listener.
"""

import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from governor.daemon.feed import Feed, Listener, Message
from governor.daemon.host_check import Drain
from governor.daemon.reading import Unreadable
from governor.errors import UsageError

#: Seconds between two checks whether the server is shutting down.
_CHECK_INTERVAL: Final = 0.5
#: Seconds within which a client must read one message, all pieces of it.
_SEND_TIMEOUT: Final = 10.0
#: The last field disables the buffering of nginx, which would delay events.
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStreamHead(Response):
    """The response to HEAD: the header without events."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        super().__init__(headers=_HEADERS)
        # The length of a stream is unknown.
        del self.headers["content-length"]


class EventStream(EventStreamHead):
    """The events of a feed as a response, for one listener."""

    def __init__(self, feed: Feed, listener: Listener, drain: Drain) -> None:
        super().__init__()
        self._feed = feed
        self._listener = listener
        self._drain = drain
        self._sent = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream, then removes the listener from the feed. Raises `UsageError` if called again."""
        if self._sent:
            raise UsageError("this event stream was sent before; create another one with a new listener")
        self._sent = True
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_after, self._drain.begun.wait, tasks.cancel_scope)
                tasks.start_soon(_cancel_after, self._listener.ended.wait, tasks.cancel_scope)
                tasks.start_soon(_cancel_after, _server_ends, tasks.cancel_scope)
                tasks.start_soon(_cancel_after, partial(_disconnected, receive), tasks.cancel_scope)
                await self._send_all(send)
                tasks.cancel_scope.cancel()
            await _send_in_time(send, [b""], more=False)
        finally:
            self._feed.leave(self._listener)

    async def _send_all(self, send: Send) -> None:
        try:
            async with aclosing(self._feed.messages(self._listener)) as messages:
                async for message in messages:
                    if not await _send_in_time(send, message, more=True):
                        return
        except Unreadable:
            return


async def _send_in_time(send: Send, message: Message, *, more: bool) -> bool:
    """Each piece waits until the client has read most of those before: no more than that waits in this process."""
    with anyio.move_on_after(_SEND_TIMEOUT) as timeout:
        for piece in message:
            await send({"type": "http.response.body", "body": piece, "more_body": more})
    return not timeout.cancelled_caught


async def _cancel_after(wait: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
    await wait()
    scope.cancel()


async def _server_ends() -> None:
    """Returns soon after uvicorn begins to shut down. Uvicorn notifies applications only after all connections have closed."""
    while not _is_ending():  # noqa: ASYNC110 - uvicorn sets a flag and no event
        await anyio.sleep(_CHECK_INTERVAL)


def _is_ending() -> bool:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    return any(getattr(getattr(handler, "__self__", None), "should_exit", False) is True for handler in handlers)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
