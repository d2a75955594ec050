"""The governor, through its transport for httpx2: with what the provider documents, and without any knowledge."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import Job, Make, request_of
from governor import Config, Governor, Instant, PermitDenied
from governor_client import AsyncGovernedTransport

#: How often the program makes a call again that the governor has retried, and that was answered with an error all the same.
_ROUNDS: Final = 3


def unknown(provider: str) -> Mapping[str, object]:
    """The settings without any knowledge of a provider.

    The built-in cap of 1,000 requests a minute is none of its limits, and neither are the limits that are built in for some.
    """
    return {
        "global": {"requests_per_minute": "off"},
        "provider": {"default": {"unknown": "adaptive"}},
        "outbound": {"default": {"limits": []}, provider: {"limits": []}},
    }


class Governed:
    """A client under a governor. Where a permit is denied, the program makes the call again when the denial says."""

    def __init__(self, *, known: bool) -> None:
        self._known = known
        self.name = "governor" if known else "governor-unknown"
        self.title = "governor, limits known" if known else "governor, limits unknown"
        self.knows = "the limits" if known else "nothing"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A governor on the loop of the run, and a transport under it."""

        def clock() -> Instant:
            return Instant(job.clock.now)

        policy = job.scenario.policy if self._known else unknown(job.scenario.provider_name)
        async with Governor(Config.from_mapping(policy), clock=clock, random=Random(job.seed)) as governor:
            wire = AsyncGovernedTransport(
                job.scenario.provider_name, governor=governor, transport=job.wire, wait=None, clock=clock
            )

            async def make(call: Call) -> bool:
                rounds = 0
                while rounds < _ROUNDS:
                    try:
                        response = await wire.handle_async_request(request_of(call))
                        await response.aread()
                    except PermitDenied as denial:
                        if denial.retry_after is None:
                            return False
                        await asyncio.sleep(denial.retry_after)
                        continue
                    if response.status_code < 400:
                        return True
                    rounds += 1
                return False

            yield make
