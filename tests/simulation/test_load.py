"""Whatever comes in, breaks down or goes wrong with the clock: does the whole governor keep its promises?

Loads, faults and schedules are generated, time is virtual, and everything is judged by what providers and callers have seen.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from governor import Config, CounterRecord, Governor, InFlight, Permit, PermitDenied, Statistics, StrictWindow, TokenBucket
from governor.clock import steady_clock
from governor.config import ScopeSettings
from governor.policies.breaker import BreakerPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.request_cap import RequestCapPolicy

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
#: A clock that stands still may make the governor this many seconds late, and timers are a thousandth late at most.
LATE: Final = 0.0121


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


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: an outage of all providers, a crash of an actor, or trouble with the clock."""

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
    }
)
configs = st.fixed_dictionaries({"global": everywhere, "outbound": st.fixed_dictionaries(dict.fromkeys(SCOPES, sections))})


@dataclass
class Ask:
    """What a caller has seen: when it asked, when it was answered, and with what."""

    number: int
    task: Task
    asked: float
    answered: float | None = None
    granted_at: int | None = None
    used: bool = True


@dataclass
class World:
    """The providers, the faults, and a diary of all that happens."""

    governor: Governor
    asks: list[Ask] = field(default_factory=list)
    seen: dict[str, list[tuple[int, Task]]] = field(default_factory=lambda: defaultdict(list))
    in_flight: Counter[str] = field(default_factory=Counter)
    most_in_flight: Counter[str] = field(default_factory=Counter)
    outage_until: float = 0.0

    async def call(self, task: Task) -> None:
        await anyio.sleep_until(task.at)
        ask = Ask(len(self.asks), task, anyio.current_time())
        self.asks.append(ask)
        with anyio.CancelScope(deadline=task.at + task.patience if task.patience is not None else float("inf")):
            try:
                cost = 1 if task.cost == {"requests": 1} else task.cost
                async with self.governor.permit(task.scope, cost=cost, timeout=task.timeout) as permit:
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
            ask.used = False
            permit.give_back()
            return
        self.in_flight[task.scope] += task.cost["requests"]
        self.most_in_flight[task.scope] = max(self.most_in_flight[task.scope], self.in_flight[task.scope])
        try:
            await anyio.sleep(task.hold * task.seen)
            self.seen[task.scope].append((self.governor._clock(), task))
            await anyio.sleep(task.hold * (1 - task.seen))
        finally:
            self.in_flight[task.scope] -= task.cost["requests"]
        if anyio.current_time() < self.outage_until or task.outcome == "503":
            permit.record(status=503)
        elif task.outcome == "error":
            raise TimeoutError
        elif task.outcome in ("200", "404"):
            permit.record(status=int(task.outcome))
        elif task.outcome == "interrupted":
            permit.record(error=KeyboardInterrupt())


@dataclass
class TroubledClock:
    """The loop's time and an error."""

    error: float = 0.0
    stuck: float | None = None

    def seconds(self) -> float:
        return anyio.current_time() + self.error if self.stuck is None else self.stuck


def crash_once(number: int) -> None:
    """The next call of one of these methods fails, in whichever actor."""
    owner, name = (
        (BreakerPolicy, "record"),
        (TokenBucketPolicy, "commit"),
        (RequestCapPolicy, "commit"),
        (Pipeline, "verdict"),
    )[number % 4]
    original = getattr(owner, name)

    def fail(*_: object, **__: object) -> object:
        setattr(owner, name, original)
        raise ArithmeticError("injected")

    setattr(owner, name, fail)


async def go_wrong(world: World, clock: TroubledClock, fault: Fault) -> None:
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
                async with governor.permit(scope, timeout=0) as permit:
                    permit.record(status=200)
            except PermitDenied:
                pass
    await anyio.sleep(3600)
    return governor.statistics()


@dataclass
class Story:
    """All that is known at the end."""

    config: Config
    world: World
    end: Statistics
    tasks_left: list[str | None]


async def live(config: Config, load: Sequence[Task], faults: Sequence[Fault]) -> Story:
    clock = TroubledClock()
    governor = Governor(config, clock=steady_clock(clock.seconds))
    world = World(governor)
    with anyio.fail_after(100_000), pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (BreakerPolicy, "record"),
            (TokenBucketPolicy, "commit"),
            (RequestCapPolicy, "commit"),
            (Pipeline, "verdict"),
        ):
            patch.setattr(owner, name, getattr(owner, name))
        async with governor:
            async with anyio.create_task_group() as callers:
                for task in load:
                    callers.start_soon(world.call, task)
                for fault in faults:
                    callers.start_soon(go_wrong, world, clock, fault)
            end = await recover(governor)
    return Story(
        config, world, end, [task.name for task in anyio.get_running_tasks() if (task.name or "").startswith("governor")]
    )


def judge(story: Story) -> None:
    world = story.world
    assert [] == [ask for ask in world.asks if ask.answered is None and ask.task.patience is None], "every ask is answered"
    assert [] == story.tasks_left, "no task is left"
    for scope in SCOPES:
        granted = [ask for ask in world.asks if ask.task.scope == scope and ask.granted_at is not None]
        judge_limits(story.config.for_scope(scope), scope, world, [ask for ask in granted if ask.used])
        judge_order(granted)
        judge_end(story.end, scope)
    judge_deadlines(world.asks)
    sent = sorted(
        (ask.granted_at or 0, ask.task.cost["requests"]) for ask in world.asks if ask.granted_at is not None and ask.used
    )
    if story.config.global_.requests_per_minute is not None:
        judge_window(sent, story.config.global_.requests_per_minute, MINUTE)
    assert 0.0 == story.end.degraded_for, "degraded mode is over"
    judge_counters(story.end.counters, len([ask for ask in world.asks if ask.granted_at is not None]))


def judge_limits(policy: ScopeSettings, scope: str, world: World, used: list[Ask]) -> None:
    for limit in policy.limits:
        match limit:
            case TokenBucket():
                judge_bucket(sorted((ask.granted_at or 0, amount(ask.task, limit.unit)) for ask in used), limit)
            case StrictWindow():
                judge_window([(when, amount(task, limit.unit)) for when, task in world.seen[scope]], limit.amount, limit.per)
            case InFlight():
                assert world.most_in_flight[scope] <= limit.amount, f"{scope} has too many in flight"


def amount(task: Task, unit: str) -> int:
    return task.cost.get(unit, 0)


def judge_bucket(uses: list[tuple[int, int]], limit: TokenBucket) -> None:
    """In every window: at most burst + rate * length. The same as a bucket that is never overdrawn."""
    tokens, before = Fraction(limit.burst), 0
    for when, cost in uses:
        tokens = min(Fraction(limit.burst), tokens + Fraction((when - before) * limit.amount, limit.per)) - cost
        before = when
        assert tokens >= 0, f"{limit} is overdrawn at {when}"


def judge_window(uses: list[tuple[int, int]], most: int, per: int) -> None:
    """In no window of the provider's own, wherever it begins, are there more than `most`."""
    units = [when for when, cost in uses for _ in range(cost)]
    for first, one_too_many in zip(units, units[most:], strict=False):
        assert one_too_many - first >= per, f"more than {most} from {first} to {one_too_many}"


def judge_order(granted: list[Ask]) -> None:
    order = [ask.granted_at or 0 for ask in sorted(granted, key=lambda ask: ask.number)]
    assert sorted(order) == order, "first come, first served"


def judge_deadlines(asks: list[Ask]) -> None:
    late = [
        ask
        for ask in asks
        if ask.answered is not None and ask.task.timeout is not None and ask.answered > ask.asked + ask.task.timeout + LATE
    ]
    assert [] == late, "nobody is answered later than their timeout"


def judge_counters(total: CounterRecord, granted: int) -> None:
    """Every permit has come to somebody, and has ended in one way."""
    ended = total.answered_2xx + total.answered_4xx + total.answered_5xx + total.failures + total.neutral + total.others
    assert ended == total.requests, "nothing is under way"
    assert granted <= total.requests


def judge_end(end: Statistics, scope: str) -> None:
    if scope in end.scopes:
        record = end.scopes[scope]
        assert 0 == record.waiting, f"somebody still waits in {scope}"
        assert "closed" == record.breaker.status, f"the breaker of {scope} is not at rest"
        assert [limit.capacity for limit in record.limits] == [limit.available for limit in record.limits], (
            f"{scope} is not at rest"
        )


def run(said: Mapping[str, object], load: Sequence[Task], faults: Sequence[Fault]) -> None:
    config = Config.from_mapping(said)
    story = anyio.run(live, config, load, faults, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    judge(story)


#: A failure replays exactly as it is. Making its story shorter takes minutes: add Phase.shrink for that.
quickly: Final = settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])


@pytest.mark.promise("R02", "R03", "R04", "R06", "R07", "R08", "R55")
@quickly
@given(config=configs, load=st.lists(tasks, min_size=20, max_size=40), schedule=st.random_module())
def test_under_any_load_every_promise_is_kept(config: dict[str, object], load: list[Task], schedule: object) -> None:
    run(config, load, [])


@pytest.mark.promise("R02", "R04", "R06", "R07", "R08", "R55")
@quickly
@given(
    config=configs,
    load=st.lists(tasks, min_size=10, max_size=30),
    faults=st.lists(faults, min_size=1, max_size=4),
    schedule=st.random_module(),
)
def test_with_faults_as_well_every_promise_is_kept(
    config: dict[str, object], load: list[Task], faults: list[Fault], schedule: object
) -> None:
    run(config, load, faults)
