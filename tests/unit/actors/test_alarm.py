"""Alarms of actors: each rings once, at the time that was set last, with as few moves of the timer as that takes."""

import math
from collections.abc import Callable
from functools import partial

import anyio
import pytest
import trio.testing

from governor._actors.alarm import MAX_RUNG, Alarm, Alarms
from tests.support.portals import StillPortal


class Sleeper:
    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring

    def ring(self) -> None:
        self._ring()


def rings(*moves: tuple[float, float]) -> tuple[list[float], list[float]]:
    """When an alarm rings that is set to the second time at the first one, and the deadlines that its timers were given."""
    rang: list[float] = []
    deadlines: list[float] = []

    async def main() -> None:
        start = trio.current_time()
        alarms = Alarms(StillPortal(trio.current_time))
        alarm = Alarm(alarms, Sleeper(lambda: rang.append(trio.current_time() - start)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarms.run)
            for at, to in moves:
                await anyio.sleep_until(start + at)
                alarm.set(start + to)
                if alarms._timer is not None:
                    deadlines.append(alarms._timer.deadline - start)
            await anyio.sleep(100)
            tasks.cancel_scope.cancel()

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


def test_places_of_alarms_that_were_moved_are_dropped_and_each_of_many_rings_once() -> None:
    now, rang = 0.0, list[int]()
    alarms = Alarms(StillPortal(lambda: now))
    many = [Alarm(alarms, Sleeper(partial(rang.append, number))) for number in range(3 * MAX_RUNG)]
    for at in range(100, 0, -1):  # Each time earlier.
        for alarm in many:
            alarm.set(at)
    places = len(alarms._heap)
    many[0].set(math.inf)
    many[1].set(50)
    now = 10.0
    turns = 1
    while alarms.ring_due():
        turns += 1
    once = sorted(rang)
    now = 60.0
    alarms.ring_due()

    assert places <= 2 * len(many) + MAX_RUNG
    assert turns > 2
    assert list(range(2, len(many))) == once
    assert 1 == rang[-1]
    assert not alarms._heap
