"""Calls, faults and changes of the configuration, generated, and what comes of them in virtual time."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import anyio
import pytest
from trio.testing import MockClock

from governor import Config, Governor, Permit, PermitDenied, Priority, Statistics
from governor.clock import steady_clock
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy
from tests.support import tape as st

SCOPES: Final = ("weather:get", "weather:post", "traffic", "news")
LIMITS: Final = (
    "1/s burst 3",
    "20/minute burst 1",
    "7/s burst 10",
    "5 per minute strict",
    "3 per 2s strict",
    "1 in flight",
    "3 in flight",
    "50 tokens/s burst 50",
    "90 tokens per minute strict",
)
MINUTE: Final = 60_000_000
#: Changes come at odd moments, so that it is always clear what was granted before and what after.
ODD: Final = 0.000_123_7


@dataclass(frozen=True)
class Task:
    """One caller: when it comes, what it asks for, how long it waits, when it gives up, and what becomes of its call."""

    at: float
    scope: str
    cost: dict[str, int]
    timeout: float | None
    patience: float | None
    hold: float
    seen: float
    outcome: str
    priority: Priority = "interactive"
    caller: str | None = None


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: an outage of all providers, a crash of an actor, or a clock that misbehaves."""

    at: float
    kind: str
    amount: float


def tenths(most: int) -> st.SearchStrategy[float]:
    """Times on a coarse grid, so that things happen at the same instant; and some that do not."""
    return st.integers(0, most * 10).map(lambda tenth: tenth / 10) | st.integers(0, most * 7919).map(lambda part: part / 7919)


tasks = st.builds(
    Task,
    at=tenths(20),
    scope=st.sampled_from((*SCOPES, *SCOPES[:2], SCOPES[0])),
    cost=st.fixed_dictionaries({"requests": st.sampled_from([1, 1, 1, 1, 1, 2, 3])}, optional={"tokens": st.integers(0, 60)}),
    timeout=st.none() | st.none() | st.just(0.0) | tenths(3) | tenths(60),
    patience=st.none() | st.none() | tenths(30),
    hold=st.just(0.0) | tenths(2) | tenths(20),
    seen=st.integers(0, 7).map(lambda part: part / 7),
    outcome=st.sampled_from(["200", "200", "200", "200", "404", "503", "error", "leave", "give back", "interrupted"]),
    priority=st.sampled_from(["interactive", "interactive", "batch"]),
    caller=st.sampled_from([None, None, "agent-1", "agent-2"]),
)
faults = st.builds(
    Fault,
    at=tenths(30),
    kind=st.sampled_from(["outage", "crash", "jump", "stand", "back"]),
    amount=tenths(60),
)
everywhere = st.fixed_dictionaries(
    {
        "requests_per_minute": st.sampled_from(["off", 1000, 1000, 30, 5]),
        "degraded_after_failures": st.sampled_from(["off", 30, 10, 2]),
        "degraded_after_providers": st.sampled_from([1, 1, 2]),
        "degraded_after_excess": st.sampled_from(["off", 0.5, 0.01]),
        "degraded_cooldown": st.sampled_from(["1s", "5s", "60s"]),
        "degraded_exempt": st.sampled_from([[], ["news"]]),
        "max_waiting": st.sampled_from([2, 1000]),
        "idle_after": st.sampled_from(["20s", "5m"]),
    }
)
sections = st.fixed_dictionaries(
    {
        "limits": st.lists(st.sampled_from(LIMITS), min_size=1, max_size=2, unique=True),
        "breaker": st.fixed_dictionaries(
            {
                "failures": st.sampled_from([100, 3, 1]),
                "open_for": st.sampled_from(["1s", "20s"]),
                "probe_deadline": st.just("9s"),
            }
        ),
        "counted": st.sampled_from(["arrival", "arrival", "outcome"]),
        "linger": st.sampled_from(["auto", "off"]),
    }
)
configs = st.fixed_dictionaries({"global": everywhere, "outbound": st.fixed_dictionaries(dict.fromkeys(SCOPES, sections))})


@dataclass
class Ask:
    """What a call has seen: when it asked, when it was answered, and when it was granted."""

    number: int
    task: Task
    asked: float
    answered: float | None = None
    granted_at: int | None = None


@dataclass
class Use:
    """A call that was made: when it was granted, begun, seen by the provider and over, and in which order."""

    task: Task
    granted_at: int
    begun: int
    ended: int
    seen_at: int

    def arrived(self, margin: int | None) -> int:
        """When the provider counts it if it arrives within the margin, on the clock of the governor; None: at any time."""
        return self.seen_at if margin is None else min(self.seen_at, self.granted_at + margin)


@dataclass
class World:
    """The providers, the faults, and a diary of all that happens."""

    governor: Governor
    asks: list[Ask] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=count)
    outage_until: float = 0.0

    async def call(self, task: Task) -> None:
        await anyio.sleep_until(task.at)
        ask = Ask(len(self.asks), task, anyio.current_time())
        self.asks.append(ask)
        with anyio.CancelScope(deadline=task.at + task.patience if task.patience is not None else float("inf")):
            try:
                cost = 1 if task.cost == {"requests": 1} else task.cost
                async with self.governor.permit(
                    *task.scope.split(":"), cost=cost, timeout=task.timeout, priority=task.priority, caller=task.caller
                ) as permit:
                    ask.answered = anyio.current_time()
                    ask.granted_at = permit.grant().granted_at
                    await self.use(ask, permit)
            except PermitDenied:
                ask.answered = anyio.current_time()
            except TimeoutError:
                pass

    async def use(self, ask: Ask, permit: Permit) -> None:
        task = ask.task
        if task.outcome == "give back":
            permit.give_back()
            return
        use = Use(task, ask.granted_at or 0, next(self.order), -1, 0)
        self.uses.append(use)
        try:
            await anyio.sleep(task.hold * task.seen)
            use.seen_at = self.governor._clock()
            await anyio.sleep(task.hold * (1 - task.seen))
        finally:
            use.ended = next(self.order)
            use.seen_at = use.seen_at or self.governor._clock()
        outcome = "503" if anyio.current_time() < self.outage_until else task.outcome
        match outcome:
            case "error":
                raise TimeoutError
            case "200" | "404" | "503":
                permit.record(status=int(outcome))
            case "interrupted":
                permit.record(error=KeyboardInterrupt())
            case _:
                pass


@dataclass
class FaultyClock:
    """The loop's time and an error."""

    error: float = 0.0
    stuck: float | None = None

    def seconds(self) -> float:
        return anyio.current_time() + self.error if self.stuck is None else self.stuck


CRASHES: Final = (
    (BreakerPolicy, "record"),
    (TokenBucketPolicy, "commit"),
    (RequestCapPolicy, "commit"),
    (Pipeline, "verdict"),
)


def crash_once(number: int) -> None:
    """The next call of one of these methods fails, in whichever actor."""
    owner, name = CRASHES[number % len(CRASHES)]
    original = getattr(owner, name)

    def fail(*_: object, **__: object) -> object:
        setattr(owner, name, original)
        raise ArithmeticError("injected")

    setattr(owner, name, fail)


async def go_wrong(world: World, clock: FaultyClock, fault: Fault) -> None:
    await anyio.sleep_until(fault.at)
    match fault.kind:
        case "outage":
            world.outage_until = max(world.outage_until, fault.at + fault.amount)
        case "crash":
            crash_once(int(fault.amount))
        case "jump":
            clock.error += fault.amount
        case "back":
            clock.error -= fault.amount
        case _:
            clock.stuck = clock.seconds()
            await anyio.sleep(fault.amount)
            clock.stuck = None


async def recover(governor: Governor) -> Statistics:
    """Lets the providers be well for a while, and everything come to rest."""
    for _ in range(4):
        for scope in SCOPES:
            await anyio.sleep(120)
            try:
                async with governor.permit(*scope.split(":"), timeout=0) as permit:
                    permit.record(status=200)
            except PermitDenied:
                pass
    await anyio.sleep(3600)
    return governor.statistics()


@dataclass
class Story:
    """All that is known at the end. `eras` are the settings and since when they have been in force."""

    eras: list[tuple[int, Config]]
    world: World
    end: Statistics
    tasks_left: list[str | None]

    def era(self, instant: int) -> int:
        return bisect_right([since for since, _ in self.eras], instant) - 1


async def live(configs: Sequence[tuple[float, Config]], load: Sequence[Task], faults: Sequence[Fault]) -> Story:
    """Under the first configuration, and from each instant under the next one, until everything is at rest again."""
    clock = FaultyClock()
    governor = Governor(configs[0][1], clock=steady_clock(clock.seconds))
    world = World(governor)
    eras = [(0, configs[0][1])]

    async def change(number: int) -> None:
        await anyio.sleep_until(configs[number][0] + number * ODD)
        eras.append((governor._clock(), configs[number][1]))
        governor.reconfigure(configs[number][1])
        for scope in governor.statistics().scopes.values():
            assert all(0 <= limit.available <= limit.capacity for limit in scope.limits)

    with anyio.fail_after(100_000), pytest.MonkeyPatch.context() as patch:
        for owner, name in CRASHES:
            patch.setattr(owner, name, getattr(owner, name))
        async with governor:
            async with anyio.create_task_group() as callers:
                for task in load:
                    callers.start_soon(world.call, task)
                for fault in faults:
                    callers.start_soon(go_wrong, world, clock, fault)
                for number in range(1, len(configs)):
                    callers.start_soon(change, number)
            end = await recover(governor)
    names = [task.name or "" for task in anyio.get_running_tasks()]
    return Story(sorted(eras, key=lambda era: era[0]), world, end, [name for name in names if name.startswith("governor")])


def run(said: Sequence[tuple[float, Mapping[str, object]]], load: Sequence[Task], faults: Sequence[Fault] = ()) -> Story:
    """What comes of it in virtual time."""
    configs = [(at, Config.from_mapping(mapping)) for at, mapping in said]
    clock = MockClock(autojump_threshold=0)
    return anyio.run(live, configs, load, faults, backend="trio", backend_options={"clock": clock})
