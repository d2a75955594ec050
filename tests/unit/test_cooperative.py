"""Work in small steps, beside others on the same event loop."""

from collections.abc import Iterator
from typing import Final

import pytest
import trio
import trio.testing

from governor.cooperative import some_of, take_turns

STEPS: Final = 1_000
#: Seconds that a step takes.
STEP: Final = 0.001


def work(clock: trio.testing.MockClock) -> Iterator[str | None]:
    for _ in range(STEPS):
        clock.jump(STEP)
        yield None
    yield "done"


@pytest.mark.parametrize(("their_turn", "turns"), [(0.0, STEPS), (5 * STEP, STEPS), (100 * STEP, STEPS // 10)])
def test_others_have_a_turn_after_each_step_or_ten_times_as_long_as_the_steps(their_turn: float, turns: int) -> None:
    clock, had = trio.testing.MockClock(), 0

    async def others() -> None:
        nonlocal had
        while True:
            had += 1
            clock.jump(their_turn)
            await trio.lowlevel.checkpoint()

    async def main() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            result = await take_turns(work(clock))
            nursery.cancel_scope.cancel()
        return result

    assert "done" == trio.run(main, clock=clock)
    assert turns == pytest.approx(had, rel=0.1)


@pytest.mark.parametrize(("span", "steps"), [(0.0, 1), (9.5 * STEP, 10)])
def test_some_of_the_steps_take_so_long(span: float, steps: int) -> None:
    clock = trio.testing.MockClock()
    rest = work(clock)

    assert some_of(rest, clock.current_time, span) is None
    assert STEPS - steps == len([*rest]) - 1
