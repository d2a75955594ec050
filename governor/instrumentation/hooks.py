"""Who is told what happens, and how does that not get in the way?

The kernel leaves events in a queue for each hook and goes on. Each hook has a thread of its own, which takes them out and calls
it, so a hook that fails, or never comes back, does so alone.

At the bound: when `MOST` events wait for a hook, it misses what comes next, and that is counted.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread, current_thread
from typing import Final, Protocol, final

import msgspec

from governor._threads import is_too_late
from governor.errors import UsageError
from governor.instrumentation.events import AnyEvent

_log: Final = logging.getLogger("governor")

#: Events that may wait for one hook.
MOST: Final = 10_000
#: Seconds between two pauses of a hook that is told nothing.
QUIET: Final = 60.0


class Hook(Protocol):
    """Whatever wants to be told. Called on a thread of its own, one event after the other, never two at a time."""

    def __call__(self, event: AnyEvent, /) -> object:
        """What to do about it. An exception is counted, and logged if the call before did not fail; it changes nothing."""


def _nothing() -> None:
    """What a plain hook does between events, and at its end."""


@final
class Announcer:
    """Takes events from the kernel and has hooks told. Costs next to nothing as long as there are no hooks.

    Hooks may be added at any time, from any thread; they are told while the announcer is started and not closed. It is called
    on one thread, that of the governor's loop, also from a finalizer in the middle of another call: it takes no lock.
    """

    __slots__ = ("_closed", "_ended", "_failed", "_listeners", "_lock", "_running", "_started", "_wall_clock", "dropped")

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._listeners: tuple[_Listener, ...] = ()
        self._started = False
        self._closed = False
        self._failed = 0
        #: Those whose threads have not ended, also if they were taken out.
        self._running: set[_Listener] = set()
        #: How many events a hook has missed because too many waited for it.
        self.dropped = 0
        self._forget_locks()

    def __call__(self, event: AnyEvent) -> None:
        """Something has happened."""
        listeners = self._listeners
        if not listeners:
            return
        event = msgspec.structs.replace(event, at=self._wall_clock())
        for listener in listeners:
            if listener.events.qsize() < MOST:
                # This queue takes no lock of Python's: it may be interrupted by itself.
                listener.events.put(event)
            else:
                self.dropped += 1

    @property
    def listening(self) -> bool:
        """Is there anybody to tell?"""
        return bool(self._listeners)

    @property
    def at_work(self) -> bool:
        """Is there anybody whom `close` would have to wait for?"""
        return bool(self._running)

    @property
    def failed(self) -> int:
        """How many events a hook was told of in vain, because it failed."""
        return self._failed

    def add(
        self, hook: Hook, *, pause: Callable[[], object] = _nothing, last: Callable[[], object] = _nothing
    ) -> Callable[[], None]:
        """One more hook, told of everything from now on; call what is returned to end that.

        `pause` is called on the hook's thread whenever there is nothing more to tell, and again every minute as long as that
        is so; `last` once, after everything else. Raises `UsageError` if the announcer has been closed.
        """
        listener = _Listener(hook, pause, last, self.count_failures, self._has_ended)
        with self._lock:
            if self._closed:
                raise UsageError("the governor has been closed and tells no hook of anything any more")
            if self._started:
                self._start(listener)
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            """Tells the hook of nothing that happens from now on."""
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)
            listener.finish()

        return remove

    def count_failures(self, events: int = 1) -> None:
        """A hook could not do its part with so many events. From any thread."""
        with self._lock:
            self._failed += events

    def start(self) -> None:
        """From now on hooks are told."""
        with self._lock:
            self._started = True
            for listener in self._listeners:
                self._start(listener)

    def close(self, timeout: float = 1.0) -> None:
        """Has the hooks told of what there is, for so many seconds at most, and takes all of them out."""
        with self._lock:
            self._closed = True
            listeners, self._listeners = self._listeners, ()
        for listener in listeners:
            listener.finish()
        with self._ended:
            # A hook that closes us itself is not waited for.
            self._ended.wait_for(lambda: all(listener.here() for listener in self._running), timeout)
            for listener in self._running:
                listener.stop()

    def forked(self) -> None:
        """In a forked child, which has none of the threads: nobody is told of anything."""
        self._listeners = ()
        self._running = set()
        self._closed = True
        # Threads that do not exist here may have held them.
        self._forget_locks()

    def _forget_locks(self) -> None:
        self._lock = Lock()
        self._ended = Condition()

    def _start(self, listener: "_Listener") -> None:
        with self._ended:  # Which its thread needs to end: it is there before it has gone.
            try:
                listener.start()
            except RuntimeError as error:
                if not is_too_late(error):
                    raise
                return  # The program ends, and this hook misses the rest.
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
        #: None stands for the end.
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
        """Begins to tell the hook."""
        self._thread.start()

    def finish(self) -> None:
        """It is told of what there is, and then of nothing more."""
        self.events.put(None)

    def stop(self) -> None:
        """It is told of nothing more."""
        self._stopped = True
        self.events.put(None)

    def here(self) -> bool:
        """Are we on its thread?"""
        return self._thread is current_thread()

    def _run(self) -> None:
        try:
            while (event := self._next()) is not None and not self._stopped:
                self._tell(event)
            self._do(self._last)
        finally:
            self._on_end(self)

    def _next(self) -> AnyEvent | None:
        try:
            return self.events.get_nowait()
        except Empty:
            pass
        while True:
            self._do(self._pause)
            try:
                return self.events.get(timeout=QUIET)
            except Empty:
                continue

    def _tell(self, event: AnyEvent) -> None:
        try:
            self._hook(event)
        except BaseException as error:  # Whatever it is, even `sys.exit()`, it ends this call and not the thread.
            self._failed(error, type(event).__name__)
        else:
            self._failing = False

    def _do(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            self._failed(error, "what it does between events")

    def _failed(self, error: BaseException, on: str) -> None:
        self._count_failure()
        if not self._failing:
            self._failing = True
            with suppress(Exception):  # Handlers and filters of logging are other people's code as well.
                _log.error("A hook failed on %s. It will be told of the next event.", on, exc_info=error)
