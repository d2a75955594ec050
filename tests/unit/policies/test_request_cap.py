"""Request cap: examples and exact boundaries."""

import pytest

from governor._units import NEVER, SECOND, Instant
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.request_cap import RequestCap, RequestCapPolicy

T0 = Instant(1_000 * SECOND)


def cap(most: int = 2) -> RequestCapPolicy:
    return RequestCapPolicy(RequestCap(most))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def ask(policy: RequestCapPolicy, now: Instant, request: Request = PLAIN) -> Grant | None:
    if policy.earliest(now, request) > now:
        return None
    policy.commit(now, request)
    return Grant(now, 0, request)


def give_back(policy: RequestCapPolicy, now: Instant, grant: Grant | None) -> None:
    assert grant is not None
    policy.refund(now, grant, 0)


def test_a_thousand_a_minute_by_default() -> None:
    policy = RequestCapPolicy(RequestCap())

    assert 1_000 == sum(ask(policy, at(number / 100)) is not None for number in range(2_000))


@pytest.mark.parametrize("result", list(Result))
def test_no_outcome_makes_room(result: Result) -> None:
    policy = cap(1)
    grant = ask(policy, T0)
    assert grant is not None

    policy.record(at(1), grant, result)

    assert at(60) == policy.earliest(at(1), PLAIN)


@pytest.mark.promise("R07")
def test_a_grant_given_back_after_more_than_a_minute_makes_no_room_for_another() -> None:
    policy = cap(2)
    first = ask(policy, at(0))
    ask(policy, at(61))
    ask(policy, at(61))

    give_back(policy, at(62), first)

    assert (2, at(121)) == (policy.used(at(62)), policy.earliest(at(62), PLAIN))


def test_a_cap_full_of_old_grants_is_asked_and_grants() -> None:
    policy = cap(1)
    ask(policy, T0)

    assert policy.ready == NEVER
    assert at(60) == policy.earliest(at(60), PLAIN)


def test_without_a_cap_all_is_granted_and_counted() -> None:
    policy = RequestCapPolicy(RequestCap(None))
    ask(policy, at(0), Request(10**12))
    ask(policy, at(1), Request(10**12))

    assert (at(1), 2 * 10**12) == (policy.earliest(at(1), Request(10**12)), policy.used(at(1)))


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 10, 99, 100, 101, 1_000])
def test_a_watched_cap_sends_the_ask_to_a_closer_look_before_use_passes_four_fifths(most: int) -> None:
    policy = cap(most)
    policy.watch(on=True)
    unseen = 0
    while policy.ready <= T0:  # What the short way grants.
        policy.commit(T0, PLAIN)
        unseen += 1
    policy.commit(T0, PLAIN)

    assert 5 * unseen <= 4 * most < 5 * (unseen + 1)
    assert policy.warns
    assert policy.is_high(T0)


@pytest.mark.promise("R07")
def test_leased_requests_do_not_set_the_warning_off_before_they_are_used() -> None:
    policy = cap(100)
    policy.watch(on=True)
    policy.lease(T0, 85)
    leased = (policy.ready <= T0, policy.warns)
    policy.collect(T0, 81)

    assert ((True, False), True, True) == (leased, policy.warns, policy.is_high(T0))


def test_use_is_calm_again_at_seven_tenths_and_high_use_of_the_past_is_forgotten() -> None:
    policy = cap(10)
    for second in range(9):
        policy.commit(at(second), PLAIN)

    assert [True, True, False, False, False] == [policy.is_high(at(second)) for second in (8, 59, 60, 61, 200)]
    assert [False, False, False, True, True] == [policy.is_calm(at(second)) for second in (8, 59, 60, 61, 200)]


def test_a_cap_that_is_not_watched_or_none_at_all_warns_of_nothing() -> None:
    unwatched, none = cap(10), RequestCapPolicy(RequestCap(None))
    none.watch(on=True)
    for policy in (unwatched, none):
        for _ in range(10):
            policy.commit(T0, PLAIN)

    assert [False, False] == [policy.warns for policy in (unwatched, none)]
    assert (True, False) == (unwatched.is_high(T0), none.is_high(T0))
    assert none.is_calm(T0)


def test_another_cap_is_watched_by_its_own_share() -> None:
    policy = cap(100)
    policy.watch(on=True)
    for _ in range(50):
        policy.commit(T0, PLAIN)
    policy.reconfigure(RequestCap(60))

    assert (NEVER, True, True) == (policy.ready, policy.warns, policy.is_high(T0))


@pytest.mark.promise("R07")
def test_what_was_leased_used_and_given_back_leaves_its_place_even_beside_others_that_did() -> None:
    policy = RequestCapPolicy(RequestCap(10))
    policy.commit(Instant(100), PLAIN)
    policy.lease(Instant(500), 1)
    policy.commit(Instant(1000), PLAIN)
    policy.refund(Instant(1000), Grant(Instant(1000), 0), None)
    policy.collect(Instant(2000), 1)
    policy.refund(Instant(2000), Grant(Instant(500), 0), None)

    assert 1 == policy.used(Instant(2001))
