"""The ways to a permit from where the governor's loop does not run: a thread, and event loops of asyncio and trio."""

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio

from governor import Governor, PermitDenied, UsageError
from tests.support.waits import PATIENCE

#: What came of it: the type of the error, or None for a permit.
Answer = type[Exception] | None


def block(governor: Governor, scope: str = "weather", timeout: float | None = None, use: Callable[[], object] = int) -> Answer:
    """Waits on this thread, and calls `use` while it has the permit."""
    try:
        with governor.permit(scope, timeout=timeout):
            use()
    except (PermitDenied, UsageError) as error:
        return type(error)
    return None


async def wait(
    governor: Governor, scope: str = "weather", timeout: float | None = None, use: Callable[[], object] = int
) -> Answer:
    """The same in a task."""
    try:
        with anyio.fail_after(PATIENCE):
            async with governor.permit(scope, timeout=timeout):
                use()
    except (PermitDenied, UsageError) as error:
        return type(error)
    return None


def wait_on(
    backend: str,
    governor: Governor,
    scope: str = "weather",
    timeout: float | None = None,
    use: Callable[[], object] = int,
) -> Answer:
    """The same on a loop of its own."""
    return anyio.run(wait, governor, scope, timeout, use, backend=backend)


ELSEWHERE: Final[dict[str, Callable[..., Answer]]] = {
    "thread": block,
    "asyncio": partial(wait_on, "asyncio"),
    "trio": partial(wait_on, "trio"),
}


def waiting(governor: Governor, scope: str = "weather") -> int:
    """How many wait for the scope."""
    return governor.statistics().scopes[scope].waiting
