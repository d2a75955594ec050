"""A denial that takes no step says what a step would say, whatever has closed the scope since the last one."""

from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from governor import Config, Denied, Governor, Permit
from governor._units import DAY, SECOND, Instant
from governor.errors import Reason
from tests.support.governors import supervisor_of

#: Two limits of which either may be used up, and one whose places depend on outcomes.
LIMITS: Final = {
    "buckets": ["3/s burst 2", "7/minute burst 7"],
    "strict": ["3 per 2s strict", "7/minute burst 7"],
    "in flight": ["3 in flight", "7/minute burst 2"],
}
SPANS: Final = (0, 1, 333_333, SECOND, 20 * SECOND)


class World:
    """One scope, on a clock of its own."""

    def __init__(self, limits: list[str], seed: int) -> None:
        self.random = Random(seed)
        self.now = Instant(DAY)
        self.permits: list[Permit] = []
        self.denied: list[Denied] = []
        everywhere = {"degraded_after_failures": 1, "degraded_after_providers": 1}
        settings = {"outbound": {"default": {"limits": limits}}, "global": everywhere}
        self.governor = Governor(Config.from_mapping(settings), clock=lambda: self.now, random=Random(0))

    def ask(self) -> None:
        answer = self.governor.try_permit("hub", "get")
        if isinstance(answer, Permit):
            self.permits.append(answer)

    def end(self) -> None:
        if self.permits:
            self.permits.pop(self.random.randrange(len(self.permits))).record(status=self.random.choice((200, 200, 200, 503)))

    def pause(self) -> None:
        if self.permits:
            self.permits[0].hint(retry_after=self.random.choice((0.5, 1, 30)), whole_provider=self.random.random() < 0.5)

    def wait(self) -> None:
        self.now = Instant(self.now + self.random.choice(SPANS))

    def look(self) -> None:
        (actor,) = supervisor_of(self.governor)._scopes.actors.values()
        expected, counted = actor.denial(self.now), dict(actor.counters.denied)
        answer = actor.grab(True)
        if isinstance(answer, Permit):
            self.permits.append(answer)
        elif answer is not None:
            counted[answer.reason] = counted.get(answer.reason, 0) + 1
            self.denied.append(answer)

            assert (expected, counted) == (answer, actor.counters.denied)


@pytest.mark.anyio
@pytest.mark.parametrize("limits", LIMITS)
async def test_a_denial_in_place_is_that_of_a_step(limits: str) -> None:
    reasons = set[Reason]()
    for seed in range(20):
        world = World(LIMITS[limits], seed)
        actions: tuple[Callable[[], None], ...] = (world.ask, world.ask, world.ask, world.end, world.wait, world.pause)
        async with world.governor:
            world.ask()
            for _ in range(100):
                world.random.choice(actions)()
                world.look()
            for permit in world.permits:
                permit.give_back()
        reasons.update(denied.reason for denied in world.denied)

    assert {Reason.RATE_LIMIT, Reason.COOLDOWN, Reason.DEGRADED} <= reasons
