"""Where does the governor live, and how does another thread reach it?

Everything the actors own is touched on one thread only: the one whose event loop the governor was started in. Others leave
work in a queue and knock.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock, get_ident
from typing import Generic, Protocol, TypeVar, cast

from anyio.lowlevel import current_token

from governor.errors import UsageError

T = TypeVar("T")
Post = Callable[[Callable[[], object]], object]


class _AsyncioLoop(Protocol):
    def call_soon_threadsafe(self, callback: Callable[[], object]) -> object: ...


class _TrioToken(Protocol):
    def run_sync_soon(self, callback: Callable[[], object]) -> None: ...


def current_post() -> Post:
    """A function with which any thread can run a callback on the loop that is running now.

    The function raises RuntimeError (or a subclass) once that loop has ended.
    """
    loop = current_token().native_token
    if hasattr(loop, "call_soon_threadsafe"):
        return cast("_AsyncioLoop", loop).call_soon_threadsafe
    return cast("_TrioToken", loop).run_sync_soon


class _Call(Generic[T]):
    """A function to run at home, and the place where its caller waits for what it returns."""

    __slots__ = ("_done", "_error", "_function", "_value")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._done = Lock()
        self._done.acquire()
        self._value: T | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._value = self._function()
        except Exception as error:
            self._error = error
        self._done.release()

    def abandon(self) -> None:
        self._error = UsageError("the governor has been closed")
        self._done.release()

    def result(self) -> T:
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class Home:
    """The thread and the loop on which all actors of one governor run. Made on that loop."""

    __slots__ = ("_calls", "_closed", "_context", "_post", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self._post = current_post()
        # A callback runs in the context of whoever posts it; anyio finds its event loop in this one.
        self._context = copy_context()
        # Bounded by the number of threads: each waits for its call.
        self._calls: deque[_Call[object]] = deque()
        self._closed = False

    def here(self) -> bool:
        """Are we on the actors' own thread?"""
        return get_ident() == self.thread

    def knock(self, callback: Callable[[], object]) -> bool:
        """Runs the callback on the loop soon, from whichever thread. False if the loop is gone."""
        try:
            self._post(partial(self._context.run, callback))
        except RuntimeError:
            return False
        return True

    def call(self, function: Callable[[], T]) -> T:
        """Runs the function at home and returns what it returns. From another thread this is a round trip.

        Raises what the function raises, and `UsageError` if the governor is closed before the function has run.
        """
        if self.here():
            return function()
        call = _Call(function)
        self._calls.append(cast("_Call[object]", call))
        # Looked at after the append, as `close` empties the queue after it has said that it is closed: one of the two sees
        # the call.
        if not self.knock(self._answer_calls) or self._closed:
            self._abandon_calls()
        return call.result()

    def close(self) -> None:
        """Lets nobody wait any more for a call that will never run."""
        self._closed = True
        self._abandon_calls()

    def _answer_calls(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft().run()

    def _abandon_calls(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft().abandon()
