"""Virtual time: an event loop whose clock jumps, and functions of `time` that follow it.

`run(main)` runs a coroutine on a loop of asyncio whose clock is a whole number of microseconds. While a callback is ready, the
clock stands still. When none is ready, it jumps to the next timer, so an hour of pauses takes no time. Nothing may wait
for another thread or a socket: a loop without a timer and without a ready callback raises `NothingLeftError`.

`asyncio.sleep`, `anyio` and `loop.time()` follow the loop by themselves. Contenders also read `time.monotonic`, `time.time` and
`time.perf_counter`. While `run` runs, these functions and their variants in nanoseconds are replaced: in the module `time`, and
in every loaded module of `PATCHED` that holds one of the originals under a name of its own (`from time import monotonic`).
`time.sleep` raises. The wall clock begins at `EPOCH`. `datetime.now()` is not replaced, and no contender may read it.
"""

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from math import ceil
from types import ModuleType
from typing import Any, Final, TypeVar, cast

Result = TypeVar("Result")

SECOND: Final = 1_000_000
#: The wall-clock time at which a run begins, in seconds since 1970: 2026-01-01 00:00:00 UTC.
EPOCH: Final = 1_767_225_600
#: The packages whose modules are searched for functions of `time`.
PATCHED: Final = ("aiolimiter", "governor", "governor_client", "pyrate_limiter", "stamina", "tenacity")


_BUILTIN: Final = type(time.monotonic)


class NothingLeftError(RuntimeError):
    """The loop has no ready callback and no timer, so it would wait for ever."""


class _Jumping(selectors.SelectSelector):
    """Instead of waiting for a timeout, moves the clock of the loop by it."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftError("the loop has neither a ready callback nor a timer")
        if timeout > 0:
            self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop of asyncio in virtual time. `now` is in microseconds since its start."""

    def __init__(self) -> None:
        selector = _Jumping()
        selector.loop = self
        self.now = 0
        super().__init__(selector)

    def time(self) -> float:
        """Seconds since the start."""
        return self.now / SECOND

    def call_at(  # type: ignore[override]  # without the type variables of its arguments, which mypy cannot express for a list
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """A timer that is set for now, or for the past, rings a microsecond later.

        On a real clock some time has always passed; a callback that sets a timer for the same instant again would never end.
        """
        return super().call_at(max(when, (self.now + 1) / SECOND), callback, *args, context=context)

    def jump(self, timeout: float) -> None:
        """Moves the clock to the next timer, rounded up to a microsecond."""
        self.now = max(self.now + 1, ceil(round((self.now / SECOND + timeout) * SECOND, 3)))


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Runs the coroutine that `main` returns for a new loop, in virtual time."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner, _patched(loop):
        return runner.run(main(loop))


@contextmanager
def _patched(loop: VirtualLoop) -> Iterator[None]:
    originals = {getattr(time, name): fake for name, fake in _fakes(loop).items()}
    changed: list[tuple[ModuleType, str, object]] = []
    for module in [time, *_modules()]:
        for name, value in list(vars(module).items()):
            if type(value) is _BUILTIN and value in originals:
                changed.append((module, name, value))
    try:
        for module, name, value in changed:
            setattr(module, name, originals[cast("Callable[..., object]", value)])
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)


def _fakes(loop: VirtualLoop) -> dict[str, Callable[..., object]]:
    def sleep(seconds: float) -> None:
        raise NotImplementedError(f"time.sleep({seconds}) would block the loop")

    return {
        "monotonic": lambda: loop.now / SECOND,
        "monotonic_ns": lambda: loop.now * 1000,
        "perf_counter": lambda: loop.now / SECOND,
        "perf_counter_ns": lambda: loop.now * 1000,
        "time": lambda: EPOCH + loop.now / SECOND,
        "time_ns": lambda: (EPOCH * SECOND + loop.now) * 1000,
        "sleep": sleep,
    }


def _modules() -> list[ModuleType]:
    found = [(name.partition(".")[0], module) for name, module in list(sys.modules.items())]
    return [module for package, module in found if package in PATCHED and isinstance(module, ModuleType)]
