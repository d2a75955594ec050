"""Limits of a provider against a naive model: generated calls, costs, holds, cancellations and crashes over several scopes.

The model grants, at every instant at which anything happens, the first call by arrival among the heads of the scopes that its
own scope grants and that no earlier one is waiting to be granted by the same limit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

import anyio
import pytest

from governor import Config, Denied, Governor, PermitDenied
from governor.policies.breakers.breaker import BreakerPolicy
from governor.testing import loop_clock
from tests.support.governors import NEVER_REACHED, actor_of

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R14", "R02", "R03")]

#: Windows and holds of odd lengths, so that no two instants coincide.
WINDOW, OWN_WINDOW = 10.003, 7.001
COST: Final = {"get": 1, "post": 3, "put": 1}
#: Amounts of a window, or places in flight; of the provider and of each scope.
PROVIDER: Final = {"window": 6, "places": 3}
OWN: Final[dict[str, dict[str, int]]] = {"get": {}, "post": {"window": 2}, "put": {"places": 1}}


@dataclass(eq=False)
class Call:
    """One call: when it comes, for how long it works, and when it is cancelled if it still waits."""

    number: int
    at: float
    method: str
    hold: float
    cancelled_at: float | None
    granted_at: float | None = None
    #: The shared limits that it waits for.
    waits_for: set["Limit"] = field(default_factory=set)


@dataclass(eq=False)
class Limit:
    """A window of a length, or places in flight without one."""

    amount: int
    length: float | None
    out: list[Call] = field(default_factory=list)
    ended: list[tuple[float, Call]] = field(default_factory=list)

    def cost(self, call: Call, *, shared: bool) -> int:
        return COST[call.method] if shared and self.length is not None else 1

    def used(self, now: float, *, shared: bool) -> int:
        over = 0.0 if self.length is None else self.length
        inside = [call for at, call in self.ended if at + over > now + 1e-4]
        return sum(self.cost(call, shared=shared) for call in [*self.out, *inside])

    def grants(self, now: float, call: Call, *, shared: bool) -> bool:
        return self.used(now, shared=shared) + self.cost(call, shared=shared) <= self.amount


class Model:
    """What the naive model does with the same calls."""

    def __init__(self, calls: list[Call], crashes: list[tuple[float, str]]) -> None:
        self.shared = [Limit(PROVIDER["window"], WINDOW), Limit(PROVIDER["places"], None)]
        self.own = {
            method: [Limit(amount, OWN_WINDOW if kind == "window" else None) for kind, amount in limits.items()]
            for method, limits in OWN.items()
        }
        self.queues: dict[str, list[Call]] = {method: [] for method in COST}
        self.order = count()
        self.events: list[tuple[float, int, Callable[[], object]]] = []
        for call in calls:
            self.plan(call.at, partial(self.queues[call.method].append, call))
            if call.cancelled_at is not None:
                self.plan(call.cancelled_at, partial(self.remove, call))
        for at, method in crashes:
            self.plan(at, self.queues[method].clear)

    def remove(self, call: Call) -> None:
        if call in self.queues[call.method]:
            self.queues[call.method].remove(call)

    def plan(self, at: float, event: Callable[[], object]) -> None:
        heappush(self.events, (at, next(self.order), event))

    def run(self) -> None:
        while self.events:
            now, _, event = heappop(self.events)
            event()
            while self.grant_one(now):
                pass

    def grant_one(self, now: float) -> bool:
        heads = sorted((queue[0] for queue in self.queues.values() if queue), key=lambda call: call.at)
        taken: set[Limit] = set()
        for call in heads:
            if not all(limit.grants(now, call, shared=False) for limit in self.own[call.method]):
                call.waits_for.clear()
                continue
            call.waits_for |= {limit for limit in self.shared if limit in taken or not limit.grants(now, call, shared=True)}
            if not any(limit in taken or not limit.grants(now, call, shared=True) for limit in self.shared):
                self.grant(now, call)
                return True
            taken |= call.waits_for
        return False

    def grant(self, now: float, call: Call) -> None:
        self.remove(call)
        call.granted_at = now
        limits = [*self.own[call.method], *self.shared]
        for limit in limits:
            limit.out.append(call)
        self.plan(now + call.hold, lambda: self.end(now + call.hold, call, limits))

    def end(self, now: float, call: Call, limits: list[Limit]) -> None:
        for limit in limits:
            limit.out.remove(call)
            limit.ended.append((now, call))
            if limit.length is not None:
                self.plan(now + limit.length, lambda: None)


@contextmanager
def crashing(governor: Governor, method: str) -> Iterator[None]:
    """Within the block the breaker of one scope raises."""
    breaker = actor_of(governor, "hub", method).ledger.pipeline.own_breaker()  # Scopes share one in which no call has failed.
    earliest = BreakerPolicy.earliest

    def fail(policy: BreakerPolicy, *arguments: object) -> object:
        if policy is breaker:
            raise ValueError
        return earliest(policy, *arguments)  # type: ignore[arg-type] # passed on as they are

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BreakerPolicy, "earliest", fail)
        yield


async def play(calls: list[Call], crashes: list[tuple[float, str]]) -> dict[int, float]:
    """When each call is granted."""
    own = {
        f"hub:{method}": {
            "limits": [f"{n} per 7001ms strict" if kind == "window" else f"{n} in flight" for kind, n in limits.items()]
        }
        for method, limits in OWN.items()
    }
    said = {
        "global": {"requests_per_minute": NEVER_REACHED, "degraded_after_failures": NEVER_REACHED},
        "provider": {"hub": {"limits": ["6 per 10003ms strict", "3 in flight"], "cost": COST}},
        "outbound": {"default": {"limits": [], "counted": "outcome", "linger": "off"}, **own},
    }
    granted: dict[int, float] = {}

    async def make(call: Call, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                permit = await governor.acquire("hub", call.method)
            except PermitDenied:
                return
            scope.shield = True
            granted[call.number] = anyio.current_time() - began
            await anyio.sleep(call.hold)
            permit.record(status=200)

    async def crash(method: str) -> None:
        if "hub" in governor._access.addresses.get(method, {}):
            with crashing(governor, method):
                assert isinstance(governor.try_permit("hub", method, cost=2), Denied)

    async with Governor(Config.from_mapping(said), clock=loop_clock()) as governor, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        events: list[tuple[float, int, Call | anyio.CancelScope | str]] = []
        order = count()
        events += ((call.at, next(order), call) for call in calls)
        events += ((at, next(order), method) for at, method in crashes)
        events.sort()
        while events:
            at, _, event = events.pop(0)
            await anyio.sleep(began + at - anyio.current_time())
            if isinstance(event, Call):
                scope = anyio.CancelScope()
                tasks.start_soon(make, event, scope)
                if event.cancelled_at is not None:
                    events.append((event.cancelled_at, next(order), scope))
                    events.sort()
            elif isinstance(event, str):
                await crash(event)
            elif not event.shield:
                event.cancel()
            await anyio.wait_all_tasks_blocked()
    return granted


@pytest.mark.parametrize("seed", range(12))
async def test_calls_are_granted_as_in_the_model(seed: int) -> None:
    random = Random(seed)
    calls = []
    for number in range(40):
        at = random.uniform(0, 60)
        cancelled = at + random.uniform(0.5, 20) if random.random() < 0.2 else None
        calls.append(Call(number, at, random.choice(list(COST)), random.uniform(0.1, 6), cancelled))
    crashes = [(random.uniform(0, 60), random.choice(list(COST))) for _ in range(2)] if seed % 2 else []
    model = Model(calls, crashes)
    model.run()

    played = await play(calls, crashes)

    expected = {call.number: call.granted_at for call in calls if call.granted_at is not None}
    assert {number: pytest.approx(at, abs=0.01) for number, at in expected.items()} == played
    assert len(played) > len(calls) / 2
