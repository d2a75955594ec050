"""pyrate-limiter, with the strategy that keeps the same kind of limit: a limiter for each scope, as it has no keys."""

from typing import Final

from pyrate_limiter import Duration, Limiter, Rate, StateBucket

from benchmarks.contention.subject import Ask, Doors, Law, Limit, for_everybody, lock_based


def _pyrate(limit: Limit) -> Doors:
    limiters: dict[str, Limiter] = {}

    def wait(scope: str) -> Ask:
        # Told not to block, it denies as well when another thread is just asking: `try_acquire` is used as a wait throughout.
        rate = Rate(limit.per_second, Duration.SECOND, burst=limit.burst)
        limiter = limiters.setdefault(scope, Limiter(StateBucket([rate])))
        return lambda: bool(limiter.try_acquire(scope))

    return for_everybody(wait, wait)


PYRATE_LIMITER: Final = lock_based(_pyrate, law=Law.BUCKET, clock=1_000)
