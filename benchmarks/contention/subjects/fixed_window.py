"""limits, with the fastest of its strategies."""

from typing import Final

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from benchmarks.contention.subject import Ask, Doors, Law, Limit, for_everybody, lock_based


def hits(limit: Limit, scope: str, limiter: FixedWindowRateLimiter) -> Ask:
    """One hit in this scope."""
    item = RateLimitItemPerSecond(limit.per_second)
    return lambda: limiter.hit(item, scope)


def _limits(limit: Limit) -> Doors:
    limiter = FixedWindowRateLimiter(MemoryStorage())
    return for_everybody(lambda scope: hits(limit, scope, limiter))


LIMITS: Final = lock_based(_limits, law=Law.WINDOW)
