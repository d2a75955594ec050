"""throttled-py, with the strategy that keeps the same kind of limit, and is its fastest."""

from typing import Final

from throttled import MemoryStore, RateLimiterType, Throttled, per_sec

from benchmarks.contention.subject import Ask, Doors, Law, Limit, for_everybody, lock_based

#: The maximum wait of a thread in seconds, which is never reached.
_TIMEOUT: Final = 60.0


def throttle(limit: Limit) -> Throttled:
    """One for all scopes."""
    quota = per_sec(limit.per_second, burst=limit.burst)
    return Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=MemoryStore())


def _throttled(limit: Limit) -> Doors:
    throttled = throttle(limit)

    def ask(scope: str) -> Ask:
        return lambda: not throttled.limit(scope).limited

    def wait(scope: str) -> Ask:
        return lambda: not throttled.limit(scope, timeout=_TIMEOUT).limited

    return for_everybody(ask, wait)


THROTTLED: Final = lock_based(_throttled, law=Law.BUCKET)
