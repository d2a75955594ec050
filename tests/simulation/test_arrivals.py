"""Long calls, and calls that are given up, in virtual time: what arrives at a provider that counts at arrival."""

from bisect import bisect_left
from collections.abc import Mapping
from random import Random

import pytest
import trio

from governor import Config, Governor
from governor.testing import loop_clock

pytestmark = pytest.mark.anyio

MANY = 10**9
#: Seconds of calls, so that the longest calls come more than once.
LASTS = 900


def governed(scope: Mapping[str, object], provider: Mapping[str, object] | None = None) -> Governor:
    everywhere = {"requests_per_minute": MANY, "degraded_after_failures": MANY}
    section = {"breaker": {"failures": MANY}, **scope}
    mapping = {"global": everywhere, "outbound": {"llm": section}, "provider": {"llm": provider or {}}}
    return Governor(Config.from_mapping(mapping), clock=loop_clock())


def most_within(arrivals: list[float], seconds: float) -> int:
    """The most arrivals within a window of the provider, wherever that begins."""
    arrivals = sorted(arrivals)
    return max(bisect_left(arrivals, at + seconds - 1e-7) - index for index, at in enumerate(arrivals))


@pytest.mark.promise("R02")
@pytest.mark.parametrize(("seconds", "of_provider"), [(1, False), (30, False), (300, False), (600, False), (300, True)])
async def test_a_strict_window_gives_its_rate_whatever_calls_take(seconds: int, of_provider: bool) -> None:
    limits = ["60 per minute strict"]
    governor = governed({"limits": []}, {"limits": limits}) if of_provider else governed({"limits": limits})
    arrivals: list[float] = []
    random = Random(seconds)

    async def caller(governor: Governor) -> None:
        while True:
            async with governor.permit("llm"):
                way = random.choice([0.0, 2.0, random.random() * 2])
                arrivals.append(trio.current_time() + way)
                await trio.sleep(max(seconds, way))

    start = trio.current_time()
    async with governor, trio.open_nursery() as nursery:
        for _ in range(700):
            nursery.start_soon(caller, governor)
        await trio.sleep(LASTS)
        nursery.cancel_scope.cancel()

    assert most_within(arrivals, 60) <= 60
    assert sum(at < start + LASTS for at in arrivals) >= 0.95 * LASTS


@pytest.mark.promise("R02")
async def test_counted_by_outcome_a_use_takes_its_place_for_as_long_as_the_call() -> None:
    granted = 0

    async def caller(governor: Governor) -> None:
        nonlocal granted
        while True:
            async with governor.permit("llm"):
                granted += 1
                await trio.sleep(60)

    async with governed({"limits": ["60 per minute strict"], "counted": "outcome"}) as governor, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(caller, governor)
        await trio.sleep(1199)
        nursery.cancel_scope.cancel()

    assert 600 == granted


@pytest.mark.promise("R02")
@pytest.mark.parametrize(
    ("scope", "way", "work"),
    [
        ({"limits": ["20 per 1s strict"]}, 0.2, 0.0),
        ({"limits": ["5 in flight"]}, 0.0, 1.0),
        ({"limits": ["5 in flight"], "linger": "3s", "arrival_margin": "300ms"}, 0.3, 3.0),
    ],
)
async def test_calls_that_are_given_up_still_arrive_and_are_still_worked_on(
    scope: Mapping[str, object], way: float, work: float
) -> None:
    arrivals: list[float] = []
    ends: list[tuple[float, int]] = []
    random = Random(7)
    start = trio.current_time()

    async def caller(governor: Governor) -> None:
        while trio.current_time() < start + 30:
            async with governor.permit("llm"):
                at = trio.current_time() + random.random() * way
                arrivals.append(at)
                ends.extend([(at, 1), (at + work, -1)])
                with trio.move_on_after(0.05) as patience:
                    await trio.sleep(at + work - trio.current_time())
                if patience.cancelled_caught:
                    raise TimeoutError

    async def insist(governor: Governor) -> None:
        while trio.current_time() < start + 30:
            try:
                await caller(governor)
            except TimeoutError:
                pass

    async with governed(scope) as governor, trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(insist, governor)

    at_work, most = 0, 0
    for _, change in sorted(ends):
        at_work += change
        most = max(most, at_work)
    assert len(arrivals) > 40
    if work:
        assert most <= 5
    else:
        assert most_within(arrivals, 1) <= 20
