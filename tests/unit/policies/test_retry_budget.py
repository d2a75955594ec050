"""Retry budget: examples and exact boundaries."""

import math

import pytest

from governor._units import HOUR, SECOND, Duration, Instant
from governor.errors import ConfigError
from governor.policies.retry_budget import SLOTS, RetryBudget, RetryBudgetPolicy

T0 = Instant(1_000 * SECOND)
WINDOW = Duration(256 * SECOND)
GRAIN = SECOND


def budget(*, share: float = 0.0, floor: int = 0) -> RetryBudgetPolicy:
    """A budget whose slots span exactly one second."""
    return RetryBudgetPolicy(RetryBudget(share=share, floor=floor, window=WINDOW))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def test_the_defaults_are_a_fifth_of_the_requests_and_ten_in_ten_seconds() -> None:
    parameters = RetryBudget()

    assert (200_000, 10, 10 * SECOND) == (parameters.parts_per_million, parameters.floor, parameters.window)


@pytest.mark.promise("R05")
def test_a_fresh_budget_grants_its_floor_and_no_more() -> None:
    policy = budget(floor=3)

    assert [True, True, True, False] == [policy.withdraw(T0) for _ in range(4)]


@pytest.mark.promise("R05")
def test_with_the_provider_down_a_thousand_calls_cause_two_hundred_and_ten_retries() -> None:
    policy = RetryBudgetPolicy(RetryBudget())
    retries = 0
    for _ in range(1_000):
        policy.deposit(T0)
        retries += sum(policy.withdraw(T0) for _ in range(5))

    assert retries == 210


def test_the_share_is_counted_in_whole_millionths() -> None:
    policy = budget(share=0.1 + 0.2)
    policy.deposit(T0, 10)

    assert policy.balance(T0) == 3


def test_requests_that_expire_before_the_retries_they_paid_for_leave_no_debt_on_show() -> None:
    policy = budget(share=1.0, floor=1)
    policy.deposit(T0, 3)
    policy.withdraw(at(10), 4)

    assert policy.balance(Instant(T0 + WINDOW)) == 0


def test_a_slot_of_requests_expires_with_its_oldest_member() -> None:
    policy = budget(share=1.0)
    policy.deposit(at(0))
    policy.deposit(Instant(T0 + GRAIN - 1))

    assert (2, 0) == (policy.balance(Instant(T0 + WINDOW - 1)), policy.balance(Instant(T0 + WINDOW)))


def test_a_slot_of_retries_expires_with_its_newest_member() -> None:
    policy = budget(floor=2)
    policy.withdraw(at(0))
    policy.withdraw(Instant(T0 + GRAIN - 1))

    assert (0, 2) == (policy.balance(Instant(T0 + WINDOW + GRAIN - 2)), policy.balance(Instant(T0 + WINDOW + GRAIN - 1)))


def test_a_slot_does_not_stretch_with_its_members() -> None:
    policy = budget(floor=100)
    for tenth in range(25):
        policy.withdraw(at(tenth / 10))

    assert [(T0, at(0.9), 10), (at(1), at(1.9), 10), (at(2), at(2.4), 5)] == list(policy.state().withdrawals)


def test_the_balance_changes_nothing() -> None:
    policy = budget(share=0.5, floor=2)
    policy.deposit(T0, 3)
    policy.withdraw(T0, 2)
    before = policy.state()

    policy.balance(Instant(T0 + 10 * WINDOW))

    assert before == policy.state()


def test_what_has_left_the_window_is_forgotten_with_the_next_event() -> None:
    policy = budget(share=1.0, floor=1)
    end = Instant(T0 + WINDOW)
    for instant in (T0, end):
        policy.deposit(instant, 2)
        policy.withdraw(instant)

    assert (((end, end, 2),), ((end, end, 1),)) == (policy.state().deposits, policy.state().withdrawals)
    assert policy.balance(end) == 2


def test_memory_does_not_grow_with_the_traffic() -> None:
    window = 7 * SECOND + 1
    policy = RetryBudgetPolicy(RetryBudget(share=1.0, floor=0, window=Duration(window)))
    sizes = []
    for step in range(750):
        now = Instant(T0 + step * window // 500)
        policy.deposit(now)
        policy.withdraw(now)
        sizes.append((len(policy.state().deposits), len(policy.state().withdrawals)))

    assert all(deposits <= SLOTS and withdrawals <= SLOTS + 1 for deposits, withdrawals in sizes)
    assert max(deposits for deposits, _ in sizes) > SLOTS // 2


def test_an_instant_that_was_rejected_is_remembered_as_seen() -> None:
    policy = budget(share=1.0)
    policy.deposit(T0)
    policy.withdraw(Instant(T0 + WINDOW))

    assert not policy.withdraw(T0)


def test_requests_after_a_restored_state_are_added_to_that_state() -> None:
    policy = budget(share=1.0)
    policy.deposit(at(0), 3)
    state = policy.state()
    policy.deposit(at(0), 4)
    policy.restore(state)
    policy.deposit(at(0), 5)

    assert 8 == policy.balance(at(0))
    assert ((at(0), at(0), 8),) == policy.state().deposits


def test_changing_the_old_budget_does_not_change_a_state_taken_from_it() -> None:
    policy = budget(floor=5)
    policy.withdraw(T0)
    taken = policy.state()

    policy.withdraw(T0)

    assert ((T0, T0, 1),) == taken.withdrawals


@pytest.mark.parametrize(("share", "parts"), [(0, 0), (0.2, 200_000), (0.0001, 100), (0.9999, 999_900), (1000, 1_000_000_000)])
def test_a_share_from_nothing_to_a_thousand_can_be_set(share: float, parts: int) -> None:
    assert parts == RetryBudget(share=share).parts_per_million


@pytest.mark.parametrize("share", [-0.1, 1000.1, math.nan, math.inf, True, "0.2", 10**400])
def test_any_other_share_is_rejected(share: float) -> None:
    with pytest.raises(ConfigError, match=r"share is .*; expected a number from 0 to 1000"):
        RetryBudget(share=share)


@pytest.mark.parametrize("window", ["999999us", "61m"])
def test_a_window_shorter_than_a_second_or_longer_than_an_hour_is_rejected(window: str) -> None:
    assert (SECOND, HOUR) == (RetryBudget(window="1s").window, RetryBudget(window="1h").window)
    with pytest.raises(ConfigError, match=r"window is .*; expected a duration from 1s to 1h"):
        RetryBudget(window=window)
