"""The portal: the event loop and thread of a governor, as reached from other threads.

Only the thread of that event loop touches what actors own. Other threads put calls into a queue and wake the loop.
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Lock, get_ident
from typing import Final, Generic, Protocol, TypeVar, cast

import anyio
from anyio.lowlevel import current_token

from governor._actors.event_loop import AsyncioLoop, in_trio, is_asyncio, running_asyncio_loop, running_loop
from governor.errors import UsageError

T = TypeVar("T")
Post = Callable[[Callable[[], object]], object]

#: A loop that was discarded without being closed answers no call. A waiting call checks at this interval, in seconds, whether
#: the loop still exists.
_HEARTBEAT_INTERVAL: Final = 1.0
#: Calls that may lie unread while the loop stands still, those that were given up included; one more is not taken.
MAX_CALLS: Final = 65_536


class _TrioToken(Protocol):
    def run_sync_soon(self, callback: Callable[[], object]) -> None: ...


def current_post() -> Post:
    """A function with which any thread can run a callback on the loop that is running now.

    The function raises RuntimeError (or a subclass) once that loop has ended.
    """
    loop = current_token().native_token
    if is_asyncio(loop):
        return cast("AsyncioLoop", loop).call_soon_threadsafe
    return cast("_TrioToken", loop).run_sync_soon


class _Call(Generic[T]):
    """A function to run on the actors' loop, and how to wake its caller once it has run, or never will.

    It runs, or its caller gives it up, whichever comes first. A call that was given up never runs.
    """

    __slots__ = ("_begun", "_error", "_function", "_value", "_wake", "unread")

    def __init__(self, function: Callable[[], T], wake: Callable[[], object]) -> None:
        #: Whether the loop has not looked at it yet.
        self.unread = True
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
        """On the actors' loop, after it has run: what it returned goes there, because its caller has gone."""
        if self._error is None:
            unwanted(cast("T", self._value))

    def wake(self) -> None:
        # The loop of the waiting call may have ended; then there is nothing to wake.
        with suppress(RuntimeError):
            self._wake()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


def _no_loop(_: Callable[[], object]) -> None:
    """Posts to where there is no loop."""
    raise RuntimeError("there is no event loop")


def _nothing() -> None:
    """Posted to learn whether the loop still takes callbacks."""


class Portal:
    """The thread and the loop on which all actors of one governor run. Made on that loop.

    Several loops may take turns on one thread, and a loop may be stopped, run on by another thread, or closed. So a thread is
    not enough to identify the place: the loop that runs there counts. `on_gone` is called when the loop is found to have been
    closed, on any thread, in any place: it must neither raise nor wait. `on_moved` when another thread has begun to run it.
    """

    #: None for one that has no loop of its own, in tests: then its thread decides.
    _loop: object | None = None
    #: The same if it is one of asyncio.
    _asyncio: AsyncioLoop | None = None
    #: Whether the loop is one of trio: then `must_post` may be true.
    on_trio = False

    def __init__(self, on_gone: Callable[[], object] = _nothing, on_moved: Callable[[], object] = _nothing) -> None:
        token = current_token()
        #: Where actors may be called without a look at the loop. Nowhere (0) once two threads have run it.
        self.thread = get_ident()
        self._ran_on = self.thread
        self._loop = running_loop()
        #: The loop as its library knows it.
        self.native = token.native_token
        if is_asyncio(self.native):
            self._asyncio = cast("AsyncioLoop", self.native)
        self.on_trio = self._loop is not None and self._asyncio is None
        #: What `anyio.current_time` says here, in seconds. That function itself does not find its event loop in callbacks of a
        #: loop which anyio has not started, and handlers run in callbacks too.
        self.time: Callable[[], float] = token.backend_class.current_time if self._asyncio is None else self._asyncio.time
        self._post = current_post()
        self._on_gone = on_gone
        self._on_moved = on_moved
        # A callback runs in the context of the code that posts it; anyio finds its event loop in this one.
        self._context = copy_context()
        # Bounded by `MAX_CALLS`. Those that were given up stay until the loop looks.
        self._calls: deque[_Call[object]] = deque()
        #: Whether the loop is known to have ended.
        self.ended = False

    # Where are we?

    def on_loop(self) -> bool:
        """Whether the calling code runs on the actors' loop. Only such code may wait there for an actor."""
        if self._loop is None:
            return get_ident() == self.thread
        if running_loop() is not self._loop:
            return False
        if get_ident() != self._ran_on:
            self._ran_on = get_ident()
            self.thread = 0
            self._on_moved()
        return True

    def check_thread(self) -> None:
        """Finds out whether another thread has begun to run the loop. Called by what the loop itself runs, before an actor is.

        Until then the first thread compares nothing but thread numbers, which costs it less, and calls actors directly.
        """
        self.on_loop()

    def here(self) -> bool:
        """Whether the calling code may call the actors directly: on their loop, and on its thread while no loop runs there."""
        return self.on_loop() or (self.is_paused() and running_loop() is None)

    def must_post(self) -> bool:
        """Whether this is the thread of a trio loop, outside of that loop. Its tasks can only be woken from inside.

        A loop in guest mode takes turns with another one.
        """
        return self.on_trio and not in_trio()

    def is_paused(self) -> bool:
        """Whether this is the thread of the actors' loop, and that loop is stopped but may go on.

        What is called there meets no actor at work, and no task of the loop can take its turn before it has ended.
        """
        loop = self._asyncio
        return loop is not None and get_ident() == self._ran_on and not (loop.is_running() or loop.is_closed() or in_trio())

    def waits_for_us(self) -> bool:
        """Whether the actors' loop cannot run before this thread goes on. Blocking it for an answer is in vain."""
        loop = self._asyncio
        if self._loop is None or get_ident() != self._ran_on:
            return False
        return loop is None or not loop.is_running() or running_asyncio_loop() is loop

    def post(self, callback: Callable[[], object]) -> bool:
        """Runs the callback on the loop soon, from whichever thread. False if the loop is gone."""
        try:
            self._post(partial(self._context.run, callback))
        except RecursionError:
            raise  # It says nothing of the loop.
        except RuntimeError:
            self.ended = True
            self._on_gone()
            return False
        return True

    def call(self, function: Callable[[], T], timeout: float = math.inf, unwanted: Callable[[T], object] | None = None) -> T:
        """Runs the function on the actors' loop and returns what it returns. From another thread this is a round trip.

        Raises what the function raises, `TimeoutError` if it has not begun to run after so many seconds, and `UsageError` if
        the governor is closed before it has. A function whose caller has gone, by a timeout or by cancellation, does not run;
        if it has already, what it returned is handed to `unwanted`, on the actors' loop.
        """
        if self.on_loop() or self.is_paused():
            return function()
        done = Lock()
        done.acquire()
        call = _Call(function, done.release)
        self._ring(call)
        try:
            in_time = self.wait_blocking(done, timeout)
            if not in_time and not call.give_up():
                in_time = self.wait_blocking(done, _HEARTBEAT_INTERVAL)
        except BaseException:
            self._give_up(call, unwanted)
            raise
        return self._result(call, in_time=in_time)

    async def acall(
        self, function: Callable[[], T], timeout: float = math.inf, unwanted: Callable[[T], object] | None = None
    ) -> T:
        """The same for a task on another loop, which goes on meanwhile."""
        if self.is_paused():
            return function()
        done = anyio.Event()
        call = _Call(function, partial(current_post(), done.set))
        self._ring(call)
        try:
            in_time = await self.wait(done, timeout) or (not call.give_up() and await self.wait(done, _HEARTBEAT_INTERVAL))
        except BaseException:
            self._give_up(call, unwanted)
            raise
        return self._result(call, in_time=in_time)

    def _give_up(self, call: _Call[T], unwanted: Callable[[T], object] | None) -> None:
        # A call that has begun has ended by the time that this wake-up is handled: both run on the thread of the loop.
        if not call.give_up() and unwanted is not None:
            self.post(partial(call.hand_over, unwanted))

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
        if self.ended or not self.post(partial(self._answer_through, call)):
            self._abandon_calls()

    def alive(self) -> bool:
        """Whether the loop still takes callbacks. True as well for a loop that is too busy to run them."""
        return not self.ended and self.post(_nothing)

    def wait_blocking(self, done: Lock, timeout: float = math.inf) -> bool:
        """Blocks this thread until `done` is released. False after `timeout` seconds, or when the loop has ended without it."""
        if self.waits_for_us():
            return done.acquire(blocking=False)
        while not done.acquire(timeout=min(timeout, _HEARTBEAT_INTERVAL)):
            timeout -= _HEARTBEAT_INTERVAL
            if timeout <= 0 or not self.alive():
                return False
        return True

    async def wait(self, done: anyio.Event, timeout: float = math.inf) -> bool:
        """Waits on another loop until `done` is set. False as with `wait_blocking`.

        Without a timeout it waits for one heartbeat only, if the actors' loop cannot run while this one does.
        """
        if timeout == math.inf and self._asyncio is not None and self.waits_for_us():
            timeout = _HEARTBEAT_INTERVAL
        while not done.is_set():
            with anyio.move_on_after(min(timeout, _HEARTBEAT_INTERVAL)) as patience:
                await done.wait()
            timeout -= _HEARTBEAT_INTERVAL
            if patience.cancelled_caught and (timeout <= 0 or not self.alive()):
                return done.is_set()
        return True

    def close(self) -> None:
        """Ends all waits for calls that will never run."""
        self.ended = True
        self._abandon_calls()

    def _answer_through(self, call: _Call[T]) -> None:
        # No further: what a thread has posted before a call runs before it.
        with suppress(IndexError):
            while call.unread:
                first = self._calls.popleft()
                first.unread = False
                first.run()

    def _abandon_calls(self) -> None:
        with suppress(IndexError):
            while True:
                self._calls.popleft().wake()


class NoPortal(Portal):
    """The portal of a governor that could not begin: no thread, no loop, and closed."""

    def __init__(self) -> None:
        self.thread = self._ran_on = 0
        self.native = None
        self.time = float
        self._post = _no_loop
        self._on_gone = self._on_moved = _nothing
        self._context = copy_context()
        self._calls = deque()
        self.ended = True
