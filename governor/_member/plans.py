"""Plan of a retry that the daemon makes: waited for by a thread, or by a task on another loop."""

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import final

import anyio

from governor._actors.portal import Portal, current_post
from governor.messages import RetryPlan


@final
class PlanToCome:
    """See `governor._actors.address.PlanToCome`. `give` is called on the thread of the connection, at most once."""

    __slots__ = ("_done", "_lock", "_plan", "_wake")

    def __init__(self) -> None:
        self._plan: RetryPlan | None = None
        self._wake: Callable[[], object] = _nothing
        self._lock = Lock()
        self._done = False

    def give(self, plan: RetryPlan) -> None:
        """The plan has come."""
        with self._lock:
            self._plan, self._done = plan, True
            wake = self._wake
        try:
            wake()
        except RuntimeError:
            pass  # The loop of the call has ended.

    def wait_blocking(self, portal: Portal, timeout: float) -> RetryPlan:
        """The plan. Raises `TimeoutError`."""
        done = Lock()
        done.acquire()
        if not self._wakes(done.release):
            portal.wait_blocking(done, timeout)
        return self._result()

    async def wait(self, portal: Portal, timeout: float) -> RetryPlan:
        """The same for a task on another loop."""
        done = anyio.Event()
        if not self._wakes(partial(current_post(), done.set)):
            await portal.wait(done, timeout)
        return self._result()

    def _wakes(self, wake: Callable[[], object]) -> bool:
        """Has `wake` called when the plan comes. True if it is there."""
        with self._lock:
            self._wake = wake
            return self._done

    def _result(self) -> RetryPlan:
        if self._plan is None:
            raise TimeoutError("the daemon does not answer")
        return self._plan


def _nothing() -> None:
    """No call waits yet."""
