"""The instant named for a newcomer behind a queue, against models that remember every use and know no formulas.

`GOVERNOR_QUEUE_EVENTS` says how many newcomers are compared: 10,000 unless it says otherwise.
"""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

import pytest

from governor._actors.queue import Waiter, WaitQueue
from governor._units import AFTER_OUTCOME, DAY, Duration, Instant
from governor.messages import Acquire
from governor.policies import queue_forecast
from governor.policies._sliding_log import SlidingLog
from governor.policies.breakers.parameters import Breaker
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Limit, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.pipeline import Pipeline
from governor.policies.queue_forecast import earliest_behind
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow

EVENTS: Final = int(os.environ.get("GOVERNOR_QUEUE_EVENTS", "10000"))
#: So many tests share them, so that none takes long enough on a busy machine to be taken for one that hangs.
PARTS: Final = 2
START: Final = 10 * DAY


class Model(Protocol):
    """One limit, as it is explained to people."""

    def next(self, now: int, request: Request) -> int:
        """The first instant from `now` on at which there is room, if nothing else is granted."""

    def take(self, now: int, request: Request) -> None:
        """Takes the room."""


@dataclass
class Bucket:
    """So many tokens, refilled as time goes by, up to the burst; counted in parts, `per` of which are one token."""

    limit: TokenBucket
    parts: int = field(init=False)
    at: int = START

    def __post_init__(self) -> None:
        self.parts = self.limit.burst * self.limit.per

    def _cost(self, request: Request) -> int:
        return request.amount(None if self.limit.unit == "requests" else self.limit.unit) * self.limit.per

    def _filled(self, now: int) -> int:
        return min(self.limit.burst * self.limit.per, self.parts + self.limit.amount * (now - self.at))

    def next(self, now: int, request: Request) -> int:
        missing = self._cost(request) - self._filled(now)
        return now - (-missing // self.limit.amount) if missing > 0 < self._cost(request) else now

    def take(self, now: int, request: Request) -> None:
        self.parts = self._filled(now) - self._cost(request)
        self.at = now


@dataclass
class Window:
    """A list of uses, the oldest first; those of the last `per` count."""

    amount: int
    per: int
    unit: str | None = None
    uses: deque[tuple[int, int]] = field(default_factory=deque)
    used: int = 0

    def next(self, now: int, request: Request) -> int:
        cost, used = request.amount(self.unit), self.used
        for at, units in self.uses if cost else ():
            if at > now - self.per:
                if used + cost <= self.amount:
                    break
                now = at + self.per
            used -= units
        return now

    def take(self, now: int, request: Request) -> None:
        while self.uses and self.uses[0][0] <= now - self.per:
            self.used -= self.uses.popleft()[1]
        if request.amount(self.unit):
            self.add(now, request.amount(self.unit))

    def add(self, now: int, units: int) -> None:
        self.uses.append((now, units))
        self.used += units


@dataclass
class Places:
    """Calls under way, none of which ends."""

    amount: int
    taken: int = 0

    def next(self, now: int, request: Request) -> int:
        return now if self.taken + request.cost <= self.amount else AFTER_OUTCOME

    def take(self, now: int, request: Request) -> None:
        self.taken += request.cost


@dataclass
class Pause:
    """Nothing before an instant."""

    until: int

    def next(self, now: int, request: Request) -> int:
        return max(now, self.until)

    def take(self, now: int, request: Request) -> None:
        """Takes nothing."""


def copies(models: list[Model]) -> list[Model]:
    made: list[Model] = []
    for model in models:
        match model:
            case Bucket():
                copy = Bucket(model.limit, at=model.at)
                copy.parts = model.parts
                made.append(copy)
            case Window():
                made.append(Window(model.amount, model.per, model.unit, model.uses.copy(), model.used))
            case Places():
                made.append(Places(model.amount, model.taken))
            case _:
                made.append(model)
    return made


def serve(models: list[Model], now: int, request: Request) -> int:
    """When the request is granted, at `now` at the earliest, and takes its room."""
    while (due := max(model.next(now, request) for model in models)) > now:
        now = due
        if now >= AFTER_OUTCOME:
            return AFTER_OUTCOME
    for model in models:
        model.take(now, request)
    return now


def limits_of(random: Random) -> list[Limit]:
    """One to three limits, small enough that a queue spans many windows and bursts, with rates that divide nothing."""
    pers = [1, 7, 10, 60, 1000, 60_000_007]

    def one() -> Limit:
        unit, per = random.choice(["requests", "requests", "tokens"]), Duration(random.choice(pers))
        if random.random() < 0.08:
            return InFlight(random.randint(1, 30))
        if random.random() < 0.5:
            return StrictWindow(random.randint(1, 12), per, unit)
        return TokenBucket(random.randint(1, 13), per, random.randint(1, 12), unit)

    return [one() for _ in range(random.choice([1, 1, 2, 2, 3]))]


def model_of(limit: Limit) -> Model:
    match limit:
        case TokenBucket():
            return Bucket(limit)
        case StrictWindow():
            return Window(limit.amount, limit.per, None if limit.unit == "requests" else limit.unit)
        case InFlight():
            return Places(limit.amount)
        case _:
            raise AssertionError("a limit that no model knows")


def smallest(limits: list[Limit], unit: str, most: int) -> int:
    """The largest amount that no limit denies for ever."""
    return min([*(limit.capacity for limit in limits if limit.unit == unit), most])


@dataclass
class Case:
    """A pipeline in the middle of its life, an empty queue, and models that have seen the same."""

    pipeline: Pipeline
    models: list[Model]
    now: int
    random: Random
    limits: list[Limit]
    queue: WaitQueue = field(default_factory=WaitQueue)

    def request(self, *, plain: bool) -> Request:
        if plain:
            return PLAIN
        cost = self.random.randint(1, smallest(self.limits, "requests", min(6, self.pipeline.cap.parameters.most)))
        tokens = self.random.randint(0, smallest(self.limits, "tokens", 6))
        return Request(cost, {"tokens": tokens} if self.random.random() < 0.7 else None)


def cases(random: Random) -> Iterator[Case]:
    """Cases without end: limits with some spent, some in debt, sometimes paused, sometimes near the cap."""
    while True:
        limits, most = limits_of(random), random.choice([3, 20, 1000])
        cap, degraded = RequestCapPolicy(RequestCap(most)), DegradedPolicy(Degraded())
        pipeline = compose(Breaker(failures=10**9), limits, cap=cap, degraded=degraded)
        models = [*map(model_of, limits), Window(most, 60_000_000)]
        case = Case(pipeline, models, START, random, limits)
        per = max([1, *(limit.per for limit in limits if isinstance(limit, (TokenBucket, StrictWindow)))])
        for _ in range(random.randint(0, 30)):
            case.now += random.choice([0, 0, 1, 2, random.randint(0, per)])
            warm_up(case)
        if random.random() < 0.15:
            degraded.enter(Instant(case.now))
            degraded.until = Instant(case.now + random.randint(1, 3 * per))
            models.append(Pause(degraded.until))
        yield case


def warm_up(case: Case) -> None:
    now, request = Instant(case.now), case.request(plain=case.random.random() < 0.5)
    if case.pipeline.verdict(now, request).when > now:
        return
    assert now == serve(case.models, now, request)
    grant = case.pipeline.commit(now, request)
    more = case.random.choice([0, 0, 0, 3])
    case.pipeline.record(now, grant, Result.SUCCESS, {"tokens": request.amount("tokens") + more} if more else None)
    for model in case.models:
        if isinstance(model, Places):
            model.taken -= request.cost
        elif more and isinstance(model, Bucket) and model.limit.unit == "tokens":
            model.parts -= more * model.limit.per
        elif more and isinstance(model, Window) and model.unit == "tokens":
            model.add(now, more)
    hold_some(case, now)


def hold_some(case: Case, now: Instant) -> None:
    """Sometimes a call stays under way, where that leaves the instants of the others as they are."""
    if case.random.random() < 0.1 and any(isinstance(model, Places) for model in case.models):
        if any(isinstance(limit, StrictWindow) for limit in case.limits):
            return
        if case.pipeline.verdict(now, PLAIN).when <= now:
            serve(case.models, now, PLAIN)
            case.pipeline.commit(now, PLAIN)


def newcomers(case: Case, most: int, *, plain: bool) -> Iterator[tuple[int, int, bool]]:
    """What each newcomer is told, what the models say, and whether the scope knows that it hangs on an outcome."""
    now, models = Instant(case.now), copies(case.models)
    due = int(now)
    while len(case.queue) < most:
        request = case.request(plain=plain or case.random.random() < 0.3)
        if case.pipeline.verdict(now, request).when <= now and not len(case.queue):
            assert now == serve(models, now, request)
            case.pipeline.record(now, case.pipeline.commit(now, request), Result.SUCCESS)
            models = [
                model if not isinstance(model, Places) else Places(model.amount, model.taken - request.cost) for model in models
            ]
            continue
        due = serve(models, due, request)
        verdict = earliest_behind(case.pipeline, now, request, case.queue)
        yield verdict.when, due, verdict.sooner
        if due == AFTER_OUTCOME:
            return
        case.queue.join(Waiter(Acquire(request), lambda: None))


@pytest.mark.promise("R04", "R10")
@pytest.mark.parametrize("plain", [False, True], ids=["mixed costs", "plain"])
@pytest.mark.parametrize("part", range(PARTS))
def test_a_newcomer_learns_exactly_the_instant_at_which_it_will_be_granted(plain: bool, part: int) -> None:
    random, seen, wrong = Random(8 + 100 * part), 0, list[tuple[object, ...]]()
    for case in cases(random):
        for told, due, sooner in newcomers(case, random.choice([1, 3, 10, 40]), plain=plain):
            seen += 1
            if told != due or sooner != (due == AFTER_OUTCOME):
                wrong.append((case.limits, len(case.queue), told - case.now, due - case.now))
        if seen >= EVENTS // 2 // PARTS:
            break

    assert [] == wrong


@pytest.mark.promise("R04", "R10")
@pytest.mark.parametrize("plain", [False, True], ids=["mixed costs", "plain"])
def test_behind_more_than_is_stepped_through_it_is_never_told_too_early(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_forecast, "MAX_FORECAST", 0)
    random, seen, early = Random(9), 0, list[tuple[object, ...]]()
    for case in cases(random):
        for told, due, _ in newcomers(case, random.choice([3, 10, 40, 200]), plain=plain):
            seen += 1
            if told < due:
                early.append((case.limits, len(case.queue), told - case.now, due - case.now))
        if seen >= EVENTS // 4:
            break

    assert [] == early


@pytest.mark.promise("R07")
def test_a_window_that_is_said_never_to_fill_up_has_room_at_every_instant_at_the_pace_that_was_named() -> None:
    random, never = Random(10), 0
    for _ in range(EVENTS // 50):
        per, most = random.randint(1, 40), random.randint(1, 12)
        log, now = SlidingLog(Duration(per), 1), START
        for _ in range(random.randint(0, 8)):
            now += random.randint(0, per // 2 + 1)
            log.add(Instant(now), random.randint(1, 3))
        start = now + random.randint(0, per)
        base, amount, pace = random.randint(0, 4), random.randint(1, 5), random.randint(1, 20)
        if log.never_fills(Instant(start), most, base, amount, pace):
            never += 1
            for later in range(start, start + 3 * per):
                added = base + (min(later - start, per) * amount) // pace
                assert log.used(Instant(later)) + added <= most

    assert never > EVENTS // 1000
