"""The alarm of an actor: rings once, at the time that was set last, with as few moves of its timer as that takes."""

import math

import anyio
import pytest
import trio.testing

from governor._actors.alarm import Alarm
from tests.support.portals import StillPortal


def rings(*moves: tuple[float, float]) -> tuple[list[float], list[float]]:
    """When an alarm rings that is set to the second time at the first one, and the deadlines that its timers were given."""
    rang: list[float] = []
    deadlines: list[float] = []

    async def main() -> None:
        start = trio.current_time()
        alarm = Alarm(StillPortal(trio.current_time), lambda: rang.append(trio.current_time() - start))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarm.run)
            for at, to in moves:
                await anyio.sleep_until(start + at)
                alarm.set(start + to)
                if alarm._timer is not None:
                    deadlines.append(alarm._timer.deadline - start)
            await anyio.sleep(100)
            alarm.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return rang, deadlines


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        (((1, 10),), [10]),
        (((1, 10), (2, 20)), [20]),
        (((1, 10), (2, 20), (12, 30)), [30]),
        (((1, 10), (2, 20), (3, 5)), [5]),
        (((1, 10), (2, 20), (12, 14)), [14]),
        (((1, 10), (2, math.inf)), []),
        (((1, 10), (11, 12)), [10, 12]),
    ],
)
def test_an_alarm_rings_once_at_the_time_that_was_set_last(
    moves: tuple[tuple[float, float], ...], expected: list[float]
) -> None:
    rang, _ = rings(*moves)

    assert expected == pytest.approx(rang)


def test_an_alarm_that_is_set_later_leaves_its_timer_alone() -> None:
    _, deadlines = rings((1, 10), (2, 20), (3, 15), (4, 5))

    assert [10, 10, 10, 5] == pytest.approx(deadlines)
