"""The naive client: whatever went wrong, it sends again after a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import ATTEMPTS, DeniedError, Job, Make, send

_PAUSE: Final = 1.0


class Naive:
    """Retries at once, in a loop."""

    name = "naive"
    title = "naive retries, 1 s apart"
    knows = "nothing"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A loop of attempts."""

        async def make(call: Call) -> bool:
            for attempt in range(ATTEMPTS):
                if attempt:
                    await asyncio.sleep(_PAUSE)
                try:
                    await send(job.wire, call)
                except DeniedError:
                    continue
                return True
            return False

        yield make
