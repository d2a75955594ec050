"""Live updates for all listeners: the status, then what has changed of it once a second, and events as they happen.

The status is read once for all listeners, and each of them has a queue of events. Without listeners nothing is read, except
by `recorder`. The latest readings are kept: a listener gets the changes since the one that it got last, or the whole status if
that one has gone.

At the bounds: above `MAX_LISTENERS` a newcomer takes the place of the one that has listened longest, if that is 10 seconds
or more, and is turned down otherwise; browsers reconnect by themselves. So listeners that never read block others for no
longer than that. Events for a listener whose queue is full are dropped and counted, and the listener gets the number. A
listener that takes nothing for 10 seconds is disconnected (`stream`).
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, NamedTuple, final

import anyio
import msgspec

from governor.cooperative import Turns, take_turns
from governor.daemon.changes import changes
from governor.daemon.documents import Changes, Status
from governor.daemon.encoding import encoded
from governor.daemon.loop import Post, current_post
from governor.daemon.reading import Observer
from governor.daemon.sampling import Sampler
from governor.instrumentation import AnyEvent, Entry

#: Listeners at a time.
MAX_LISTENERS: Final = 64
#: Seconds for which a listener keeps its place, however many want it.
KEPT: Final = 10.0
#: Events that may wait for one listener.
MAX_EVENTS: Final = 256
#: Seconds between two snapshots for a listener.
PERIOD: Final = 1.0
#: A reading of at most this age in seconds, when a listener is due, serves it too.
_FRESH: Final = PERIOD / 2
#: Readings that are kept. A listener that is later than about as many seconds gets the whole status.
MAX_READINGS: Final = 3
#: Tells browsers to reconnect after so many milliseconds when the stream ends.
_RETRY: Final = b"retry: 1000\n\n"


#: A message in pieces: to be sent one after the other, and all of them before the next message.
Message = list[bytes]


@final
class Listener:
    """One listener: the events in its queue, and how many it has missed."""

    __slots__ = ("_events", "ended", "missed", "since", "woken")

    def __init__(self, since: float) -> None:
        #: When it began to listen, on the clock of the event loop.
        self.since = since
        #: Set when another listener needs its place.
        self.ended = anyio.Event()
        self._events: deque[bytes] = deque()
        self.missed = 0
        self.woken = anyio.Event()

    def offer(self, message: bytes) -> None:
        """Adds an event to the queue."""
        if len(self._events) >= MAX_EVENTS:
            self.missed += 1
            return
        self._events.append(message)
        self.woken.set()

    def take(self) -> list[bytes]:
        """Empties the queue; a message about missed events comes last."""
        self.woken = anyio.Event()
        events = list(self._events)
        self._events.clear()
        if self.missed:
            events.append(message("missed", msgspec.json.encode({"events": self.missed})))
            self.missed = 0
        return events


class _Reading(NamedTuple):
    """A status, and when it was read."""

    number: int
    made_at: float
    status: Status


class Feed:
    """The events and snapshots of one governor, for all listeners on one event loop."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._listeners: set[Listener] = set()
        self._unhook: Callable[[], None] | None = None
        self._lock = anyio.Lock()
        self._readings: deque[_Reading] = deque(maxlen=MAX_READINGS)
        self._numbers = count()
        #: Of the latest reading, by the number of the reading that they continue from; the whole status by None.
        self._messages: dict[int | None, Message] = {}

    def join(self) -> Listener | None:
        """A new listener, which gets everything from now on; None if all places are taken, and none for long enough."""
        now = anyio.current_time()
        if len(self._listeners) >= MAX_LISTENERS:
            oldest = min(self._listeners, key=lambda listener: listener.since)
            if now - oldest.since < KEPT:
                return None
            self._listeners.discard(oldest)
            oldest.ended.set()
        listener = Listener(now)
        self._listeners.add(listener)
        self._hook()
        return listener

    def leave(self, listener: Listener) -> None:
        """Removes a listener."""
        self._listeners.discard(listener)
        self._hook()

    async def messages(self, listener: Listener) -> AsyncGenerator[Message]:
        """The messages for one listener, without end: a snapshot first, then events, and changes every second.

        Raises `Unreadable` once the governor has ended.
        """
        yield [_RETRY]
        due = oldest = anyio.current_time()
        number = None
        while True:
            number, status = await self._status(number, oldest)
            yield status
            due = max(due + PERIOD, anyio.current_time())
            oldest = due - _FRESH
            while (left := due - anyio.current_time()) > 0:
                with anyio.move_on_after(left):
                    await listener.woken.wait()
                for event in listener.take():
                    yield [event]

    async def _status(self, number: int | None, oldest: float) -> tuple[int, Message]:
        """A reading made at `oldest` or later: its number, and the message for a listener that has reading `number`."""
        async with self._lock:
            readings = self._readings
            if not readings or readings[-1].made_at < oldest:
                made_at = anyio.current_time()
                readings.append(_Reading(next(self._numbers), made_at, await self._observer.status()))
                self._messages = {}
            latest = readings[-1]
            before = next((one for one in readings if one.number == number), None)
            base = None if before is None else before.number
            if base not in self._messages:
                self._messages[base] = await _message(before, latest)
            return latest.number, self._messages[base]

    def _hook(self) -> None:
        """Hooks into the governor while there is anyone to tell, and not longer."""
        wanted = bool(self._listeners)
        if not wanted:
            self._readings.clear()
            self._messages = {}
        if wanted and self._unhook is None:
            self._unhook = self._observer.governor.add_hook(partial(self._hear, current_post(), Sampler()))
        elif not wanted and self._unhook is not None:
            self._unhook()
            self._unhook = None

    def _hear(self, post: Post, sampler: Sampler, event: AnyEvent) -> None:
        """Runs on the thread of the hook."""
        if sampler.admits(event):
            entry = event.entry()
            told = message(event.name, msgspec.json.encode(event)) + message("timeline", msgspec.json.encode(entry))
            # The loop may have ended, and the listeners with it.
            with suppress(RuntimeError):
                post(partial(self._spread, told, entry))

    def _spread(self, told: bytes, entry: Entry) -> None:
        if not self._observer.recorded:
            self._observer.history.tell(entry)
        for listener in self._listeners:
            listener.offer(told)


async def _message(before: _Reading | None, latest: _Reading) -> Message:
    """The status, or its changes since the reading before."""
    document: Status | Changes = latest.status
    if before is not None:
        document = await take_turns(changes(before.status, latest.status))
    made = [b"event: %b\ndata: " % (b"snapshot" if before is None else b"changes")]
    turns = Turns()
    for piece in encoded(document):
        made.append(piece)
        await turns.after_step()
    return [*made, b"\n\n"]


def message(kind: str, data: bytes) -> bytes:
    """One server-sent event. `data` is JSON, and so has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
