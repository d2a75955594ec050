"""Degraded mode against a model that remembers every outcome and every denial."""

from collections import Counter
from typing import Final

import pytest

from governor._units import DAY, MINUTE, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

#: How an outcome of a provider ended, how long before it was granted, and whether others are healthy, should that be asked.
Outcome = tuple[Result, str, int, bool]
#: What happens: an outcome, a denial by the cap of this cost, a breaker that opens (True) or closes, or a pause ended by hand.
Event = Outcome | int | tuple[str, bool] | None
#: How much later than the step before, and what.
Step = tuple[int, Event]

PARAMETERS: Final = st.builds(
    Degraded,
    failures=st.none() | st.integers(1, 7),
    providers=st.integers(1, 3),
    excess=st.none() | st.integers(0, 6),
    cooldown=st.integers(1, 20).map(Duration),
)
PROVIDERS: Final = st.sampled_from("aabc")
OUTCOMES: Final = st.tuples(
    st.sampled_from([Result.FAILURE, Result.FAILURE, Result.FAILURE, Result.FAILURE, Result.SUCCESS, Result.NEUTRAL]),
    PROVIDERS,
    st.just(0) | st.integers(0, 25),
    st.integers(0, 3).map(lambda drawn: drawn == 0),
)
STEP: Final = st.tuples(
    st.just(0) | st.integers(0, 22) | st.sampled_from([MINUTE - 1, MINUTE, MINUTE // 2]),
    OUTCOMES | OUTCOMES | OUTCOMES | st.integers(1, 3) | st.tuples(PROVIDERS, st.booleans()) | st.none(),
)
#: The length is drawn first, because long lists are rare otherwise, and most faults show only in long ones.
STEPS: Final = (st.integers(0, 60) | st.just(60)).flatmap(lambda length: st.lists(STEP, min_size=length, max_size=length))


def run(policy: DegradedPolicy, now: int, event: Event) -> None:
    match event:
        case None:
            policy.leave(Instant(now))
        case int(cost):
            policy.deny(Instant(now), Request(cost), "a")
        case (str(provider), True):
            policy.breaker_opened(provider)
        case (str(provider), _):
            policy.breaker_closed(provider)
        case (result, provider, ago, healthy):
            policy.record(Instant(now), Grant(Instant(now - ago), 0), result, provider)
            if policy.due:
                policy.decide(Instant(now), healthy=healthy)


class Model:
    """Lists of everything, looked through anew each time."""

    def __init__(self, parameters: Degraded) -> None:
        self.parameters = parameters
        self.until = self.spells = 0
        self.row: list[str] = []
        self.denied: list[tuple[int, int]] = []
        self.open: Counter[str] = Counter()

    def step(self, now: int, event: Event) -> None:
        match event:
            case None:
                self.until = min(self.until, now)
                self.row, self.denied = [], []
            case int(cost):
                if self.parameters.excess is not None and now >= self.until:
                    self.denied.append((now, cost))
                    if self.excess(now) > self.parameters.excess:
                        self.pause(now)
            case (str(provider), opened):
                self.open[provider] = max(0, self.open[provider] + (1 if opened else -1))
            case (result, provider, ago, healthy):
                if now - ago >= self.until and result is not Result.NEUTRAL:
                    self.end(now, result, provider, healthy=healthy)

    def end(self, now: int, result: Result, provider: str, *, healthy: bool) -> None:
        if result is Result.SUCCESS:
            self.row = []
        elif self.parameters.failures is not None and not self.open[provider]:
            self.row.append(provider)
            if len(self.row) >= self.parameters.failures and self.enough_providers():
                if healthy:
                    self.row = []
                else:
                    self.pause(now)

    def enough_providers(self) -> bool:
        wanted, failures = self.parameters.providers, self.parameters.failures or 0
        each = 2 if wanted > 1 and failures >= 2 * wanted else 1
        return wanted == 1 or sum(count >= each for count in Counter(self.row).values()) >= wanted

    def excess(self, now: int) -> int:
        return sum(cost for dated, cost in self.denied if now - dated < MINUTE)

    def pause(self, now: int) -> None:
        self.until, self.spells = now + self.parameters.cooldown, self.spells + 1
        self.row, self.denied = [], []


@pytest.mark.promise("R08")
@given(PARAMETERS, STEPS)
def test_it_stands_where_lists_of_outcomes_and_denials_say(parameters: Degraded, steps: list[Step]) -> None:
    policy, model, now = DegradedPolicy(parameters), Model(parameters), START
    for gap, event in steps:
        now += gap
        run(policy, now, event)
        model.step(now, event)

        assert (model.until, len(model.row), model.spells) == (policy.until, policy.failures, policy.spells)
        assert {name: policy.blames(name) for name in "abc"} == {name: name in model.row for name in "abc"}
        assert model.excess(now) == policy.excess(Instant(now))
        assert max(now, model.until) == policy.earliest(Instant(now), PLAIN)


@pytest.mark.promise("R08")
@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(list(Result))), max_size=200), st.integers(1, 20))
def test_one_provider_never_begins_it_alone(outcomes: list[tuple[int, Result]], failures: int) -> None:
    policy, now = DegradedPolicy(Degraded(failures=failures)), START
    for gap, result in outcomes:
        now += gap
        run(policy, now, (result, "dead", 0, False))

    assert 0 == policy.spells


@pytest.mark.promise("R08", "R10")
@given(PARAMETERS, STEPS)
def test_it_ends_by_itself_at_the_instant_that_was_named_and_not_a_microsecond_before(
    parameters: Degraded, steps: list[Step]
) -> None:
    policy, now = DegradedPolicy(parameters), START
    for gap, event in steps:
        now += gap
        run(policy, now, event)
        before = policy.state()
        named = policy.earliest(Instant(now), PLAIN)
        if named > now:
            assert policy.earliest(Instant(named - 1), PLAIN) == named
        assert policy.earliest(named, PLAIN) == named
        assert before == policy.state()


@given(PARAMETERS, STEPS, st.integers(0, 60))
def test_a_restored_machine_behaves_like_the_one_that_went_on(parameters: Degraded, steps: list[Step], cut: int) -> None:
    kept = DegradedPolicy(parameters)
    other, now = kept, START
    for number, (gap, event) in enumerate(steps):
        now += gap
        if number == cut:
            other = DegradedPolicy(parameters)
            other.restore(kept.state())
        for policy in dict.fromkeys((kept, other)):
            run(policy, now, event)

        assert (kept.until, kept.failures, kept.spells) == (other.until, other.failures, other.spells)
        assert kept.excess(Instant(now)) == other.excess(Instant(now))
