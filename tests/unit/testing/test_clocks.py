"""A test commands the governor's time."""

import math

import anyio
import pytest
from trio.testing import MockClock

from governor import Config, ConfigError, Denied, Governor, Permit
from governor.testing import ManualClock, loop_clock

ONE_PER_MINUTE = Config.from_mapping({"outbound": {"default": {"limits": ["1/minute burst 1"]}}})


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    before = clock(), clock()
    clock.advance(1.5)

    assert (0, 0) == before
    assert 1_500_000 == clock()


def test_a_manual_clock_begins_at_the_given_instant() -> None:
    clock = ManualClock(start=3600)

    assert 3_600_000_000 == clock()
    assert "<ManualClock at 3600.0 s>" == repr(clock)


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan, math.inf])
def test_a_manual_clock_does_not_go_back(seconds: float) -> None:
    clock = ManualClock(start=5)
    with pytest.raises(ConfigError):
        clock.advance(seconds)

    assert 5_000_000 == clock()


@pytest.mark.anyio
async def test_a_manual_clock_decides_what_is_granted() -> None:
    clock = ManualClock()
    async with Governor(ONE_PER_MINUTE, clock=clock) as governor:
        answers = [type(governor.try_permit("weather"))]
        clock.advance(59.999999)
        answers.append(type(governor.try_permit("weather")))
        clock.advance(0.000001)
        answers.append(type(governor.try_permit("weather")))

    assert [Permit, Denied, Permit] == answers


def test_on_a_loop_in_virtual_time_hours_of_waiting_pass_in_a_moment() -> None:
    async def main() -> float:
        async with Governor(ONE_PER_MINUTE, clock=loop_clock()) as governor:
            for _ in range(121):
                async with governor.permit("weather"):
                    pass
            return anyio.current_time()

    hours = anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)}) / 3600

    assert 2.0 == pytest.approx(hours, abs=0.001)


@pytest.mark.anyio
async def test_the_clock_of_a_loop_goes_with_real_time_as_well() -> None:
    clock = loop_clock()
    before = clock()
    await anyio.sleep(0.002)

    assert clock() > before


def test_without_a_loop_the_clock_of_a_loop_stands_still() -> None:
    clock = loop_clock()

    assert clock() == clock()


def test_a_closed_governor_can_be_asked_after_its_loop_has_ended() -> None:
    governor = Governor(ONE_PER_MINUTE, clock=loop_clock())

    async def main() -> None:
        async with governor:
            governor.try_permit("weather")

    anyio.run(main)
    answer = governor.try_permit("weather")

    assert isinstance(answer, Denied)
    assert "shutting_down" == answer.reason
