"""Where does the governor live, and how does another thread reach it?

Everything the actors own is touched on one thread only: the one whose event loop the governor was started in. Others leave
work in a queue and knock.
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

import anyio
from anyio.lowlevel import current_token

from governor.errors import UsageError

if TYPE_CHECKING:
    from governor._actors.actor import Actor

T = TypeVar("T")
Post = Callable[[Callable[[], object]], object]

#: A loop that was thrown away without being told leaves nobody to answer. Whoever waits for one looks after so many seconds
#: whether it is still there, again and again.
_HEARTBEAT: Final = 1.0
#: Calls that may lie unread while the loop stands still, those that were given up included; one more is not taken.
MAX_CALLS: Final = 65_536


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
    """A function to run at home, and how to tell its caller that it has been run, or never will be.

    It runs, or its caller gives it up: whichever comes first. What was given up never runs.
    """

    __slots__ = ("_begun", "_error", "_function", "_value", "_wake")

    def __init__(self, function: Callable[[], T], wake: Callable[[], object]) -> None:
        self._function = function
        self._wake = wake
        self._value: T | None = None
        # Stays so if the function is interrupted, or never runs.
        self._error: Exception | None = UsageError("the governor has been closed")
        # Acquired once, by the loop that runs the call or by the caller that gives it up: two threads may try at once.
        self._begun = Lock()

    def run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._value = self._function()
            self._error = None
        except Exception as error:
            self._error = error
        finally:
            self.wake()

    def give_up(self) -> bool:
        """Lets it never run. False if it has begun to."""
        return self._begun.acquire(blocking=False)

    def hand_over(self, unwanted: Callable[[T], object]) -> None:
        """At home, after it has run: what it returned goes there, as its caller has gone."""
        if self._error is None:
            unwanted(cast("T", self._value))

    def wake(self) -> None:
        # The loop of a foreign caller may have ended: then nobody is there to be told.
        with suppress(RuntimeError):
            self._wake()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


class Home:
    """The thread and the loop on which all actors of one governor run. Made on that loop."""

    __slots__ = ("_calls", "_context", "_post", "ended", "failures", "thread", "time")

    def __init__(self) -> None:
        self.thread = get_ident()
        #: What `anyio.current_time` says here, in seconds. That function itself does not find its event loop in callbacks of a
        #: loop which anyio has not started, and handlers run in callbacks too.
        self.time: Callable[[], float] = current_token().backend_class.current_time
        self._post = current_post()
        # A callback runs in the context of whoever posts it; anyio finds its event loop in this one.
        self._context = copy_context()
        # Bounded by `MAX_CALLS`. Those that were given up stay until the loop looks.
        self._calls: deque[_Call[object]] = deque()
        #: The actors to whom others have sent failures that are not read yet, once for each failure. While there are any,
        #: nothing that was granted ahead is to be had: one of them may pause all traffic. Bounded like the outcomes.
        self.failures: deque[Actor] = deque()
        #: Is nobody at home any more, as far as anybody has noticed?
        self.ended = False

    def here(self) -> bool:
        """Are we on the actors' own thread?"""
        return get_ident() == self.thread

    def knock(self, callback: Callable[[], object]) -> bool:
        """Runs the callback on the loop soon, from whichever thread. False if the loop is gone."""
        try:
            self._post(partial(self._context.run, callback))
        except RuntimeError:
            self.ended = True
            return False
        return True

    def call(self, function: Callable[[], T], timeout: float = math.inf, unwanted: Callable[[T], object] | None = None) -> T:
        """Runs the function at home and returns what it returns. From another thread this is a round trip.

        Raises what the function raises, `TimeoutError` if it has not begun to run after so many seconds, and `UsageError` if
        the governor is closed before it has. A function whose caller has gone, by a timeout or by cancellation, does not run;
        if it has already, what it returned is handed to `unwanted`, at home.
        """
        if self.here():
            return function()
        done = Lock()
        done.acquire()
        call = _Call(function, done.release)
        self._ring(call)
        try:
            in_time = self.wait_blocking(done, timeout) or (not call.give_up() and self.wait_blocking(done, _HEARTBEAT))
        except BaseException:
            self._give_up(call, unwanted)
            raise
        return self._result(call, in_time=in_time)

    async def call_from_another_loop(
        self, function: Callable[[], T], timeout: float = math.inf, unwanted: Callable[[T], object] | None = None
    ) -> T:
        """The same for a task on another loop, which goes on meanwhile."""
        done = anyio.Event()
        call = _Call(function, partial(current_post(), done.set))
        self._ring(call)
        try:
            in_time = await self.wait(done, timeout) or (not call.give_up() and await self.wait(done, _HEARTBEAT))
        except BaseException:
            self._give_up(call, unwanted)
            raise
        return self._result(call, in_time=in_time)

    def _give_up(self, call: _Call[T], unwanted: Callable[[T], object] | None) -> None:
        # A call that has begun has ended by the time that this knock is answered: both run on the thread of the loop.
        if not call.give_up() and unwanted is not None:
            self.knock(partial(call.hand_over, unwanted))

    def _result(self, call: _Call[T], *, in_time: bool) -> T:
        if not in_time and self.alive():
            raise TimeoutError("the governor's event loop stands still")
        return call.result()

    def _ring(self, call: _Call[T]) -> None:
        if len(self._calls) >= MAX_CALLS:
            raise TimeoutError("the governor's event loop stands still, and too many calls wait for it")
        self._calls.append(cast("_Call[object]", call))
        # Looked at after the append, as `close` empties the queue after it has said that it is closed: one of the two sees
        # the call.
        if self.ended or not self.knock(self._answer_calls):
            self._abandon_calls()

    def hear_failures(self) -> None:
        """Has every failure read that others have sent until now, at home."""
        failures = self.failures
        for _ in range(len(failures)):
            if not failures[0].hear():
                return  # Its knock comes when that handler has ended.
            # Taken off the list only now, so that nobody finds it empty too early.
            failures.popleft()

    def alive(self) -> bool:
        """Will calls be answered? True as well for a loop that is too busy to answer, or that stands still."""
        return not self.ended and self.knock(_nothing)

    def wait_blocking(self, done: Lock, timeout: float = math.inf) -> bool:
        """Blocks this thread until `done` is released. False after `timeout` seconds, or when the loop has ended without it."""
        while not done.acquire(timeout=min(timeout, _HEARTBEAT)):
            timeout -= _HEARTBEAT
            if timeout <= 0 or not self.alive():
                return False
        return True

    async def wait(self, done: anyio.Event, timeout: float = math.inf) -> bool:
        """Waits on another loop until `done` is set. False as with `wait_blocking`."""
        while not done.is_set():
            with anyio.move_on_after(min(timeout, _HEARTBEAT)) as patience:
                await done.wait()
            timeout -= _HEARTBEAT
            if patience.cancelled_caught and (timeout <= 0 or not self.alive()):
                return done.is_set()
        return True

    def close(self) -> None:
        """Lets nobody wait any more for a call that will never run."""
        self.ended = True
        self._abandon_calls()

    def _answer_calls(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft().run()

    def _abandon_calls(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft().wake()


def _nothing() -> None:
    """What knocks to see whether somebody is at home come for."""
