"""What one writes with locks: the textbook, and an engine for the whole job."""

from time import sleep
from typing import Final

from benchmarks.contenders.lock_engine import LockEngine, Settings
from benchmarks.contenders.textbook import TextbookLimiter
from benchmarks.contention.subject import Ask, Doors, Law, Limit, for_everybody, lock_based
from benchmarks.measure import CAP


def _textbook(limit: Limit) -> Doors:
    limiter = TextbookLimiter(limit.per_second, limit.burst)

    def ask(scope: str) -> Ask:
        return lambda: limiter.acquire(scope)

    return for_everybody(ask)


def _lock_engine(limit: Limit) -> Doors:
    engine = LockEngine(Settings(rate=limit.per_second, burst=limit.burst, cap=CAP))

    def ask(scope: str) -> Ask:
        def once() -> bool:
            if engine.check(scope, "GET").allowed:
                engine.record(scope, "GET", 200)
                return True
            return False

        return once

    def wait(scope: str) -> Ask:
        def until_granted() -> bool:
            while not (decision := engine.check(scope, "GET")).allowed:
                sleep(decision.retry_after)
            engine.record(scope, "GET", 200)
            return True

        return until_granted

    return for_everybody(ask, wait)


TEXTBOOK: Final = lock_based(_textbook, law=Law.BUCKET)
LOCK_ENGINE: Final = lock_based(_lock_engine, law=Law.BUCKET)
