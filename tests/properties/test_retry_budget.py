"""Laws of the retry budget, against an oracle that remembers every event."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import pytest

from governor._units import HOUR, NEVER, SECOND, Duration, Instant
from governor.policies.retry_budget import SLOTS, RetryBudget, RetryBudgetPolicy
from tests.support import tape as st
from tests.support.tape import given

Step = tuple[Literal["deposit", "withdraw"], int, int]
Plan = tuple[Literal["deposit", "reserve", "release", "send"], int, int]

KINDS = st.sampled_from(["deposit", "withdraw"])
PLANS = st.sampled_from(["deposit", "reserve", "reserve", "reserve", "release", "send"])
COUNTS = st.integers(1, 3) | st.integers(1, 1_000)
PARAMETERS = st.builds(
    RetryBudget,
    share=st.sampled_from([0, 0.1, 0.2, 1 / 3, 1.0, 2.5, 1000])
    | st.integers(0, 3_000_000).map(lambda parts: parts / 1_000_000),
    floor=st.integers(0, 3) | st.integers(0, 500),
    window=(st.sampled_from([SECOND, HOUR]) | st.integers(SECOND, HOUR)).map(Duration),
)


def grain(parameters: RetryBudget) -> int:
    return -(-parameters.window // SLOTS)


def steps(gaps: st.SearchStrategy[int]) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(KINDS, gaps, COUNTS), max_size=40)


@st.composite
def any_run(draw: st.DrawFn) -> tuple[RetryBudget, list[Step]]:
    """Gaps of all sizes around the slot and the window; the clock may go back."""
    parameters = draw(PARAMETERS)
    slot, window = grain(parameters), parameters.window
    gaps = (
        st.integers(0, 3)
        | st.integers(0, 3 * slot)
        | st.integers(slot - 1, slot + 1)
        | st.integers(window - slot - 1, window + slot + 1)
        | st.integers(-window, 2 * window)
    )
    return parameters, draw(steps(gaps))


@st.composite
def run_without_merging(draw: st.DrawFn) -> tuple[RetryBudget, list[Step]]:
    """Events fall on the same instant or at least a slot apart, and no two of different instants share a slot."""
    parameters = draw(PARAMETERS)
    slot, window = grain(parameters), parameters.window
    return parameters, draw(steps(st.just(0) | st.integers(slot, 3 * slot) | st.integers(max(slot, window - 2), window + 2)))


@dataclass
class Oracle:
    """Every event, with its date."""

    parameters: RetryBudget
    deposits: list[tuple[int, int]] = field(default_factory=list)
    withdrawals: list[tuple[int, int]] = field(default_factory=list)

    def inside(self, events: list[tuple[int, int]], start: int) -> int:
        return sum(count for date, count in events if date > start)

    def balance(self, now: int, slack: int = 0) -> int:
        """The law with deposits that leave early and withdrawals that leave late by `slack`."""
        start = now - self.parameters.window
        share = Fraction(round(self.parameters.share * 10**6), 10**6)
        earned = self.inside(self.deposits, start + slack) * share
        return max(0, (self.parameters.floor + earned - self.inside(self.withdrawals, start - slack)).__floor__())


@pytest.mark.promise("R05")
@given(any_run())
def test_no_retry_breaks_the_law_and_merging_costs_at_most_one_slot(run: tuple[RetryBudget, list[Step]]) -> None:
    parameters, events = run
    policy, oracle = RetryBudgetPolicy(parameters), Oracle(parameters)
    now, latest = 10 * HOUR, 0
    for kind, gap, count in events:
        now += gap
        latest = max(latest, now)
        most, least = oracle.balance(latest), oracle.balance(latest, grain(parameters) - 1)
        if kind == "deposit":
            policy.deposit(Instant(now), count)
            oracle.deposits.append((latest, count))
            continue
        balance = policy.balance(Instant(now))
        granted = policy.withdraw(Instant(now), count)

        assert least <= balance <= most
        assert granted == (count <= balance)
        if granted:
            oracle.withdrawals.append((latest, count))


@given(run_without_merging())
def test_without_merging_the_budget_and_the_oracle_agree_exactly(run: tuple[RetryBudget, list[Step]]) -> None:
    parameters, events = run
    policy, oracle = RetryBudgetPolicy(parameters), Oracle(parameters)
    now = 10 * HOUR
    for kind, gap, count in events:
        now += gap
        if kind == "deposit":
            policy.deposit(Instant(now), count)
            oracle.deposits.append((now, count))
        else:
            allowed = count <= oracle.balance(now)
            assert allowed == policy.withdraw(Instant(now), count)
            if allowed:
                oracle.withdrawals.append((now, count))

        assert oracle.balance(now) == policy.balance(Instant(now))


@pytest.mark.promise("R05")
@given(any_run())
def test_in_any_window_retries_are_paid_for_by_it_and_the_one_before(run: tuple[RetryBudget, list[Step]]) -> None:
    parameters, events = run
    policy, oracle = RetryBudgetPolicy(parameters), Oracle(parameters)
    now, latest = 10 * HOUR, 0
    for kind, gap, count in events:
        now += gap
        latest = max(latest, now)
        if kind == "deposit":
            policy.deposit(Instant(now), count)
            oracle.deposits.append((latest, count))
        elif policy.withdraw(Instant(now), count):
            oracle.withdrawals.append((latest, count))

    share = Fraction(parameters.parts_per_million, 10**6)
    for first, _ in oracle.withdrawals:
        start = first - 1
        end = start + parameters.window
        spent = sum(count for date, count in oracle.withdrawals if start < date <= end)
        paid = sum(count for date, count in oracle.deposits if start - parameters.window < date <= end)
        assert spent <= parameters.floor + share * paid


@given(any_run(), st.integers(0, 40))
def test_a_budget_restored_in_mid_run_behaves_like_the_one_that_went_on(run: tuple[RetryBudget, list[Step]], cut: int) -> None:
    parameters, events = run
    kept = RetryBudgetPolicy(parameters)
    other = kept
    now = 10 * HOUR
    for number, (kind, gap, count) in enumerate(events):
        now += gap
        if number == cut:
            other = RetryBudgetPolicy(parameters)
            other.restore(kept.state())
        answers = []
        for policy in dict.fromkeys((kept, other)):
            if kind == "deposit":
                policy.deposit(Instant(now), count)
            answers.append(policy.withdraw(Instant(now), count) if kind == "withdraw" else True)

        assert len(set(answers)) == 1
    assert kept.state() == other.state()


@given(any_run())
def test_memory_stays_bounded_and_slots_stay_in_order(run: tuple[RetryBudget, list[Step]]) -> None:
    parameters, events = run
    policy = RetryBudgetPolicy(parameters)
    now = 10 * HOUR
    for kind, gap, count in events:
        now += gap
        if kind == "deposit":
            policy.deposit(Instant(now), count)
        else:
            policy.withdraw(Instant(now), count)

    state = policy.state()
    for slots in (state.deposits, state.withdrawals):
        dates = [date for oldest, newest, _ in slots for date in (oldest, newest)]
        assert sorted(dates) == dates
        assert all(newest - oldest < grain(parameters) for oldest, newest, _ in slots)
        assert all(later[0] - earlier[0] >= grain(parameters) for earlier, later in pairwise(slots))


@st.composite
def run_of_plans(draw: st.DrawFn) -> tuple[RetryBudget, list[Plan]]:
    """Retries that are planned, sent and given up; the last number of a step is how long a plan may be waited for."""
    parameters = draw(PARAMETERS)
    slot, window = grain(parameters), parameters.window
    spans = st.integers(0, 3 * slot) | st.integers(window - slot, window + slot) | st.integers(0, 20 * window)
    return parameters, draw(st.lists(st.tuples(PLANS, st.just(0) | spans, spans), max_size=60))


@pytest.mark.promise("R05")
@given(run_of_plans())
def test_no_more_retries_are_planned_than_the_budget_has_and_a_plan_ends_with_its_expiry(
    run: tuple[RetryBudget, list[Plan]],
) -> None:
    parameters, events = run
    policy, oracle = RetryBudgetPolicy(parameters), Oracle(parameters)
    expiries: list[int] = []
    now = 10 * HOUR
    for kind, gap, span in events:
        now += gap
        expiries = sorted(end for end in expiries if end > now)
        if kind == "deposit":
            policy.deposit(Instant(now), span % 100)
            oracle.deposits.append((now, span % 100))
        elif kind == "reserve":
            balance = policy.balance(Instant(now))
            kept = policy.reserved(Instant(now))

            assert (kept < balance) == policy.reserve(Instant(now), Instant(now + span))
            if kept < balance:
                expiries.append(now + span)
        elif expiries:
            policy.release(Instant(now))
            del expiries[0]
            if kind == "send":
                allowed = policy.balance(Instant(now)) > 0
                assert allowed == policy.withdraw(Instant(now))
        late = [end for end in expiries if end > now]
        kept = policy.reserved(Instant(now))
        assert len(late) <= kept
        assert len(policy.state().reservations) <= SLOTS


@given(run_of_plans(), st.integers(0, 40 * HOUR))
def test_the_instant_that_a_denied_retry_gets_is_the_first_at_which_it_can_be_sent(
    run: tuple[RetryBudget, list[Plan]], later: int
) -> None:
    parameters, events = run
    policy = RetryBudgetPolicy(parameters)
    now = 10 * HOUR
    for kind, gap, span in events:
        now += gap
        if kind == "deposit":
            policy.deposit(Instant(now), span % 100)
        else:
            policy.withdraw(Instant(now), 1 + span % 3)
    named = policy.available_at(Instant(now))

    if named == NEVER:
        assert policy.balance(Instant(now + later)) == 0
    else:
        assert policy.balance(named) > 0
        assert named == now or policy.balance(Instant(max(now, min(named - 1, now + later)))) == 0
