"""Retry and limiter libraries, as their documentation shows them.

`random.random` of the libraries is seeded by the run.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import stamina
import stamina.instrumentation
import tenacity
from aiolimiter import AsyncLimiter
from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

from benchmarks.bans.calls import Call
from benchmarks.bans.contract import ATTEMPTS, DeniedError, Job, Make, send

#: The pauses of the recipe that the documentation of OpenAI gives for tenacity.
_PAUSES: Final = tenacity.wait_random_exponential(min=1, max=60)


class Tenacity:
    """tenacity with random exponential pauses."""

    name = "tenacity"
    title = "tenacity"
    knows = "nothing"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A decorated function."""
        random.seed(job.seed)

        @_retry
        async def once(call: Call) -> None:
            await send(job.wire, call)

        yield _answered(once)


class Stamina:
    """stamina with its default pauses, and with `Retry-After` where the provider says it in seconds."""

    name = "stamina"
    title = "stamina, obeys Retry-After"
    knows = "`Retry-After`"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A decorated function with a backoff hook."""
        random.seed(job.seed)
        stamina.instrumentation.set_on_retry_hooks(())

        def hook(error: Exception) -> bool | float:
            if not isinstance(error, DeniedError):
                return False
            said = error.retry_after
            return float(said) if said is not None and said.isdecimal() else True

        @stamina.retry(on=hook, attempts=ATTEMPTS, timeout=None)
        async def once(call: Call) -> None:
            await send(job.wire, call)

        yield _answered(once)


class AiolimiterTenacity:
    """aiolimiter, a leaky bucket, before each attempt of tenacity."""

    name = "aiolimiter"
    title = "aiolimiter + tenacity"
    knows = "the rate of requests"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A decorated function that asks the limiter."""
        random.seed(job.seed)
        amount, seconds = job.scenario.rate
        limiter = AsyncLimiter(amount, seconds)

        @_retry
        async def once(call: Call) -> None:
            async with limiter:
                pass
            await send(job.wire, call)

        yield _answered(once)


class PyrateTenacity:
    """pyrate-limiter, a sliding window, before each attempt of tenacity."""

    name = "pyrate"
    title = "pyrate-limiter + tenacity"
    knows = "the rate of requests"

    @asynccontextmanager
    async def open(self, job: Job) -> AsyncIterator[Make]:
        """A decorated function that asks the limiter."""
        random.seed(job.seed)
        amount, seconds = job.scenario.rate
        limiter = Limiter(InMemoryBucket([Rate(amount, round(seconds * Duration.SECOND))]))

        @_retry
        async def once(call: Call) -> None:
            await limiter.try_acquire_async("call")
            await send(job.wire, call)

        try:
            yield _answered(once)
        finally:
            limiter.close()


_retry = tenacity.retry(
    retry=tenacity.retry_if_exception_type(DeniedError), wait=_PAUSES, stop=tenacity.stop_after_attempt(ATTEMPTS), reraise=True
)


def _answered(once: "tenacity.WrappedFn") -> Make:
    async def make(call: Call) -> bool:
        try:
            await once(call)
        except DeniedError:
            return False
        return True

    return make
