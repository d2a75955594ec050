"""A provider that counts what arrives, and when; and the calls that were made of it, as their callers know them."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.machine.world import SECOND, Loop, World

#: Nanoseconds on the network, and of the work of a call.
_WAYS: Final = (100_000, 1_000_000, 5_000_000, 40_000_000)
_WORKS: Final = (500_000, 3_000_000, 20_000_000, 150_000_000)


@dataclass
class Call:
    """One ask and what came of it. Instants are nanoseconds of the world."""

    who: str
    scope: str
    timeout: float | None
    #: Seconds after which its caller goes.
    leaves_after: float | None
    asked_at: int
    answered_at: int | None = None
    #: Why it was denied.
    denied: str | None = None
    #: Its caller has gone, as it meant to.
    cancelled: bool = False
    #: When the permit is dated, and who has granted it: the "owner", a "lease" of it, or the process "alone".
    granted_at: int = 0
    by: str = ""
    left_at: int | None = None
    arrived_at: int | None = None
    done_at: int | None = None
    #: Its process was stopped between the grant and the sending.
    held_up: bool = False


@dataclass
class Provider:
    """Answers each call after a while."""

    world: World
    calls: list[Call] = field(default_factory=list)
    fails_until: int = 0

    async def answer(self, call: Call, loop: Loop) -> int:
        """Sends a call. The status of the answer."""
        world = self.world
        answered: asyncio.Future[int] = loop.create_future()
        call.left_at = world.now
        choice = world.random.choice

        def arrive() -> None:
            call.arrived_at = world.now
            world.after(choice(_WORKS), done)

        def done() -> None:
            call.done_at = world.now
            status = 503 if world.now < self.fails_until else 200
            world.after(choice(_WAYS), lambda: deliver(status))

        def deliver(status: int) -> None:
            if not loop.process.dead:
                loop.call_soon_threadsafe(settle, status)

        def settle(status: int) -> None:
            if not answered.done():
                answered.set_result(status)

        world.after(choice(_WAYS), arrive)
        try:
            return await answered
        except asyncio.CancelledError:
            world.note(call.who, f"leaves its call in {call.scope}")
            raise

    def arrivals(self, *scopes: str) -> list[Call]:
        """Calls that have arrived, in order."""
        return sorted(
            (call for call in self.calls if call.arrived_at is not None and call.scope in scopes),
            key=lambda call: call.arrived_at or 0,
        )


def most_within(instants: list[int], span: int) -> tuple[int, int]:
    """The most instants in any half-open span of this length, and the first of them."""
    first, most, at = 0, 0, 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= span:
            first += 1
        if last - first + 1 > most:
            most, at = last - first + 1, instants[first]
    return most, at


def most_at_once(spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The most spans that overlap, and when."""
    edges = sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans])
    now, most, at = 0, 0, 0
    for instant, change in edges:
        now += change
        if now > most:
            most, at = now, instant
    return most, at


def excess_over_bucket(instants: list[int], rate: int, burst: int) -> tuple[float, int]:
    """By how many calls a bucket of `rate` per second was exceeded at most, and when."""
    level, before, worst, at = 0, 0, 0, 0
    for instant in instants:
        level = max(0, level - (instant - before) * rate) + SECOND
        before = instant
        if level - burst * SECOND > worst:
            worst, at = level - burst * SECOND, instant
    return worst / SECOND, at
