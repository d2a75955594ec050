"""The cost of the decisions alone: the bare policies, without an actor.

The bucket alone is the floor. All three in turn are the plain way to compose policies, not the cheapest: the governor folds the
breaker into one instant and tells policies only what they can learn from.
"""

from collections.abc import Mapping

from benchmarks.measure import BURST, CAP, RATE, time_pairs
from governor._units import SECOND
from governor.clock import system_clock
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import PLAIN, Grant, Result
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.request_cap import RequestCap, RequestCapPolicy


def gcra(size: int) -> Mapping[str, float]:
    """Read the clock, ask the bucket, spend."""
    bucket = TokenBucketPolicy(TokenBucket(RATE, SECOND, BURST))

    def work(count: int) -> int:
        granted = 0
        for _ in range(count):
            now = system_clock()
            if bucket.earliest(now, PLAIN) <= now:
                bucket.commit(now, PLAIN)
                granted += 1
        return granted

    return time_pairs(work, size)


def gcra_breaker_cap(size: int) -> Mapping[str, float]:
    """Read the clock, ask three policies, spend in all, and tell all of them how it ended."""
    bucket = TokenBucketPolicy(TokenBucket(RATE, SECOND, BURST))
    breaker = BreakerPolicy(Breaker())
    cap = RequestCapPolicy(RequestCap(CAP))

    def work(count: int) -> int:
        granted = 0
        for _ in range(count):
            now = system_clock()
            if breaker.earliest(now, PLAIN) <= now and bucket.earliest(now, PLAIN) <= now and cap.earliest(now, PLAIN) <= now:
                breaker.commit(now, PLAIN)
                bucket.commit(now, PLAIN)
                cap.commit(now, PLAIN)
                grant = Grant(now, breaker.generation)
                granted += 1
                now = system_clock()
                breaker.record(now, grant, Result.SUCCESS)
                bucket.record(now, grant, Result.SUCCESS)
                cap.record(now, grant, Result.SUCCESS)
        return granted

    return time_pairs(work, size)
