"""Who is told what happens, and how does that not get in the way?

The kernel leaves events in a bounded queue and goes on. One thread takes them out and calls the hooks. A hook that fails, fails
alone; one that is slow makes the queue full, and then events are dropped and counted, the newest first.
"""

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event as Flag
from threading import Lock, Thread
from typing import Final, Protocol

import msgspec

from governor.instrumentation.events import AnyEvent

_log: Final = logging.getLogger("governor")

#: Events that may wait for the hooks.
MOST: Final = 10_000


class Hook(Protocol):
    """Whatever wants to be told. Called on a thread of its own, one event after the other, never two at a time."""

    def __call__(self, event: AnyEvent) -> object:
        """What to do about it. An exception is logged, and changes nothing."""


class Announcer:
    """Takes events from the kernel, on any thread, and has hooks told. Costs next to nothing as long as there are no hooks."""

    __slots__ = ("_events", "_flag", "_hooks", "_lock", "_thread", "_wall_clock", "dropped", "failed")

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._events: deque[AnyEvent] = deque()
        self._hooks: tuple[Hook, ...] = ()
        self._flag = Flag()
        self._lock = Lock()
        self._thread: Thread | None = None
        #: How many events were dropped because the queue was full.
        self.dropped = 0
        #: How often a hook has raised.
        self.failed = 0

    def __call__(self, event: AnyEvent) -> None:
        """Something has happened."""
        if not self._hooks:
            return
        if len(self._events) >= MOST:
            self.dropped += 1
            return
        self._events.append(msgspec.structs.replace(event, at=self._wall_clock()))
        if not self._flag.is_set():
            self._flag.set()

    @property
    def listening(self) -> bool:
        """Is there anybody to tell?"""
        return bool(self._hooks)

    def add(self, hook: Hook) -> Callable[[], None]:
        """One more hook, told of everything from now on; call what is returned to take it out again."""
        with self._lock:
            self._hooks = (*self._hooks, hook)
            if self._thread is None:
                self._thread = Thread(target=self._tell, name="governor hooks", daemon=True)
                self._thread.start()

        def remove() -> None:
            with self._lock:
                self._hooks = tuple(other for other in self._hooks if other is not hook)

        return remove

    def close(self, timeout: float = 1.0) -> None:
        """Has the hooks told of what there is, for so many seconds at most, and takes all of them out."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._flag.set()
            thread.join(timeout)
        self._hooks = ()

    def _tell(self) -> None:
        while True:
            self._flag.wait()
            # Before the queue is read: what comes from here on raises the flag again.
            self._flag.clear()
            with suppress(IndexError):
                while True:
                    self._tell_one(self._events.popleft())
            if self._thread is None:
                return

    def _tell_one(self, event: AnyEvent) -> None:
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                self.failed += 1
                _log.exception("A hook failed on %s and was not told.", type(event).__name__)
