"""Where does the governor run in a program without an event loop? On one of its own, on a daemon thread."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from threading import Event, Thread

import anyio

from governor._actors.home import current_post


class Background:
    """Enters an async context manager on a thread of its own, and leaves it there."""

    def __init__(self, enter: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._enter = enter
        self._settled = Event()
        self._failure: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = Thread(target=self._main, name="governor", daemon=True)

    def start(self) -> None:
        """Returns once the context has been entered; raises what went wrong if it could not be."""
        self._thread.start()
        self._settled.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Returns once the context has been left."""
        self._stop()
        self._thread.join()

    def _main(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:
            self._failure = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        stopping = anyio.Event()
        post = current_post()

        def stop() -> None:
            try:
                post(stopping.set)
            except RuntimeError:
                return  # The loop has ended by itself.

        self._stop = stop
        async with self._enter():
            self._settled.set()
            await stopping.wait()
