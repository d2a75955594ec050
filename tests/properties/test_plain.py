"""Plain spending is `commit` of every limit and of the cap, written out: the same state after every history."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from governor import Config, Governor, Permit
from governor._units import DAY, SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Limit, LimitPolicy, Request, Result
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.limits import build
from governor.policies.plain import PlainSpending
from governor.policies.request_cap import WINDOW, RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow
from tests.support import tape as st
from tests.support.build_history import History
from tests.support.governors import actor_of
from tests.support.tape import given

#: The limit of a class that is not known, and is spent by its own code.
UNKNOWN: Final = TokenBucket(2, Duration(SECOND), 3)
LIMITS: Final[tuple[Limit, ...]] = (
    UNKNOWN,
    TokenBucket(3, Duration(SECOND), 5),
    TokenBucket(1_000_000, Duration(SECOND), 2),
    TokenBucket(7, Duration(SECOND), 3, "tokens"),
    # Full or empty within microseconds; and with numbers that do not fit in 64 bits.
    TokenBucket(1, Duration(2), 3),
    TokenBucket(999_999_999_989, DAY, 3),
    StrictWindow(4, Duration(SECOND)),
    InFlight(3),
)
#: Under the first two caps each instant has an entry of its own, under the last one grants within 15 ms share one.
CAPS: Final = st.sampled_from([4, 4096, 100_000])
GAPS: Final = st.sampled_from([0, 1, 300, -1, -300]) | st.sampled_from([0, 20_000, SECOND, WINDOW - 1, WINDOW])


class UnknownBucket(TokenBucketPolicy):
    """A bucket with code of a user."""


class World:
    """Limits and a cap, in which a plain request is spent one policy after the other, or in all at once."""

    def __init__(self, limits: list[Limit], cap: int) -> None:
        self.limits: list[LimitPolicy] = [UnknownBucket(UNKNOWN) if limit is UNKNOWN else build(limit) for limit in limits]
        self.cap = RequestCapPolicy(RequestCap(cap))
        self.plain = PlainSpending(tuple(self.limits), self.cap)

    @property
    def ready(self) -> int:
        return max(self.cap.ready, *(limit.ready for limit in self.limits), 0)

    def spend(self, now: Instant) -> int:
        for limit in self.limits:
            limit.commit(now, PLAIN)
        self.cap.commit(now, PLAIN)
        return max((policy.ready for policy in self.limits if policy.ready > now), default=0)

    def state(self, now: Instant) -> object:
        cap = self.cap
        limits = [(limit.state(), limit.ready, limit.earliest(now, PLAIN)) for limit in self.limits]
        # What it grants first: later answers cannot tell whether that one saw what was counted down.
        return limits, cap.earliest(now, Request(3)), cap.warns, cap.ready, cap.used(now), cap.leasable(now), cap.state()


def buckets(world: World) -> list[TokenBucketPolicy]:
    """The buckets that plain requests are spent in."""
    return [limit for limit in world.limits if isinstance(limit, TokenBucketPolicy) and limit.plain]


def lease_one(world: World, now: Instant) -> None:
    for bucket in buckets(world):
        if bucket.leasable(now):
            bucket.lease(now, 1)


def reclaim_one(world: World, now: Instant) -> None:
    for bucket in buckets(world):
        if bucket._leased:
            bucket.reclaim(now, 1)


#: What else happens to a cap and to limits.
EVENTS: Final[tuple[Callable[[World, Instant, Instant], object], ...]] = (
    lambda world, now, _: world.cap.commit(now, Request(world.cap.left - 2)) if world.cap.left > 2 else None,
    lambda world, now, before: world.cap.refund(now, Grant(before, 0), None),
    lambda world, now, _: world.cap.lease(now, min(2, world.cap.leasable(now))),
    lambda world, now, _: world.cap.collect(now, min(1, world.cap.leased)),
    lambda world, now, _: world.cap.reclaim(now, world.cap.leased),
    lambda world, *_: world.cap.watch(on=not world.cap.watching),
    lambda world, *_: world.cap.reconfigure(RequestCap(5_000)),
    lambda world, *_: world.cap.restore(world.cap.state()),
    lambda world, now, before: [limit.record(now, Grant(before, 0), Result.SUCCESS) for limit in world.limits],
    lambda world, now, before: [limit.refund(now, Grant(before, 0), None) for limit in world.limits],
    lambda world, now, _: lease_one(world, now),
    lambda world, now, _: reclaim_one(world, now),
    lambda world, now, _: world.state(now),
)
SPENDS: Final = len(EVENTS)
STEPS: Final = st.lists(st.tuples(GAPS, st.just(SPENDS) | st.integers(0, SPENDS)), max_size=40)


@given(limits=st.lists(st.sampled_from(LIMITS), max_size=3, unique=True), cap=CAPS, steps=STEPS)
def test_a_plain_request_spends_what_it_would_spend_in_each_policy(
    limits: list[Limit], cap: int, steps: list[tuple[int, int]]
) -> None:
    one, other = World(limits, cap), World(limits, cap)
    now = before = Instant(10 * DAY)
    for gap, event in steps:
        now = Instant(now + gap)
        if event < SPENDS:
            for world in (one, other):
                EVENTS[event](world, now, before)
        elif now >= one.ready:
            assert one.spend(now) == other.plain.commit(now)
            before = now
        assert one.ready == other.ready

    assert one.state(now) == other.state(now)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_bucket_that_is_spent_without_a_call_has_the_history_that_it_has_with_one(seed: int) -> None:
    one, other = History(seed), History(seed)

    async def both() -> None:
        async with one.governor, other.governor:
            for _ in range(300):
                for actor in other.actors():
                    actor._bucket = None

                assert await one.step() == await other.step()
            one.end_all()
            other.end_all()

    asyncio.run(both())


@pytest.mark.anyio
async def test_a_grant_in_a_signal_handler_stays_the_latest_in_the_cap() -> None:
    async with Governor(Config.from_mapping({"global": {"requests_per_minute": 100_000}})) as governor:
        for scope in ("weather", "news", "weather"):
            governor.try_permit(scope)
        actor = actor_of(governor, "weather")
        clock = actor._clock

        def interrupted() -> Instant:
            """A signal is handled as soon as the clock has been read."""
            now = clock()
            while clock() == now:
                pass
            governor.try_permit("news")
            return now

        actor._clock = interrupted
        permit = governor.try_permit("weather")

        assert isinstance(permit, Permit)
        assert permit._granted_at < actor._cap.latest


@pytest.mark.parametrize("second", [9, 10, 20, 40, 10**7])
def test_a_bucket_with_numbers_beyond_64_bits_is_exact(second: int) -> None:
    one, other = World([TokenBucket(999_999_999_989, DAY, 3)], 4), World([TokenBucket(999_999_999_989, DAY, 3)], 4)
    now = Instant(second * SECOND)
    assert one.spend(now) == other.plain.commit(now)

    assert one.state(now) == other.state(now)


def test_a_tat_beyond_64_bits_is_exact_while_now_is_within_them() -> None:
    limit = TokenBucket(10_675_199, DAY, 5)
    one, other = World([limit], 9), World([limit], 9)
    now = Instant(10 * DAY)
    for world in (one, other):
        for bucket in buckets(world):
            bucket.move(now * bucket.ticks + 3 * bucket.plain)
            assert now * bucket.ticks + bucket.plain < 2**63 < bucket.tat
    for _ in range(2):
        assert one.spend(now) == other.plain.commit(now)
        assert one.state(now) == other.state(now)


class FailingPolicy(InFlightPolicy):
    """A limit whose code has a bug."""

    def commit(self, now: Instant, request: Request) -> int:
        raise ZeroDivisionError


class FailingCap(RequestCapPolicy):
    """A cap whose code has a bug."""

    def commit(self, now: Instant, request: Request) -> int:
        raise ZeroDivisionError


def test_where_a_limit_or_the_cap_fails_nothing_is_spent_and_nothing_is_refunded_that_was_not() -> None:
    now, parameters = Instant(10 * DAY), (TokenBucket(3, Duration(SECOND), 5), StrictWindow(4, Duration(SECOND)), InFlight(3))
    for failing, cap in (
        (FailingPolicy(InFlight(3)), RequestCapPolicy(RequestCap(4))),
        (build(InFlight(3)), FailingCap(RequestCap(4))),
    ):
        limits = (*map(build, parameters), failing)
        with pytest.raises(ZeroDivisionError):
            PlainSpending(limits, cap).commit(now)

        assert [5, 4, 3, 3] == [limit.available(now) for limit in limits]
