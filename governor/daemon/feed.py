"""Who watches live, and what are they sent?

Each listener gets the whole status once a second, and events as they come, through a queue of its own. The status is read once
for all of them; with nobody listening nothing is read, and the governor announces nothing to us.

At the bounds: beyond 64 listeners a newcomer takes the place of the one that has listened longest, if that is 10 seconds or
more, and is not taken otherwise; a browser comes back by itself. So listeners that never read do not keep others out for longer
than that. Events for a listener whose queue is full are dropped and counted, and it is told how many it has missed. One that
takes nothing for 10 seconds is dropped itself (`stream`).
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from typing import Final, final

import anyio
import msgspec

from governor import Governor
from governor._actors.portal import Post, current_post
from governor.daemon.reading import read_status
from governor.daemon.sampling import Sampler
from governor.instrumentation import AnyEvent

#: Listeners at a time.
MOST_LISTENERS: Final = 64
#: Seconds for which a listener keeps its place, however many want it.
KEPT: Final = 10.0
#: Events that may wait for one listener.
MOST_EVENTS: Final = 256
#: Seconds between two times that a listener is sent the status.
PERIOD: Final = 1.0
#: A status of at most this age in seconds, at the time when it is due, serves another listener too.
_FRESH: Final = PERIOD / 2
#: Tells browsers after how many milliseconds to come back when the stream ends.
_COME_BACK: Final = b"retry: 1000\n\n"


@final
class Listener:
    """One who watches: the events that wait for it, and how many it has missed."""

    __slots__ = ("_events", "ended", "missed", "since", "woken")

    def __init__(self, since: float) -> None:
        #: When it began to listen, on the clock of the event loop.
        self.since = since
        #: Set when another one needs its place.
        self.ended = anyio.Event()
        self._events: deque[bytes] = deque()
        self.missed = 0
        self.woken = anyio.Event()

    def offer(self, message: bytes) -> None:
        """One more event."""
        if len(self._events) >= MOST_EVENTS:
            self.missed += 1
            return
        self._events.append(message)
        self.woken.set()

    def take(self) -> list[bytes]:
        """Those that wait, which then wait no longer, and word of those that were missed."""
        self.woken = anyio.Event()
        events = list(self._events)
        self._events.clear()
        if self.missed:
            events.append(message("missed", msgspec.json.encode({"events": self.missed})))
            self.missed = 0
        return events


class Feed:
    """What happens in one governor, for all who listen on one event loop."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._listeners: set[Listener] = set()
        self._unhook: Callable[[], None] = lambda: None
        self._lock = anyio.Lock()
        self._snapshot = b""
        self._made_at = float("-inf")

    def join(self) -> Listener | None:
        """A new listener, told of everything from now on; None if all places are taken, and none for long enough."""
        now = anyio.current_time()
        if len(self._listeners) >= MOST_LISTENERS:
            oldest = min(self._listeners, key=lambda listener: listener.since)
            if now - oldest.since < KEPT:
                return None
            self._listeners.discard(oldest)
            oldest.ended.set()
        if not self._listeners:
            self._unhook = self._governor.add_hook(partial(self._hear, current_post(), Sampler()))
        listener = Listener(now)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It listens no longer."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._unhook()

    async def messages(self, listener: Listener) -> AsyncGenerator[bytes]:
        """What to send it, for ever: the status first, and then events and every second the status.

        Raises `Unreadable` once the governor has ended.
        """
        yield _COME_BACK
        due = oldest = anyio.current_time()
        while True:
            yield await self._status(oldest)
            due = max(due + PERIOD, anyio.current_time())
            oldest = due - _FRESH
            while (left := due - anyio.current_time()) > 0:
                with anyio.move_on_after(left):
                    await listener.woken.wait()
                for event in listener.take():
                    yield event

    async def _status(self, oldest: float) -> bytes:
        """A status that was read at `oldest` or later."""
        async with self._lock:
            if self._made_at < oldest:
                made_at = anyio.current_time()
                self._snapshot = message("snapshot", msgspec.json.encode(await read_status(self._governor)))
                self._made_at = made_at
            return self._snapshot

    def _hear(self, post: Post, sampler: Sampler, event: AnyEvent) -> None:
        """On the thread of the hooks."""
        if sampler.admits(event):
            told = message(str(event.__struct_config__.tag), msgspec.json.encode(event))
            # The loop may have ended, and the listeners with it.
            with suppress(RuntimeError):
                post(partial(self._spread, told))

    def _spread(self, told: bytes) -> None:
        for listener in self._listeners:
            listener.offer(told)


def message(kind: str, data: bytes) -> bytes:
    """One server-sent event. `data` is JSON, and so has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
