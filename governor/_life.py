"""One life of a governor, from entering to leaving: its loop, its actors, and the task in which all their tasks run.

That task belongs to the event loop and to no task of the program. So a life may begin in one task and end in another, and where
a loop cancels what is left when it ends, as `asyncio.run` does, the life ends with it and answers every call that waits. If the
task fails, that is logged, every ask is answered `shutting_down` from then on, and leaving the governor raises the error.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, final

import anyio
from anyio.abc import TaskGroup

from governor._actors.address import Addresses
from governor._actors.event_loop import spawn, when_closed
from governor._actors.portal import Portal, current_post
from governor._backend import Backend
from governor._state import LifeState
from governor._threads import run_on_thread
from governor.instrumentation import Announcer

_log: Final = logging.getLogger("governor")

#: Seconds after which leaving from another loop returns, even if the governor's loop has not finished.
_CLOSE_TIMEOUT: Final = 10.0


@final
class Life:
    """Begins once and ends once.

    `set_up` makes the backend, on the loop; `on_closed` is called once, when the life ends; `on_moved` when another thread has
    begun to run the loop. `state` is what earlier lives have left and this one leaves, if it leaves anything.
    """

    def __init__(
        self,
        announcer: Announcer,
        *,
        set_up: Callable[["Life", TaskGroup], Backend],
        on_closed: Callable[["Life"], object],
        on_moved: Callable[["Life"], object],
        state: LifeState | None = None,
    ) -> None:
        self.announcer = announcer
        #: The actors by method and provider as spelled; emptied when full, at the end, and in a forked child.
        self.addresses: Addresses = {}
        self.portal = Portal(on_gone=self.abandon, on_moved=self._moved)
        #: Why it ended, unless it was left.
        self.failure: BaseException | None = None
        self.closed = False
        self._set_up = set_up
        self.state = state
        self._on_closed = on_closed
        self._on_moved = on_moved
        self._backend: Backend | None = None
        self._begun = anyio.Event()
        self._leave = anyio.Event()
        self._over = anyio.Event()
        #: Wakes the tasks on other loops that wait for the end.
        self._told: list[Callable[[], object]] = []
        self._task: object = None
        self._watch: object = None

    @property
    def is_watched(self) -> bool:
        """Whether this life learns of the end of its loop at once. uvloop and trio do not announce it."""
        return self._watch is not None

    async def start(self) -> None:
        """Returns once the actors live. Raises what kept them from it; then, and if it is cancelled, nothing is left."""
        self._task = spawn(self._run, "governor")
        self._watch = when_closed(self.portal.native, self.abandon)
        try:
            await self._begun.wait()
        except BaseException:
            await self.stop()
            raise
        if self._backend is None and self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        """Ends it, and returns when it has ended; from any task and any loop, and any number of times."""
        portal = self.portal
        if portal.on_loop() or portal.is_paused():
            self.close()
            self._leave.set()
            if portal.on_loop():
                with anyio.CancelScope(shield=True):
                    await self._over.wait()
        elif portal.alive():
            done = anyio.Event()
            self._told.append(partial(current_post(), done.set))
            portal.post(self._leave_here)
            with anyio.CancelScope(shield=True):
                if not await portal.wait(done, _CLOSE_TIMEOUT):
                    self.abandon()

    def close(self) -> None:
        """Answers every call that waits and every later ask; on the thread of the loop."""
        if self.closed:
            return
        self._forget()
        try:
            if self._backend is not None:
                self._backend.close()
        finally:
            self.portal.close()

    def abandon(self) -> None:
        """The loop has ended: calls that wait find out. On any thread, in any place."""
        if not self.closed:
            self._forget()
            self.portal.close()
        if self.state is not None:
            self.state.abandon()

    def _forget(self) -> None:
        self.closed = True
        self._watch = None
        self._on_closed(self)
        self.addresses.clear()

    def _leave_here(self) -> None:
        self.close()
        self._leave.set()
        if self._over.is_set():
            self._tell()

    def _moved(self) -> None:
        if self._backend is not None:
            self._backend.moved()
            self._on_moved(self)

    # The task.

    async def _run(self) -> None:
        try:
            await self._live()
        except GeneratorExit:
            # The loop was thrown away with its tasks, which are collected now: nothing can be waited for.
            self.abandon()
            raise
        except (KeyboardInterrupt, SystemExit, anyio.get_cancelled_exc_class()):
            self._end()
            raise
        except BaseException as error:
            self.failure = error
            if self._backend is not None:
                _log.error("The governor has failed, and shuts down.", exc_info=error)
        self._end()

    def _end(self) -> None:
        self.close()
        self._begun.set()
        self._over.set()
        self._tell()

    async def _live(self) -> None:
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        failure: BaseException | None = None
        cancelled: BaseException | None = None
        try:
            if self.state is not None:
                await run_on_thread(self.state.open)
            if not self.closed:
                self._backend = self._set_up(self, tasks)
                self.announcer.start()
                self._begun.set()
                await self._leave.wait()
        except GeneratorExit:
            raise
        except anyio.get_cancelled_exc_class() as error:
            cancelled = error
        except BaseException as error:
            failure = error
        try:
            self.close()
            tasks.cancel_scope.cancel()
            # Handed only what it must know, a cancellation. An error goes on as it is, not wrapped into a group.
            kind, traceback = (None, None) if cancelled is None else (type(cancelled), cancelled.__traceback__)
            handled = await tasks.__aexit__(kind, cancelled, traceback)
        finally:
            if self.state is not None:
                with anyio.CancelScope(shield=True):
                    await run_on_thread(self.state.finish)
            await self._close_announcer()
        if failure is not None:
            raise failure
        if cancelled is not None and not handled:
            raise cancelled

    async def _close_announcer(self) -> None:
        if self.announcer.at_work:
            with anyio.CancelScope(shield=True):
                await run_on_thread(self.announcer.close)
        else:
            self.announcer.close()

    def _tell(self) -> None:
        while self._told:
            with suppress(RuntimeError):  # Their loop may have gone.
                self._told.pop()()
