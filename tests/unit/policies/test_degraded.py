"""Degraded mode: examples and exact boundaries."""

from typing import Any

import pytest

from governor._units import MINUTE, SECOND, Instant
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.degraded import MAX_NAMED, MAX_PROVIDERS, Cause, Degraded, DegradedPolicy

T0 = Instant(1_000 * SECOND)


def degraded(failures: int | None = 3, providers: int = 1, **more: Any) -> DegradedPolicy:
    return DegradedPolicy(Degraded(failures=failures, providers=providers, **more))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def outcome(
    policy: DegradedPolicy,
    result: Result,
    *,
    ended: Instant = T0,
    granted: Instant = T0,
    provider: str = "",
    healthy: bool = False,
) -> None:
    policy.record(ended, Grant(granted, 0), result, provider)
    if policy.due:
        policy.decide(ended, healthy=healthy)


def fail(policy: DegradedPolicy, times: int, now: Instant = T0, *, of: str = "", healthy: bool = False) -> None:
    for _ in range(times):
        outcome(policy, Result.FAILURE, ended=now, granted=now, provider=of, healthy=healthy)


def deny(policy: DegradedPolicy, times: int, now: Instant = T0, *, of: str = "", cost: int = 1) -> None:
    for _ in range(times):
        policy.deny(now, Request(cost), of)


def test_ten_failures_of_two_providers_and_a_minute_by_default() -> None:
    assert Degraded(failures=10, providers=2, excess=None, cooldown=MINUTE) == Degraded()


@pytest.mark.promise("R08")
def test_the_last_of_so_many_failures_in_a_row_pauses_everything() -> None:
    policy = degraded(3)
    fail(policy, 2)
    before = policy.earliest(T0, PLAIN)
    fail(policy, 1)

    assert (T0, at(60), 1) == (before, policy.earliest(T0, PLAIN), policy.spells)


@pytest.mark.promise("R08")
def test_it_is_over_exactly_when_the_cooldown_is_and_not_a_microsecond_before() -> None:
    policy = degraded()
    policy.enter(T0)
    last = Instant(at(60) - 1)

    assert (at(60), at(60)) == (policy.earliest(last, PLAIN), policy.earliest(at(60), PLAIN))


def test_a_success_ends_the_row() -> None:
    policy = degraded(3)
    fail(policy, 2)
    outcome(policy, Result.SUCCESS)
    fail(policy, 2)

    assert (T0, 2) == (policy.earliest(T0, PLAIN), policy.failures)


def test_a_cancelled_call_says_nothing() -> None:
    policy = degraded(3)
    fail(policy, 2)
    outcome(policy, Result.NEUTRAL)
    fail(policy, 1)

    assert at(60) == policy.until


@pytest.mark.promise("R08")
def test_one_dead_provider_never_pauses_the_others_however_often_it_fails() -> None:
    policy = degraded(10, providers=2)
    fail(policy, 10_000, of="dead")

    assert (0, 10_000) == (policy.spells, policy.failures)


@pytest.mark.promise("R08")
def test_one_failure_of_each_of_many_hosts_says_something_about_those_hosts() -> None:
    policy = degraded(10, providers=2)
    for number in range(10 * MAX_PROVIDERS):
        fail(policy, 1, of=f"host{number}")
    bystander = policy.blames("host0")
    fail(policy, 1, of=f"host{10 * MAX_PROVIDERS - 1}")
    one_twice = policy.spells
    fail(policy, 1, of=f"host{9 * MAX_PROVIDERS + 1}")

    assert (False, 0, 1) == (bystander, one_twice, policy.spells)


@pytest.mark.parametrize(
    ("failures", "providers", "script", "spells"),
    [
        (10, 2, "aaaaabbbb", 0),
        (10, 2, "aaaaabbbbb", 1),
        (10, 2, "aaaaaaaaab", 0),
        (10, 2, "aaaaaaaaabb", 1),
        (10, 2, "abcdefghij", 0),
        (10, 2, "abcdefghijj", 0),
        (10, 2, "abcdefghijji", 1),
        (10, 3, "aaaaabbbbb", 0),
        (10, 3, "aaaaabbbbbcc", 1),
        (4, 2, "aabb", 1),
        (4, 2, "abcd", 0),
        (3, 2, "aab", 1),
        (2, 2, "ab", 1),
        (2, 2, "aa", 0),
        (1, 2, "a", 0),
        (1, 2, "ab", 1),
        (1, 1, "a", 1),
        (10, 1, "abcdefghij", 1),
    ],
)
def test_so_many_providers_take_part_in_a_row(failures: int, providers: int, script: str, spells: int) -> None:
    policy = degraded(failures, providers)
    for provider in script:
        fail(policy, 1, of=provider)

    assert spells == policy.spells


@pytest.mark.promise("R08")
def test_a_provider_whose_breaker_is_not_closed_adds_nothing_until_all_of_its_breakers_are() -> None:
    policy = degraded(4, providers=2)
    policy.breaker_opened("a")
    policy.breaker_opened("a")
    fail(policy, 9, of="a")
    policy.breaker_closed("a")
    fail(policy, 9, of="a")
    none = policy.failures
    policy.breaker_closed("a")
    fail(policy, 9, of="a")

    assert (0, 9) == (none, policy.failures)


@pytest.mark.promise("R08")
def test_a_row_begins_anew_where_another_provider_is_healthy() -> None:
    policy = degraded(4, providers=2)
    for provider in "abab":
        fail(policy, 1, of=provider, healthy=True)
    after = (policy.failures, policy.spells, policy.blames("a"))
    for provider in "abab":
        fail(policy, 1, of=provider)

    assert ((0, 0, False), 1) == (after, policy.spells)


def test_the_culprits_are_named_the_worst_first_without_those_that_take_no_part() -> None:
    policy = degraded(10, providers=2)
    for provider in "xbaaaabbbca":
        fail(policy, 1, of=provider)

    assert (Cause.FAILURES, ("a", "b")) == (policy.cause, policy.culprits)


def test_no_more_than_a_few_culprits_are_named() -> None:
    policy = degraded(50, providers=25)
    for number in range(50):
        fail(policy, 1, of=f"host{number % 25:02}")

    assert tuple(f"host{number:02}" for number in range(MAX_NAMED)) == policy.culprits


@pytest.mark.promise("R08")
def test_failures_that_are_off_pause_nothing_and_are_not_counted() -> None:
    policy = degraded(None)
    fail(policy, 1_000)

    assert (0, 0) == (policy.spells, policy.failures)


@pytest.mark.promise("R08")
def test_excess_pauses_everything_when_it_passes_the_bound_within_a_minute() -> None:
    policy = degraded(excess=3)
    deny(policy, 1, at(0), of="a")
    deny(policy, 2, at(1), of="b")
    before = policy.spells
    deny(policy, 1, Instant(at(60) - 1), of="b")

    assert (0, 1, Cause.CAP, ("b", "a")) == (before, policy.spells, policy.cause, policy.culprits)


@pytest.mark.promise("R08")
def test_excess_that_has_left_the_window_counts_no_longer() -> None:
    policy = degraded(excess=3)
    deny(policy, 3, at(0))
    deny(policy, 3, at(60))

    assert (0, 3) == (policy.spells, policy.excess(at(60)))


def test_a_large_request_counts_by_its_cost() -> None:
    policy = degraded(excess=10)
    deny(policy, 1, cost=10)
    before = policy.spells
    deny(policy, 1)

    assert (0, 1) == (before, policy.spells)


def test_excess_of_the_time_before_a_pause_and_of_the_pause_itself_does_not_count_after_it() -> None:
    policy = degraded(excess=3, cooldown=SECOND)
    deny(policy, 4, at(0))
    deny(policy, 9, at(0.5))
    deny(policy, 3, at(1))

    assert (1, 3) == (policy.spells, policy.excess(at(1)))


def test_excess_that_is_off_pauses_nothing() -> None:
    policy = degraded(excess=None)
    deny(policy, 10_000)

    assert 0 == policy.spells


def test_those_denied_long_ago_are_not_named_for_those_denied_now() -> None:
    policy = degraded(excess=100)
    deny(policy, 90, at(0), of="long ago")
    deny(policy, 101, at(180), of="now")

    assert ("now",) == policy.culprits


@pytest.mark.parametrize("excess", [5, 10**9])
def test_memory_is_bounded_however_many_are_denied_and_fail(excess: int) -> None:
    policy = degraded(10**9, providers=2, excess=excess)
    for number in range(20_000):
        deny(policy, 1, at(number / 1000), of=f"host{number}")
        fail(policy, 1, at(200), of=f"host{number}")
    state = policy.state()

    assert len(state.blamed) <= MAX_PROVIDERS
    assert len(state.denied.slots) <= 4097


def test_leaving_ends_the_pause_and_begins_the_row_and_the_excess_anew() -> None:
    policy = degraded(3, excess=3)
    policy.enter(T0)
    policy.leave(at(10))
    fail(policy, 2, at(10))
    deny(policy, 3, at(10))
    policy.leave(at(11))
    fail(policy, 2, at(11))
    deny(policy, 3, at(11))

    assert (at(11), 1) == (policy.earliest(at(11), PLAIN), policy.spells)


@pytest.mark.promise("R08")
@pytest.mark.parametrize("result", list(Result))
def test_what_was_granted_before_a_pause_was_ended_by_hand_belongs_to_the_time_before(result: Result) -> None:
    policy = degraded(1)
    policy.enter(T0)
    policy.leave(at(10))
    before = policy.state()

    outcome(policy, result, granted=at(9), ended=at(11))

    assert before == policy.state()


def test_entering_again_during_the_cooldown_does_not_lengthen_it() -> None:
    policy = degraded()
    policy.enter(at(0))
    policy.enter(at(30))

    assert (at(60), 1) == (policy.until, policy.spells)


def test_entering_again_at_the_end_of_the_cooldown_starts_another() -> None:
    policy = degraded()
    policy.enter(at(0))
    policy.enter(at(60))

    assert (at(120), 2) == (policy.until, policy.spells)


@pytest.mark.promise("R08")
@pytest.mark.parametrize("result", list(Result))
def test_what_was_granted_before_the_cooldown_ended_belongs_to_the_time_before(result: Result) -> None:
    policy = degraded(1)
    policy.enter(at(0))
    before = policy.state()

    outcome(policy, result, granted=Instant(at(60) - 1), ended=at(70))

    assert before == policy.state()


def test_what_was_granted_at_the_end_of_the_cooldown_counts() -> None:
    policy = degraded(1)
    policy.enter(at(0))

    outcome(policy, Result.FAILURE, granted=at(60), ended=at(61))

    assert (at(121), 2) == (policy.until, policy.spells)


def test_failures_before_the_cooldown_do_not_count_after_it() -> None:
    policy = degraded(3)
    fail(policy, 2)
    policy.enter(T0)
    fail(policy, 2, at(60))

    assert at(60) == policy.earliest(at(60), PLAIN)


def test_other_parameters_count_what_has_been_counted() -> None:
    policy = degraded(9, providers=3, excess=9)
    for provider in "aabb":
        fail(policy, 1, of=provider)
    deny(policy, 3)
    policy.reconfigure(Degraded(failures=5, providers=2, excess=3))
    fail(policy, 1, of="c")
    by_failures = policy.spells
    policy.leave(at(1))
    policy.reconfigure(Degraded(failures=None, excess=3))
    deny(policy, 4, at(1))

    assert (1, 2) == (by_failures, policy.spells)


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = degraded(5, providers=2, excess=3), degraded(5, providers=2, excess=3)
    policy.breaker_opened("c")
    policy.enter(T0, Cause.CAP, ["b"])
    for provider in "aaab":
        fail(policy, 1, at(60), of=provider)
    deny(policy, 2, at(60))

    other.restore(policy.state())

    assert policy.state() == other.state()
    for each in (policy, other):
        fail(each, 9, at(60), of="c")
        fail(each, 1, at(60), of="b")
    assert (at(120), 2) == (policy.until, policy.spells) == (other.until, other.spells)
