"""Hooks, and the announcer that delivers events to them.

The kernel puts each event into a queue for each hook and continues. Each hook has a thread of its own, which takes events from
the queue and calls the hook, so that a hook that fails or blocks affects no other.

At most `MAX_EVENTS` events wait for a hook; further events are dropped and counted.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Final, Protocol, final

import msgspec

from governor._threads import is_too_late
from governor.errors import UsageError

if TYPE_CHECKING:
    from governor.instrumentation.events import AnyEvent

_log: Final = logging.getLogger("governor")

#: The maximum number of events that wait for one hook.
MAX_EVENTS: Final = 10_000
#: Seconds between two calls of `pause` without events.
PAUSE_INTERVAL: Final = 60.0


class Hook(Protocol):
    """A function that receives events. Called on a thread of its own, with one event at a time."""

    def __call__(self, event: "AnyEvent", /) -> object:
        """Handles one event. An exception is counted; it is logged unless the previous call failed too."""


def _nothing() -> None:
    """The default for `pause` and `last`."""


@final
class Announcer:
    """Takes events from the kernel and delivers them to hooks. Without hooks it costs almost nothing.

    Hooks may be added at any time, from any thread; they receive events between `start` and `close`. The announcer is called
    on one thread, that of the governor's loop, also from a finalizer in the middle of another call: it takes no lock.
    """

    __slots__ = ("_closed", "_ended", "_failed", "_lock", "_running", "_started", "_wall_clock", "dropped", "listening")

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        #: Who receives events; empty without a hook.
        self.listening: tuple[_Listener, ...] = ()
        self._started = False
        self._closed = False
        self._failed = 0
        #: Listeners whose threads have not ended, removed ones included.
        self._running: set[_Listener] = set()
        #: The number of events that a hook missed because its queue was full.
        self.dropped = 0
        self._forget_locks()

    def __call__(self, event: "AnyEvent") -> None:
        """Puts the event into the queue of each hook."""
        listeners = self.listening
        if not listeners:
            return
        event = msgspec.structs.replace(event, at=self._wall_clock())
        for listener in listeners:
            if listener.events.qsize() < MAX_EVENTS:
                # `SimpleQueue.put` is reentrant: a finalizer may call it in the middle of another `put`.
                listener.events.put(event)
            else:
                self.dropped += 1

    @property
    def at_work(self) -> bool:
        """Whether the thread of a hook is running, for which `close` would wait."""
        return bool(self._running)

    @property
    def failed(self) -> int:
        """The number of events at which a hook failed."""
        return self._failed

    def add(
        self, hook: Hook, *, pause: Callable[[], object] = _nothing, last: Callable[[], object] = _nothing
    ) -> Callable[[], None]:
        """Adds a hook, which receives all events from now on; returns a function that removes it.

        `pause` is called on the hook's thread whenever its queue is empty, and then every minute; `last` is called once, at
        the end. Raises `UsageError` if the announcer has been closed.
        """
        listener = _Listener(hook, pause, last, self.count_failures, self._has_ended)
        with self._lock:
            if self._closed:
                raise UsageError("the governor has been closed, and delivers no more events to hooks")
            if self._started:
                self._start(listener)
            self.listening = (*self.listening, listener)

        def remove() -> None:
            """Removes the hook; it receives no later events."""
            with self._lock:
                self.listening = tuple(other for other in self.listening if other is not listener)
            listener.finish()

        return remove

    def count_failures(self, events: int = 1) -> None:
        """Counts events at which a hook failed. From any thread."""
        with self._lock:
            self._failed += events

    def start(self) -> None:
        """Starts the threads of the hooks, and the delivery of events."""
        with self._lock:
            self._started = True
            for listener in self.listening:
                self._start(listener)

    def close(self, timeout: float = 1.0) -> None:
        """Delivers the waiting events, for at most `timeout` seconds, and removes all hooks."""
        with self._lock:
            self._closed = True
            listeners, self.listening = self.listening, ()
        for listener in listeners:
            listener.finish()
        with self._ended:
            # A hook may call `close` itself; `close` does not wait for that hook.
            self._ended.wait_for(lambda: all(listener.here() for listener in self._running), timeout)
            for listener in self._running:
                listener.stop()

    def forked(self) -> None:
        """Drops all hooks in a forked child, which has none of the threads."""
        self.listening = ()
        self._running = set()
        self._closed = True
        # Threads that do not exist in the child may have held the locks.
        self._forget_locks()

    def _forget_locks(self) -> None:
        self._lock = Lock()
        self._ended = Condition()

    def _start(self, listener: "_Listener") -> None:
        with self._ended:  # Its thread needs this lock to end, so it is added before it is removed.
            try:
                listener.start()
            except RuntimeError as error:
                if not is_too_late(error):
                    raise
                return  # The program ends, and this hook misses the remaining events.
            self._running.add(listener)

    def _has_ended(self, listener: "_Listener") -> None:
        with self._ended:
            self._running.discard(listener)
            self._ended.notify_all()


@final
class _Listener:
    """One hook, the events that wait for it, and the thread that calls it."""

    __slots__ = ("_count_failure", "_failing", "_hook", "_last", "_on_end", "_pause", "_stopped", "_thread", "events")

    def __init__(
        self,
        hook: Hook,
        pause: Callable[[], object],
        last: Callable[[], object],
        count_failure: Callable[[], None],
        on_end: Callable[["_Listener"], None],
    ) -> None:
        #: None is the end of the queue.
        self.events: SimpleQueue[AnyEvent | None] = SimpleQueue()
        self._hook = hook
        self._pause = pause
        self._last = last
        self._count_failure = count_failure
        self._on_end = on_end
        self._failing = False
        self._stopped = False
        self._thread = Thread(target=self._run, name="governor hook", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Ends the thread after the waiting events."""
        self.events.put(None)

    def stop(self) -> None:
        """Ends the thread after the current event."""
        self._stopped = True
        self.events.put(None)

    def here(self) -> bool:
        """Whether the current thread is that of the hook."""
        return self._thread is current_thread()

    def _run(self) -> None:
        try:
            while (event := self._next()) is not None and not self._stopped:
                self._call(event)
            self._call_between(self._last)
        finally:
            self._on_end(self)

    def _next(self) -> "AnyEvent | None":
        try:
            return self.events.get_nowait()
        except Empty:
            pass
        while True:
            self._call_between(self._pause)
            try:
                return self.events.get(timeout=PAUSE_INTERVAL)
            except Empty:
                continue

    def _call(self, event: "AnyEvent") -> None:
        try:
            self._hook(event)
        except BaseException as error:  # Any exception, even `SystemExit`, ends this call and not the thread.
            self._failed(error, type(event).__name__)
        else:
            self._failing = False

    def _call_between(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            self._failed(error, "its work between events")

    def _failed(self, error: BaseException, on: str) -> None:
        self._count_failure()
        if not self._failing:
            self._failing = True
            with suppress(Exception):  # Handlers and filters of logging may raise too.
                _log.error("A hook failed on %s. It will receive the next event.", on, exc_info=error)
