"""How is the governor asked how things stand, without holding it up?

In small steps, between which its event loop turns to others.
"""

from typing import Final

import anyio
import anyio.lowlevel

from governor import Governor, Statistics, UsageError
from governor.clock import wall_clock
from governor.daemon import figures
from governor.daemon.documents import Status

#: Seconds after which a governor on another thread that does not answer is not waited for.
_PATIENCE: Final = 5.0


class Unreadable(Exception):
    """The governor does not run, or does not answer."""


async def read_statistics(governor: Governor, also: str = "") -> Statistics:
    """The figures, with those of the scope or provider `also` even if it is set aside. Raises `Unreadable`."""
    # On its own loop one that was closed would still answer.
    if not governor.alive():
        raise Unreadable("the governor does not run")
    try:
        with anyio.fail_after(_PATIENCE):
            return await governor.astatistics(also)
    except UsageError as error:
        raise Unreadable(str(error)) from None
    except TimeoutError:
        raise Unreadable("the governor's event loop stands still") from None


async def read_status(governor: Governor) -> Status:
    """The document with everything. Raises `Unreadable`."""
    statistics = await read_statistics(governor)
    steps = figures.status(statistics, governor.config, started_at=governor.started_at, now=wall_clock())
    while (status := next(steps)) is None:
        await anyio.lowlevel.checkpoint()
    return status
