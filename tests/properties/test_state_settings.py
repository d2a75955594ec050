"""Settings that change between two lives: the next life knows what one governor would know that was reconfigured in place."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import settings

from governor import Config, Governor, PermitDenied
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R62")

#: Nothing of them returns while the test runs.
LIMITS: Final = (
    "9 per day strict",
    "5 per 30d strict",
    "20/day burst 20",
    "10/day burst 6",
    "4 in flight",
    "50 tokens per day strict",
    "90 tokens/day burst 90",
)
SOME: Final = st.lists(st.sampled_from(LIMITS), max_size=3, unique=True)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, object]:
    """A policy file: limits of the scope, and of its provider, budgets, and a cap."""
    budget = draw(st.sampled_from([{}, {"all": {"labels": ["*"], "tokens": "40 per day"}}, {"all": {"requests": "8 per day"}}]))
    return {
        "global": {"requests_per_minute": draw(st.sampled_from([3, 30, 60]))},
        "outbound": {"api": {"limits": draw(SOME), "breaker": {"failures": draw(st.integers(2, 4)), "open_for": "1h"}}},
        "provider": {"api": {"limits": draw(SOME), "cost": draw(st.sampled_from([{}, {"get": 2}]))}},
        "budget": budget,
    }


@given(before=policies(), after=policies(), statuses=st.lists(st.sampled_from([200, 500]), max_size=5))
@settings(max_examples=20)
def test_the_next_life_goes_on_under_other_settings_as_a_governor_that_was_reconfigured(
    before: dict[str, object], after: dict[str, object], statuses: Sequence[int]
) -> None:
    with Governor(Config.from_mapping(before)) as governor:
        call(governor, statuses)
        governor.reconfigure(Config.from_mapping(after))
        reconfigured = stands(governor)
    with tempfile.TemporaryDirectory() as folder:
        machine = {"machine": {"state": folder}}
        with Governor(Config.from_mapping({**before, **machine})) as governor:
            call(governor, statuses)
        with Governor(Config.from_mapping({**after, **machine})) as governor:
            restarted = stands(governor)

    assert reconfigured == restarted


def call(governor: Governor, statuses: Sequence[int]) -> None:
    for status in statuses:
        with suppress(PermitDenied):  # With a timeout, as a first call may wait until a mark is durable.
            governor.acquire_blocking("api", "get", cost={"tokens": 7}, caller="all", timeout=5.0).record(status=status)


def stands(governor: Governor) -> list[object]:
    """How everything stands that counts calls, after one more."""
    call(governor, [200])
    now = governor.statistics()
    scope = now.scopes["api:get"]
    of_provider = [(one.unit, one.capacity, one.available) for ones in now.provider_limits.values() for one in ones]
    budgets = {
        name: {label: {unit: use.used for unit, use in uses.items()} for label, uses in budget.labels.items()}
        for name, budget in now.budgets.items()
    }
    return [
        [(one.unit, one.capacity, one.available) for one in scope.limits],
        of_provider,
        budgets,
        scope.breaker.status,
        now.requests_last_minute,
    ]
