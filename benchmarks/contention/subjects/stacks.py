"""What is put together today: a limiter, a circuit breaker and retries around a call, which here does nothing."""

from collections.abc import Callable
from typing import Final

import pybreaker
import stamina
import tenacity
from aiolimiter import AsyncLimiter
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from purgatory import AsyncCircuitBreakerFactory

from benchmarks.contention.subject import Ask, AskOnLoop, Doors, Law, Limit, for_everybody, lock_based
from benchmarks.contention.subjects.fixed_window import hits
from benchmarks.contention.subjects.leaky_bucket import leaky
from benchmarks.contention.subjects.throttled_gcra import throttle

#: What is worth another try; the call never raises it.
_RETRIED: Final = ConnectionError
_ATTEMPTS: Final = 3


class _DeniedError(Exception):
    """The limiter said no."""


def _call() -> bool:
    return True


def _limits_pybreaker_tenacity(limit: Limit) -> Doors:
    limiter = FixedWindowRateLimiter(MemoryStorage())
    retry = tenacity.retry(
        retry=tenacity.retry_if_exception_type(_RETRIED),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(),
        reraise=True,
    )
    return _stack(lambda scope: hits(limit, scope, limiter), retry)


def _throttled_pybreaker_stamina(limit: Limit) -> Doors:
    throttled = throttle(limit)

    def ask(scope: str) -> Ask:
        return lambda: not throttled.limit(scope).limited

    return _stack(ask, stamina.retry(on=_RETRIED, attempts=_ATTEMPTS))


def _stack(admits: Callable[[str], Ask], retry: Callable[[Ask], Ask]) -> Doors:
    breakers: dict[str, pybreaker.CircuitBreaker] = {}

    def ask(scope: str) -> Ask:
        admit = admits(scope)
        breaker = breakers.setdefault(scope, pybreaker.CircuitBreaker())

        @retry
        def call() -> bool:
            if not admit():
                raise _DeniedError
            return breaker.call(_call)

        def once() -> bool:
            try:
                return call()
            except _DeniedError:
                return False

        return once

    return for_everybody(ask)


def _aiolimiter_purgatory_stamina(limit: Limit) -> Doors:
    limiters: dict[str, AsyncLimiter] = {}
    breakers = AsyncCircuitBreakerFactory()

    def ask_on_loop(scope: str) -> AskOnLoop:
        limiter = limiters.setdefault(scope, leaky(limit))

        @stamina.retry(on=_RETRIED, attempts=_ATTEMPTS)
        async def call() -> bool:
            async with limiter, await breakers.get_breaker(scope):
                return _call()

        return call

    return Doors(ask_on_loop)


LIMITS_PYBREAKER_TENACITY: Final = lock_based(_limits_pybreaker_tenacity, law=Law.WINDOW)
THROTTLED_PYBREAKER_STAMINA: Final = lock_based(_throttled_pybreaker_stamina, law=Law.BUCKET)
AIOLIMITER_PURGATORY_STAMINA: Final = lock_based(_aiolimiter_purgatory_stamina, law=Law.BUCKET)
