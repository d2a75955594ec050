"""Lives of a governor, one after another: entering it, leaving it, and whether it runs."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from threading import get_ident
from typing import final

import anyio
from anyio.abc import TaskGroup

from governor._access import Access
from governor._backend import Backend
from governor._background import Background
from governor._life import Life
from governor._listeners import Listeners
from governor._state import LifeState
from governor._threads import run_on_thread
from governor.config import Config, LoggingSettings
from governor.errors import UsageError


class GovernorState(StrEnum):
    """Whether a governor runs."""

    #: Not entered yet, in this process.
    NEW = "new"
    RUNNING = "running"
    #: Left, or its event loop has ended, and not entered again.
    CLOSED = "closed"


@final
class Lives:
    """Begins and ends the lives of one governor, on the current event loop or on a background thread.

    `set_up` makes the backend of a life, on its loop. `on_closed` is called when a life ends, in whichever way. `state` makes
    what a life leaves to the next one, if anything.
    """

    __slots__ = ("_access", "_background", "_closed", "_life", "_listeners", "_on_closed", "_set_up", "_state")

    def __init__(
        self,
        access: Access,
        listeners: Listeners,
        *,
        set_up: Callable[[Life, TaskGroup], Backend],
        on_closed: Callable[[], object],
        state: Callable[[], LifeState | None],
    ) -> None:
        self._access = access
        self._listeners = listeners
        self._set_up = set_up
        self._state = state
        self._on_closed = on_closed
        #: Whether the last life has ended, or its event loop is known to have ended.
        self._closed = False
        self._life: Life | None = None
        self._background: Background | None = None

    @property
    def state(self) -> GovernorState:
        """Whether the governor runs. From another thread than the governor's this may cost a message to its loop."""
        access, life = self._access, self._life
        if access.portal is None or access.process != os.getpid():
            return GovernorState.NEW
        if self._closed or access.portal.ended:
            return GovernorState.CLOSED
        # A loop whose end is not announced is found out only by posting to it.
        known = get_ident() == access.thread or (life is not None and life.is_watched)
        return GovernorState.RUNNING if known or access.portal.alive() else GovernorState.CLOSED

    async def start(self, config: Config) -> None:
        """Begins a life on the current event loop; of a process whose limits a daemon owns, on a background thread.

        The thread of the connection to the daemon runs nothing else, so that leases are reported in time.
        """
        if config.machine.socket is None:
            await self.begin(config.logging)
        else:
            await run_on_thread(partial(self.begin_on_thread, config.logging))

    async def begin(self, logging: LoggingSettings) -> None:
        """Begins a life on the current event loop. Raises `UsageError` if the last one has not ended."""
        life = self._life
        if life is not None and not life.closed and self._access.process == os.getpid() and life.portal.alive():
            raise UsageError("this governor has been entered before and is still running; leave it first, or make a new one")
        if life is not None:
            self._listeners.renew()
        self._listeners.log(logging)
        # Assigned before anything is awaited, so that of two tasks that enter it at the same time only one does.
        self._life = Life(
            self._listeners.announcer,
            set_up=self._begun,
            on_closed=self._ended,
            on_moved=self._moved,
            state=self._state(),
        )
        self._background = None
        self._access.process = os.getpid()
        await self._life.start()

    async def end(self) -> None:
        """Ends the life, wherever it runs, from any task and any loop. Raises the error that made it fail, if there was one."""
        if self._background is not None:
            with anyio.CancelScope(shield=True):
                await run_on_thread(self._background.stop)
        await self._leave()

    def begin_on_thread(self, logging: LoggingSettings) -> None:
        """Begins a life on a background thread. Raises `UsageError` as `begin` does, and where no thread can be started."""

        @asynccontextmanager
        async def lived() -> AsyncIterator[None]:
            await self.begin(logging)
            try:
                yield
            finally:
                await self._leave()

        background = Background(lived)
        background.start()
        self._background = background

    def end_on_thread(self) -> None:
        """Ends a life on a background thread, and returns when it has ended."""
        if self._background is not None:
            self._background.stop()

    def end_when(self, is_time: Callable[[], bool]) -> bool:
        """Ends a life on a background thread once `is_time`. Returns at once; False if there is no such life."""
        if self._background is None:
            return False
        self._background.stop_when(is_time)
        return True

    def forked(self) -> None:
        """In a forked child: the life belongs to the parent."""
        self._listeners.announcer.forked()
        if self._life is not None and self._life.state is not None:
            self._life.state.forked()

    async def _leave(self) -> None:
        life = self._life
        if life is not None and self._access.process == os.getpid():
            await life.stop()
            failure, life.failure = life.failure, None
            if failure is not None:
                raise failure

    def _begun(self, life: Life, tasks: TaskGroup) -> Backend:
        backend = self._set_up(life, tasks)
        self._access.begin(life, backend)
        self._closed = False
        return backend

    def _ended(self, life: Life) -> None:
        if life is self._life:
            self._access.thread, self._access.latest = 0, None
            self._closed = True
            self._on_closed()
            if self._background is not None:
                self._background.leave()

    def _moved(self, life: Life) -> None:
        if life is self._life:
            self._access.thread = life.portal.thread
