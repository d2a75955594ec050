"""aiolimiter, which belongs to one event loop and knows no denial."""

from typing import Final

from aiolimiter import AsyncLimiter

from benchmarks.contention.subject import AskOnLoop, Doors, Law, Limit, lock_based


def leaky(limit: Limit) -> AsyncLimiter:
    """A bucket that holds `burst` and leaks `per_second`."""
    return AsyncLimiter(limit.burst, limit.burst / limit.per_second)


def _aiolimiter(limit: Limit) -> Doors:
    limiters: dict[str, AsyncLimiter] = {}

    def ask_on_loop(scope: str) -> AskOnLoop:
        limiter = limiters.setdefault(scope, leaky(limit))

        async def once() -> bool:
            async with limiter:
                return True

        return once

    return Doors(ask_on_loop)


AIOLIMITER: Final = lock_based(_aiolimiter, law=Law.BUCKET)
