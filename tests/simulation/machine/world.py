"""A machine in virtual time: processes with event loops of their own, stepped one callback at a time in an order from one seed.

Each process has a monotonic clock that drifts, and each of its threads is an event loop. A process may be stopped, between two
callbacks or in the middle of one, wherever it reads its clock or uses a socket; and it may be killed, after which none of its
code runs again. Time passes only here: by a few microseconds with each callback, and up to the next timer when all loops wait.
"""

import asyncio
import heapq
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.machinery import ExtensionFileLoader
from itertools import count
from pkgutil import walk_packages
from random import Random
from typing import Any, Final
from unittest.mock import patch

import governor
from governor import _threads, clock
from governor._units import Instant

#: Nanoseconds.
SECOND: Final = 10**9
#: A process starts with its clock here.
_START: Final = 1000 * SECOND
_NEVER: Final = 10**30
#: Nanoseconds that a callback takes.
_COSTS: Final = (0, 500, 2_000, 2_000, 20_000)
#: Callbacks without any passing of time that count as a loop without an end.
_MAX_STEPS: Final = 3_000_000

# A module that is loaded within the block of a world or of its network would find the clock, threads and sockets of the test.
for _found in walk_packages(governor.__path__, "governor."):
    if not _found.name.endswith("__main__"):
        import_module(_found.name)


class Stuck(AssertionError):
    """The machine is busy without end."""


class Killed(BaseException):
    """The process was killed in the middle of a callback."""


class Loop(asyncio.BaseEventLoop):
    """One thread of a process, as an event loop that a world steps."""

    #: The number of the thread; 0 before it has begun.
    ident = 0

    def __init__(self, process: "Process", ident: int) -> None:
        super().__init__()
        self.set_debug(enabled=False)
        self.process = process
        self.ident = ident
        #: By file descriptor, what to call when it can be read, or written.
        self.watched: dict[tuple[int, bool], asyncio.Handle] = {}
        #: Whether one of these may be ready.
        self.touched = True
        #: When the next timer is due, or sooner.
        self.due_at = _NEVER
        self.errors: list[str] = []
        self.set_exception_handler(self._failed)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Killed):
            self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def time(self) -> float:
        return self.process.monotonic() / SECOND

    def is_running(self) -> bool:
        return self.ident != 0 and not self.process.dead

    def call_soon_threadsafe(  # type: ignore[override] # with fewer types
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        if self.process.dead:
            raise RuntimeError("Event loop is closed")
        return self.call_soon(callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override] # with fewer types
        self._watch(fd, False, callback, args)

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override] # with fewer types
        self._watch(fd, True, callback, args)

    def remove_reader(self, fd: Any) -> bool:
        return self.watched.pop((fd, False), None) is not None

    def remove_writer(self, fd: Any) -> bool:
        return self.watched.pop((fd, True), None) is not None

    def _watch(self, fd: int, writes: bool, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.watched[fd, writes] = asyncio.Handle(callback, args, self)

    def call_at(  # type: ignore[override] # with fewer types
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.due_at = min(self.due_at, self.process.at(round(when * SECOND)))
        return timer

    def has_work(self) -> bool:
        """Whether a callback can run now."""
        ready: Any = self._ready  # type: ignore[attr-defined] # of its base class
        if ready:
            return True
        if self.touched:
            self.touched = False
            for (fd, writes), handle in self.watched.items():
                if self.process.is_ready(fd, writes):
                    ready.append(handle)
        if self.due_at <= self.process.world.now:
            self._take_due(ready)
        return bool(ready)

    def _take_due(self, ready: Any) -> None:
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined] # of its base class
        now, self.due_at = self.time(), _NEVER
        while timers and (timers[0]._cancelled or round(timers[0].when() * SECOND) <= round(now * SECOND)):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        if timers:
            self.due_at = max(self.process.at(round(timers[0].when() * SECOND)), self.process.world.now + 1)

    def step(self) -> None:
        """Runs one callback."""
        handle: Any = self._ready.popleft()  # type: ignore[attr-defined] # of its base class
        if not handle._cancelled:
            before = asyncio._get_running_loop()
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(before)
            if self.watched:
                self.touched = True

    def __del__(self) -> None:
        """Nothing to close, and nothing to warn of."""


class Process:
    """One process: its clock, its threads, and its sockets."""

    def __init__(self, world: "World", name: str, *, drift: float = 0.0, offset: int = 0) -> None:
        self.world = world
        self.name = name
        #: By how much its clock is faster, as a part.
        self.drift = drift
        self._offset = _START + offset
        self.dead = False
        self.stopped_until = 0
        #: Stopped when it next reads its clock, or uses a socket, for so many nanoseconds.
        self.stops_inside: tuple[int, int] | None = None
        #: The latest instant at which it was stopped, and the end of that.
        self.stops: list[tuple[int, int]] = []
        self.loops: list[Loop] = []
        self.sockets: dict[int, Any] = {}
        #: What the system does when it ends.
        self.at_end: list[Callable[[], object]] = []
        world.processes.append(self)

    def monotonic(self) -> int:
        """Its monotonic clock, in nanoseconds."""
        return self._offset + self.world.now + round(self.world.now * self.drift)

    def at(self, instant: int) -> int:
        """When its clock reads this, in nanoseconds of the world."""
        return -int(-(instant - self._offset) // (1 + self.drift))

    def thread(self) -> Loop:
        """Another thread, with an event loop."""
        loop = Loop(self, 1_000_000 + next(self.world.idents))
        self.loops.append(loop)
        return loop

    def run(self, loop: Loop, coroutine: Coroutine[Any, Any, object], name: str) -> "asyncio.Task[Any]":
        """Runs a coroutine on one of its threads."""
        task = loop.create_task(coroutine, name=name)
        self.world.tasks.append(task)
        return task

    def touch(self) -> None:
        """One of its sockets may be ready."""
        for loop in self.loops:
            loop.touched = True

    def is_ready(self, fd: int, writes: bool) -> bool:
        found = self.sockets.get(fd)
        return found is None or bool(found.writable() if writes else found.readable())

    @property
    def runs(self) -> bool:
        """Whether its code can run now."""
        return not self.dead and self.world.now >= self.stopped_until

    def stop(self, duration: int) -> None:
        """Stops it, as SIGSTOP and later SIGCONT do."""
        self.stopped_until = max(self.stopped_until, self.world.now + duration)
        self.stops.append((self.world.now, self.stopped_until))

    def was_stopped(self, since: int, until: int) -> bool:
        """Whether it was stopped between two instants."""
        return any(begun <= until and ended >= since for begun, ended in self.stops)

    def stopped_within(self, since: int, until: int) -> int:
        """For how long it was stopped between two instants."""
        return sum(max(0, min(ended, until) - max(begun, since)) for begun, ended in self.stops)

    def kill(self) -> None:
        """Ends it: nothing of it runs again, and the system closes its sockets."""
        self.dead = True
        for one in tuple(self.sockets.values()):
            one.close_by_system()
        for action in self.at_end:
            action()
        self.at_end.clear()

    def __repr__(self) -> str:
        return self.name


class World:
    """All processes, and what happens to them. Everything is drawn from `random`."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        #: For governors: compiled code reads the real clock in place of `clock.system_clock`, and takes this one for another.
        self.system_clock: clock.Clock = lambda: Instant(self.monotonic_ns() // 1000)
        #: Nanoseconds since the beginning, of the clock that is right.
        self.now = 0
        self.processes: list[Process] = []
        self.idents = count(1)
        self.numbers = count(100)
        self.tasks: list[asyncio.Task[Any]] = []
        #: The thread that runs.
        self.running: Loop | None = None
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self.steps = 0
        #: Whether a process is stopped in the middle of a callback.
        self._inside = False
        #: What has happened: when, to whom, and what.
        self.diary: list[tuple[int, str, str]] = []

    def note(self, who: object, what: str) -> None:
        """Writes down what has happened."""
        self.diary.append((self.now, str(who), what))

    def at(self, instant: int, action: Callable[[], object]) -> None:
        """Does something at an instant."""
        heapq.heappush(self._events, (max(instant, self.now), next(self._order), action))

    def after(self, duration: int, action: Callable[[], object]) -> None:
        """Does something after a while."""
        self.at(self.now + duration, action)

    @property
    def current(self) -> Process:
        """The process that runs."""
        assert self.running is not None, "no process runs"
        return self.running.process

    def run_until(self, end: int) -> None:
        """Lets time pass."""
        while True:
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            now = self.now
            loops = [
                loop
                for one in self.processes
                if not one.dead and now >= one.stopped_until
                for loop in one.loops
                if loop.has_work()
            ]
            if loops and self.now < end:
                self._step(loops[0] if len(loops) == 1 else self.random.choice(loops))
                continue
            if self.now >= end:
                return
            self.now = max(self.now, min([end, *self._next()]))

    def _next(self) -> Iterator[int]:
        if self._events:
            yield self._events[0][0]
        for one in self.processes:
            if one.dead:
                continue
            if one.stopped_until > self.now:
                yield one.stopped_until
            else:
                for loop in one.loops:
                    yield loop.due_at

    def _step(self, loop: Loop) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise Stuck("the machine is busy without end")
        before, self.running = self.running, loop
        try:
            loop.step()
        finally:
            self.running = before
        self.now += self.random.choice(_COSTS)

    def syscall(self) -> None:
        """The running process reads its clock, or uses a socket: here it may be stopped in the middle of a callback."""
        if self.running is None or self.running.process.stops_inside is None:
            return
        process = self.running.process
        left, duration = process.stops_inside  # type: ignore[misc] # looked at before
        process.stops_inside = (left - 1, duration) if left else None
        if not left:
            self.note(process, f"stops in the middle of something for {duration / SECOND:.3f} s")
            process.stop(duration)
            # While one is in the middle of something, others are stopped after their callback: it could not go on before them.
            if not self._inside:
                self._inside = True
                self._run_others(process, self.running)
                self._inside = False
                if process.dead:
                    raise Killed

    def _run_others(self, process: Process, loop: Loop) -> None:
        task = asyncio.current_task(loop)
        if task is not None:
            asyncio.tasks._leave_task(loop, task)
        try:
            while self.now < process.stopped_until:
                self.run_until(process.stopped_until)
        finally:
            if task is not None:
                asyncio.tasks._enter_task(loop, task)

    # What the code of processes finds in place of the system.

    def monotonic_ns(self) -> int:
        """The monotonic clock of the process that runs."""
        self.syscall()
        return self.running.process.monotonic() if self.running is not None else _START + self.now

    def wall(self) -> float:
        """The clock on the wall, in seconds."""
        return 1.8e9 + self.now / SECOND + self.wall_error

    #: Seconds by which the clock on the wall is wrong.
    wall_error = 0.0

    def get_ident(self) -> int:
        """The number of the thread that runs."""
        return self.running.ident if self.running is not None else 1

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Within the block, the code of processes runs in this world."""

        async def at_once(function: Callable[[], object]) -> object:
            await asyncio.sleep(0)
            return function()

        replaced: dict[object, object] = {
            time.monotonic_ns: self.monotonic_ns,
            clock.system_clock: self.system_clock,
            threading.get_ident: self.get_ident,
            _threads.run_on_thread: at_once,
        }
        patches = [
            patch.object(module, name, replaced[value])
            for module_name, module in tuple(sys.modules.items())
            if module is not None and module_name.partition(".")[0] == "governor"
            for name, value in tuple(vars(module).items())
            if callable(value)
            and _hashable(value)
            and value in replaced
            # Compiled code must take the clock of the world for another than the one which it reads by itself.
            and not (value is clock.system_clock and isinstance(module.__loader__, ExtensionFileLoader))
        ]
        patches += [patch.object(clock, "time", self.wall), patch.object(clock, "_boot", lambda: "this start")]
        for one in patches:
            one.start()
        try:
            try:
                yield
            finally:
                self._throw_away()
        finally:
            for one in reversed(patches):
                one.stop()

    def _throw_away(self) -> None:
        """Forgets all tasks, whose code must not run again when they are collected."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            for loop in process.loops:
                asyncio._set_running_loop(loop)
                self.running = loop
                try:
                    for task in asyncio.all_tasks(loop):
                        task._log_destroy_pending = False  # type: ignore[attr-defined] # of asyncio
                        with suppress(BaseException):
                            task.get_coro().close()
                finally:
                    asyncio._set_running_loop(None)
                    self.running = None
                loop._ready.clear()  # type: ignore[attr-defined] # of its base class
                loop._scheduled.clear()  # type: ignore[attr-defined] # of its base class
                loop._closed = True  # type: ignore[attr-defined] # of its base class


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
