"""One generated history of a governor, told step by step: `python -m tests.support.build_history SEED STEPS [PLANT]`.

Two builds that mean the same print the same. A plant makes this one differ by the smallest amount there is.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from governor import Config, Denied, Governor, Permit, UsageError
from governor._actors import granting
from governor._actors.granting import Granting
from governor._fields import Counts
from governor._units import Instant, to_seconds
from governor.errors import PermitDenied
from governor.policies._places import PlacesInFlight
from governor.policies._sliding_log import SlidingLog
from governor.policies.breakers._failure_rate import FailureRate
from governor.policies.plain import PlainSpending
from governor.policies.windows._uses import WindowUses

#: A microsecond before this instant the numbers of the bucket `large` fit in 64 bits, and after it no more.
LARGE_AFTER: Final = 2**63 // 999_999_999_989

SCOPES: Final[dict[str, dict[str, Any]]] = {
    "bucket": {"limits": ["50/s burst 3"]},
    "large": {"limits": ["999_999_999_989/day burst 3"]},
    "two": {"limits": ["70/s burst 5", "1000/minute burst 20"]},
    "second": {"limits": ["50/s burst 9", "20/s burst 2"]},
    "strict": {"limits": ["3 per 100ms strict"]},
    "outcome": {"limits": ["3 per 100ms strict"], "counted": "outcome"},
    "merged": {"limits": ["5000 per s strict"], "arrival_margin": "15ms"},
    "flight": {"limits": ["2 in flight"]},
    "mixed": {"limits": ["90/s burst 9", "4 in flight", "20 per s strict"]},
    "rate": {"limits": ["500/s burst 50"], "breaker": {"failure_rate": 0.5, "window": "1s", "open_for": "200ms"}},
    "calls": {
        "limits": ["9 in flight"],
        "breaker": {"failure_rate": 0.5, "window_calls": 5, "minimum_calls": 3, "slow_call": "50ms"},
    },
}
#: Under the first cap each instant has an entry of its own in the log, under the other one grants within 15 ms share one.
CAPS: Final = (150, 5_000)
GOOD: Final = (200, 200, 200, None, 204, 301, 404, 429, 500)
BAD: Final = (500, 503, None)
SPANS: Final = (0, 1, 7, 1_000, 20_000, 100_000)
LONG_SPAN: Final = 30_000_000


class History:
    """A governor on a clock of its own, and the permits that are held."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = LARGE_AFTER - 2_000_000
        self.held: list[Permit] = []
        self.scope = "bucket"
        self.statuses: tuple[int | None, ...] = GOOD
        everywhere = {"requests_per_minute": CAPS[seed // 2 % 2], "degraded_cooldown": "50ms"}
        config = Config.from_mapping({"global": everywhere, "outbound": SCOPES})
        self.governor = Governor(config, clock=lambda: Instant(self.now), random=Random(seed))

    async def run(self, steps: int) -> None:
        async with self.governor:
            for step in range(steps):
                sys.stdout.write("\t".join((str(step), *await self.step())) + "\n")
            self.end_all()

    async def step(self) -> list[str]:
        """Does something, and tells when, what, how it went, and what has become of all state."""
        action = self.random.choice((*(self.ask, self.end, self.block) * 4, self.elsewhere, self.wait))
        try:
            told = await action()
        except (PermitDenied, UsageError) as error:
            told = repr(error)
        return [*map(str, (self.now, action.__name__, told, *self.state()))]

    def end_all(self) -> None:
        for permit in self.held:
            permit.give_back()

    async def ask(self) -> object:
        if self.random.random() < 0.4:  # Else once more, so that the limits of each are met.
            self.scope = self.random.choice(tuple(SCOPES))
        answer = self.asked()
        if isinstance(answer, Denied) and answer.retry_after is not None and self.random.random() < 0.5:
            # Again at the instant; before it; or when `bucket` lacks one tick of another token.
            self.now += round(answer.retry_after * 1_000_000) + self.random.choice((0, -1, 19_999))
            return shown(answer), shown(self.asked())
        return shown(answer)

    def asked(self) -> object:
        scope = self.scope
        answer = self.governor.leases.take(scope, None, 1) if self.random.random() < 0.2 else self.governor.try_permit(scope)
        if isinstance(answer, Permit):
            self.held.append(answer)
            if len(self.held) > 12:
                self.held.pop(0)  # It is collected here, and says so if it holds a place.
        return answer

    async def end(self) -> object:
        if not self.held:
            return None
        permit, status = self.held.pop(self.random.randrange(len(self.held))), self.random.choice(self.statuses)
        match self.random.randrange(8):
            case 0:
                permit.answered(status=status)
                permit.record(status=status)
            case 1:
                permit.record(error=self.random.choice((TimeoutError(), ValueError())))
            case 2:
                permit.give_back()
            case 3:
                permit.settle(requests=self.random.randrange(4))
                permit.record(status=status)
            case _:
                permit.record(status=status)
        return shown(permit), permit.reported, status

    async def block(self) -> object:
        async with self.governor.permit(self.random.choice(tuple(SCOPES)), timeout=0) as permit:
            self.now += self.random.choice(SPANS)
            if self.random.random() < 0.5:
                permit.record(status=self.random.choice(self.statuses))
        return shown(permit), permit.reported

    async def elsewhere(self) -> object:
        """An outcome from another thread."""
        if not self.held:
            return None
        permit = self.held.pop(self.random.randrange(len(self.held)))
        await asyncio.to_thread(permit.record, status=self.random.choice(self.statuses))
        await asyncio.sleep(0)
        return permit.reported

    async def wait(self) -> object:
        self.statuses = self.random.choice((GOOD, GOOD, BAD))
        self.now += self.random.choice(SPANS) if self.random.random() < 0.9 else LONG_SPAN
        await asyncio.sleep(0)
        return None

    def actors(self) -> Iterator[Granting]:
        for providers in self.governor._access.addresses.values():
            for actor in providers.values():
                assert isinstance(actor, Granting)
                yield actor

    def state(self) -> list[object]:
        """All that a plain permit changes."""
        told: list[object] = []
        for actor in self.actors():
            cap, pipeline = actor._cap, actor.ledger.pipeline
            told += [actor.ledger.scope, actor.gate, actor._generation, actor.life.state, cap.left, cap.latest]
            told += [cap.slot_ends, actor.counters.answered_2xx, actor.ledger.counters.record()]
            told += [
                pipeline.degraded.failures,
                pipeline.breaker.state(),
                *((limit.ready, limit.state()) for limit in pipeline.all_limits),
            ]
        return told


def shown(answer: object) -> object:
    """An answer without its address in memory."""
    return (type(answer).__name__, answer._granted_at, answer._generation) if isinstance(answer, Permit) else answer


def one_tick_more(spending: PlainSpending) -> None:
    for bucket in spending._buckets:
        bucket.tat += 1


def wrapped_round(spending: PlainSpending) -> None:
    for bucket in spending._buckets:
        bucket.tat = (bucket.tat + 2**63) % 2**64 - 2**63


def dated_late(spending: PlainSpending) -> None:
    spending._cap.latest += 1


def counted_twice(actor: Granting, permit: Permit) -> None:
    counts: Counts = actor.counters
    counts.requests += permit._granted_at % 7 == 0


def one_generation_later(actor: Granting, permit: Permit) -> None:
    permit._generation += 1


#: What goes wrong once a plain request is spent, and once it is granted.
SPENT: Final = {"tick": one_tick_more, "overflow": wrapped_round, "cap": dated_late}
GRANTED: Final = {"counter": counted_twice, "generation": one_generation_later}


def _replace(kind: type, name: str, method: Callable[..., object]) -> None:
    setattr(kind, name, method)


def plant(name: str) -> None:
    """Makes this build differ."""
    if name in ELSEWHERE:
        ELSEWHERE[name]()
        return
    commit, grab = PlainSpending.commit, Granting.grab

    def spent(self: PlainSpending, now: Instant) -> int:
        ready = commit(self, now)
        SPENT[name](self)
        return ready

    def granted(self: Granting, deny: bool = False) -> Any:
        answer = grab(self, True) if deny else grab(self)
        if isinstance(answer, Permit):
            GRANTED[name](self, answer)
        return answer

    if name in SPENT:
        _replace(PlainSpending, "commit", spent)
    else:
        _replace(Granting, "grab", granted)


def _one_use_more() -> None:
    spend = WindowUses.spend

    def spends(self: WindowUses, now: Instant, cost: int) -> int:
        return spend(self, now, cost + (now % 7 == 0))

    _replace(WindowUses, "spend", spends)


def _window_a_tick_shorter() -> None:
    add = SlidingLog.add

    def adds(self: SlidingLog, now: Instant, count: int) -> None:
        self.window -= 1
        add(self, now, count)
        self.window += 1

    _replace(SlidingLog, "add", adds)


def _place_kept() -> None:
    succeed = PlacesInFlight.succeed

    def keeps(self: PlacesInFlight, now: Instant, granted_at: Instant) -> bool:
        return succeed(self, now, granted_at) if now % 7 else not self.ready

    _replace(PlacesInFlight, "succeed", keeps)


def _wait_a_tick_longer() -> None:
    vars(granting)["to_seconds"] = lambda span: to_seconds(span + 1)


def _success_not_counted() -> None:
    reached = FailureRate.reached

    def reaches(self: FailureRate, now: Instant, failed: int) -> bool:
        return bool(failed or now % 7) and reached(self, now, failed)

    _replace(FailureRate, "reached", reaches)


#: In windows, in flight, in denials and in a breaker on a rate.
ELSEWHERE: Final = {
    "use": _one_use_more,
    "edge": _window_a_tick_shorter,
    "place": _place_kept,
    "wait": _wait_a_tick_longer,
    "success": _success_not_counted,
}


if __name__ == "__main__":
    for planted in sys.argv[3:]:
        plant(planted)
    asyncio.run(History(int(sys.argv[1])).run(int(sys.argv[2])))
