"""Runs a governor on an event loop of its own, on a daemon thread, for programs without an event loop."""

import _thread
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from threading import Event, Thread
from types import BuiltinFunctionType
from typing import Final

import anyio

from governor._actors.portal import current_post
from governor._threads import is_too_late
from governor.errors import UsageError

#: Seconds between two looks whether it is time to end.
_LOOK_INTERVAL: Final = 0.05


class TooLate(UsageError):
    """The background thread cannot be started any more, because the interpreter shuts down."""


class Background:
    """Enters an async context manager on a thread of its own, and leaves it there."""

    def __init__(self, enter: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._enter = enter
        self._settled = Event()
        self._failure: BaseException | None = None
        self._is_time: Callable[[], bool] = lambda: False
        self._stop: Callable[[], object] = lambda: None
        self._watch: Callable[[], object] = lambda: None
        self._thread = Thread(target=self._main, name="governor", daemon=True)

    def start(self) -> None:
        """Returns once the context has been entered; raises what went wrong if it could not be.

        Raises `UsageError` where threads are not threads: the event loop would run on that of the program, in which no other
        could be started any more. Raises `TooLate` while the interpreter shuts down.
        """
        if not isinstance(_thread.start_new_thread, BuiltinFunctionType):
            raise UsageError(
                "the governor cannot run on a background thread, because gevent or eventlet has replaced threads in this "
                "process; leave them as they are (`monkey.patch_all(thread=False)`), or run the governor in an event loop with "
                "`async with`"
            )
        try:
            self._thread.start()
        except RuntimeError as error:
            if not is_too_late(error):
                raise
            raise TooLate(
                "the governor cannot run on a background thread, because the interpreter shuts down and starts none any more; "
                "start it before the main thread ends"
            ) from error
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def leave(self) -> None:
        """Returns at once; the context is left soon."""
        self._stop()

    def stop(self) -> None:
        """Returns once the context has been left."""
        self._stop()
        self._thread.join()

    def stop_when(self, is_time: Callable[[], bool]) -> None:
        """Returns at once. From now on looks again and again, on the background thread, whether it is time to stop."""
        self._is_time = is_time
        self._watch()

    def _main(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:
            self._failure = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        watching, stopping = anyio.Event(), anyio.Event()
        post = current_post()

        def watch() -> None:
            # The loop may have ended by itself.
            with suppress(RuntimeError):
                post(watching.set)

        def stop() -> None:
            with suppress(RuntimeError):
                post(stopping.set)
            watch()

        self._stop, self._watch = stop, watch
        async with self._enter():
            self._settled.set()
            await watching.wait()
            while not (stopping.is_set() or self._is_time()):
                with anyio.move_on_after(_LOOK_INTERVAL):
                    await stopping.wait()
