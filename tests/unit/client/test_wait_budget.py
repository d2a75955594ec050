"""The wait of one call: its default, its bound, and what a permit and a pause may take of it."""

import math

import pytest

from governor import ConfigError
from governor.clock import system_clock
from governor_client import wait_at_most
from governor_client._terms import Terms
from governor_client._wait import WaitBudget, longest

INFINITE = 10**400


@pytest.mark.promise("R57")
@pytest.mark.parametrize(
    ("wait", "timeout", "permit", "pause"),
    [
        ("timeout", 2.5, 2.5, 2.5),
        ("timeout", 600.0, 30.0, 30.0),
        ("timeout", None, 30.0, 30.0),
        (5.0, 600.0, 5.0, 5.0),
        (90, 2.5, 90.0, 90.0),
        (None, 2.5, None, None),
        (math.inf, 2.5, None, None),
        (INFINITE, 2.5, None, None),
        (0, 2.5, 0.0, 2.5),
        (0.0, None, 0.0, 30.0),
    ],
)
def test_a_call_waits_as_long_as_it_says_and_by_default_as_long_as_its_timeout_but_30_seconds_at_most(
    wait: float | None, timeout: float | None, permit: float | None, pause: float | None
) -> None:
    budget = WaitBudget(wait, timeout)

    assert (permit, pause) == (budget.permit, budget.pause)


@pytest.mark.promise("R57")
def test_what_has_been_waited_is_gone_for_permits_and_pauses_alike() -> None:
    budget = WaitBudget(5.0, None)

    budget.spend(2.0)
    after_two = budget.permit, budget.pause
    budget.spend(4.0)

    assert ((3.0, 3.0), (0.0, 0.0)) == (after_two, (budget.permit, budget.pause))


@pytest.mark.promise("R57")
def test_the_wait_of_the_call_goes_before_that_of_the_block_and_that_before_the_one_of_the_client() -> None:
    terms = Terms("github", wait=1.0, clock=system_clock)

    with wait_at_most(2.0):
        inside = terms.budget(..., None).pause, terms.budget(3.0, None).pause

    assert ((2.0, 3.0), 1.0) == (inside, terms.budget(..., None).pause)


@pytest.mark.parametrize("wait", [-1, math.nan, "5", True, "Timeout", [1]])
def test_what_is_no_time_to_wait_is_a_mistake_wherever_it_is_said(wait: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^wait is .*; expected a number of seconds from 0, None for no bound, or 'timeout'$"
    ):
        Terms("github", wait=wait, clock=system_clock)  # type: ignore[arg-type] # the mistake
    with pytest.raises(ConfigError, match=r"^wait is "), wait_at_most(wait):  # type: ignore[arg-type] # the mistake
        pass
    with pytest.raises(ConfigError, match=r"^wait is "):
        Terms("github", clock=system_clock).budget(wait, None)


def test_the_timeout_of_a_call_is_its_longest_phase_and_none_if_one_has_no_bound() -> None:
    assert (5.0, None, None) == (longest([1.0, 5.0]), longest([1.0, None]), longest([]))
