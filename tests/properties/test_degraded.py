"""Degraded mode against a model that remembers every outcome."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import DAY, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Result
from governor.policies.degraded import Degraded, DegradedPolicy

START: Final = 10 * DAY

#: How much later than the step before, how long before that it was granted, and how it ended; None: the cap was reached.
Step = tuple[int, int, Result | None]

PARAMETERS: Final = st.builds(Degraded, failures=st.integers(1, 4), cooldown=st.integers(1, 20).map(Duration))
STEP: Final = st.tuples(
    st.just(0) | st.integers(0, 22) | st.just(DAY),
    st.just(0) | st.integers(0, 25),
    st.sampled_from([Result.FAILURE, Result.FAILURE, Result.SUCCESS, Result.NEUTRAL, None]),
)
#: The length is drawn first, because long lists are rare otherwise, and most faults show only in long ones.
STEPS: Final = (st.integers(0, 50) | st.just(50)).flatmap(lambda length: st.lists(STEP, min_size=length, max_size=length))


def run(policy: DegradedPolicy, now: int, ago: int, result: Result | None) -> None:
    if result is None:
        policy.enter(Instant(now))
    else:
        policy.record(Instant(now), Grant(Instant(now - ago), 0), result)


@pytest.mark.promise("R08")
@given(PARAMETERS, STEPS)
def test_it_stands_where_a_list_of_outcomes_says(parameters: Degraded, steps: list[Step]) -> None:
    policy, now, until, spells = DegradedPolicy(parameters), START, 0, 0
    row: list[int] = []
    for gap, ago, result in steps:
        now += gap
        run(policy, now, ago, result)
        if result is Result.SUCCESS and now - ago >= until:
            row.clear()
        if result is Result.FAILURE and now - ago >= until:
            row.append(now)
        if (result is None and now >= until) or len(row) == parameters.failures:
            until, spells = now + parameters.cooldown, spells + 1
            row.clear()

        assert (until, len(row), spells) == (policy.until, policy.failures, policy.spells)
        assert max(now, until) == policy.earliest(Instant(now), PLAIN)


@pytest.mark.promise("R08", "R10")
@given(PARAMETERS, STEPS)
def test_it_ends_by_itself_at_the_instant_that_was_named_and_not_a_microsecond_before(
    parameters: Degraded, steps: list[Step]
) -> None:
    policy, now = DegradedPolicy(parameters), START
    for gap, ago, result in steps:
        now += gap
        run(policy, now, ago, result)
        before = policy.state()
        named = policy.earliest(Instant(now), PLAIN)
        if named > now:
            assert policy.earliest(Instant(named - 1), PLAIN) == named
        assert policy.earliest(named, PLAIN) == named
        assert before == policy.state()


@given(PARAMETERS, STEPS, st.integers(0, 50))
def test_a_restored_machine_behaves_like_the_one_that_went_on(parameters: Degraded, steps: list[Step], cut: int) -> None:
    kept = DegradedPolicy(parameters)
    other, now = kept, START
    for number, (gap, ago, result) in enumerate(steps):
        now += gap
        if number == cut:
            other = DegradedPolicy(parameters)
            other.restore(kept.state())
        for policy in dict.fromkeys((kept, other)):
            run(policy, now, ago, result)

        assert kept.state() == other.state()
