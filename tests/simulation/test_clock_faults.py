"""The governor keeps its limits and no call hangs when the clock misbehaves.

The governor's clock and the loop's clock are two: the first decides, the second wakes up those who wait.
"""

import math

import anyio
import pytest

from governor import Config, Denied, Governor, Permit, PermitDenied, RateLimited
from governor._units import Instant
from governor.clock import Clock, steady_clock
from tests.support.answers import granted

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R02", "R55")]

DAY = 86_400.0


class FaultyClock:
    """The loop's time in seconds, plus an error that a test sets; or one reading over and over."""

    def __init__(self) -> None:
        self.error = 1000.0
        self.stuck: float | None = None
        self.readings = 0

    def seconds(self) -> float:
        self.readings += 1
        return anyio.current_time() + self.error if self.stuck is None else self.stuck

    def stand_still(self) -> None:
        self.stuck = self.seconds()

    def go_on(self) -> None:
        """From where it stood."""
        assert self.stuck is not None
        self.error = self.stuck - anyio.current_time()
        self.stuck = None

    def raw(self) -> Instant:
        """The same as an `Instant`, which only the governor steadies."""
        return Instant(max(0, math.floor(self.seconds() * 1_000_000)))


CLOCKS = ["steady", "raw"]


def governed(faulty: FaultyClock, kind: str, *limits: str, **global_: object) -> Governor:
    clock: Clock = steady_clock(faulty.seconds) if kind == "steady" else faulty.raw
    return Governor(Config.from_mapping({"global": global_, "outbound": {"default": {"limits": limits}}}), clock=clock)


def count(governor: Governor, scope: str = "weather") -> int:
    """How many permits there are at this instant."""
    permits = 0
    while isinstance(governor.try_permit(scope), Permit):
        permits += 1
        assert permits < 1000
    return permits


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_clock_that_stands_still_grants_nothing_more(kind: str) -> None:
    faulty = FaultyClock()
    async with governed(faulty, kind, "1/s burst 5", "50 per minute strict") as governor:
        faulty.stand_still()
        first = count(governor)
        await anyio.sleep(DAY)
        second = count(governor)
        faulty.go_on()
        await anyio.sleep(2)
        third = count(governor)

    assert (5, 0, 2) == (first, second, third)


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("limit", ["1/minute burst 1", "1 per minute strict", "1 in flight"])
async def test_a_clock_that_stands_still_keeps_no_call_beyond_its_timeout(kind: str, limit: str) -> None:
    faulty = FaultyClock()
    async with governed(faulty, kind, limit) as governor:
        holder = granted(governor.try_permit("weather"))
        faulty.stand_still()
        began = anyio.current_time()
        with pytest.raises(PermitDenied):
            async with governor.permit("weather", timeout=90):
                pass
        waited = anyio.current_time() - began
        holder.give_back()

    assert waited <= 90.001


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_call_that_waited_while_the_clock_stood_still_is_served_once_it_goes_on(kind: str) -> None:
    faulty = FaultyClock()
    async with governed(faulty, kind, "1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        served: list[float] = []
        tasks.start_soon(_wait, governor, served)
        await anyio.sleep(20)
        faulty.stand_still()
        await anyio.sleep(3600)
        faulty.go_on()
        before = list(served)

    assert [] == before
    assert served[0] - 3620 <= 61


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_clock_that_stands_still_does_not_keep_the_loop_busy(kind: str) -> None:
    """In virtual time a loop that never sleeps would never get anywhere."""
    faulty = FaultyClock()
    async with governed(faulty, kind, "1/ms burst 1") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        served: list[float] = []
        faulty.stand_still()
        tasks.start_soon(_wait, governor, served)
        await anyio.sleep(10)
        before = faulty.readings
        await anyio.sleep(1)
        readings = faulty.readings - before
        faulty.go_on()

    assert 1 == len(served)
    assert readings < 1000


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_clock_that_jumps_ahead_a_day_grants_one_burst_and_no_more(kind: str) -> None:
    faulty = FaultyClock()
    async with governed(faulty, kind, "1/minute burst 5", requests_per_minute=1000) as governor:
        first = count(governor)
        faulty.error += DAY
        second = count(governor)
        used = governor.statistics().requests_last_minute

    assert (5, 5, 5) == (first, second, used)


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_call_that_waits_when_the_clock_jumps_ahead_is_served_when_it_was_promised(kind: str) -> None:
    faulty = FaultyClock()
    async with governed(faulty, kind, "1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        served: list[float] = []
        for _ in range(3):
            tasks.start_soon(_wait, governor, served)
        await anyio.sleep(30)
        faulty.error += DAY
        denied = governor.try_permit("weather")

    assert isinstance(denied, Denied)
    assert served[0] <= 60.001
    assert served == sorted(served)
    assert served[-1] <= 180.01


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("back", [0.5, 30.0, DAY])
async def test_a_clock_that_goes_back_grants_nothing_twice(kind: str, back: float) -> None:
    faulty = FaultyClock()
    faulty.error = 2 * DAY
    async with governed(faulty, kind, "1/s burst 5", "20 per minute strict") as governor:
        total = count(governor)
        for _ in range(50):
            faulty.error -= back
            total += count(governor)

    assert 5 == total


@pytest.mark.parametrize("kind", CLOCKS)
@pytest.mark.parametrize("back", [0.5, 30.0, DAY])
async def test_a_clock_that_goes_back_makes_no_call_wait_until_it_has_caught_up(kind: str, back: float) -> None:
    faulty = FaultyClock()
    faulty.error = 2 * DAY
    async with governed(faulty, kind, "1/minute burst 1") as governor:
        granted(governor.try_permit("weather"))
        faulty.error -= back
        refusal = governor.try_permit("weather")
        served: list[float] = []
        await _wait(governor, served)

    assert isinstance(refusal, Denied)
    assert refusal.retry_after is not None
    assert refusal.retry_after <= 60.0
    assert served[0] <= 60.001


@pytest.mark.parametrize("kind", CLOCKS)
async def test_a_clock_that_goes_back_costs_a_waiting_call_at_most_the_time_until_it_is_noticed(kind: str) -> None:
    faulty = FaultyClock()
    faulty.error = 2 * DAY
    async with governed(faulty, kind, "1/minute burst 1") as governor, anyio.create_task_group() as tasks:
        granted(governor.try_permit("weather"))
        served: list[float] = []
        tasks.start_soon(_wait, governor, served)
        await anyio.sleep(30)
        faulty.error -= DAY
        with pytest.raises(RateLimited):
            async with governor.permit("weather", timeout=10):
                pass

    assert served[0] <= 120.001


async def _wait(governor: Governor, served: list[float]) -> None:
    async with governor.permit("weather"):
        served.append(anyio.current_time())
