"""Request cap: examples and exact boundaries."""

import math
from typing import Any

import msgspec
import pytest

from governor._units import DAY, NEVER, SECOND, Instant
from governor.errors import ConfigError, Reason
from governor.policies._sliding_log import SlidingLogState
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


@pytest.mark.promise("R07")
def test_room_comes_exactly_sixty_seconds_after_the_oldest_grant_and_not_a_microsecond_before() -> None:
    policy = cap(2)
    ask(policy, at(0))
    ask(policy, at(7))

    due = policy.earliest(at(8), PLAIN)

    assert due == at(60)
    assert ask(policy, Instant(due - 1)) is None
    assert ask(policy, due) is not None
    assert ask(policy, due) is None


@pytest.mark.promise("R07")
def test_a_refused_request_leaves_no_trace() -> None:
    policy = cap(2)
    ask(policy, at(0))
    ask(policy, at(0))
    before = policy.state()

    refused = [ask(policy, at(second)) for second in range(60)]

    assert [None] * 60 == refused
    assert before == policy.state()
    assert ask(policy, at(60)) is not None


@pytest.mark.parametrize("result", list(Result))
def test_no_outcome_makes_room(result: Result) -> None:
    policy = cap(1)
    grant = ask(policy, T0)
    assert grant is not None

    policy.record(at(1), grant, result)

    assert at(60) == policy.earliest(at(1), PLAIN)


def test_a_request_that_was_never_made_makes_room() -> None:
    policy = cap(2)
    first = ask(policy, at(0))
    ask(policy, at(1))

    give_back(policy, at(2), first)

    assert (1, at(2), at(61)) == (
        policy.used(at(2)),
        policy.earliest(at(2), PLAIN),
        policy.earliest(at(2), Request(2)),
    )


@pytest.mark.promise("R07")
def test_a_grant_given_back_after_more_than_a_minute_makes_no_room_for_another() -> None:
    policy = cap(2)
    first = ask(policy, at(0))
    ask(policy, at(61))
    ask(policy, at(61))

    give_back(policy, at(62), first)

    assert (2, at(121)) == (policy.used(at(62)), policy.earliest(at(62), PLAIN))


def test_a_cost_counts_as_so_many_requests_or_none() -> None:
    policy = cap(5)
    ask(policy, T0, Request(3))

    assert (None, 3) == (ask(policy, T0, Request(3)), policy.used(T0))


def test_more_than_the_cap_can_never_be_granted() -> None:
    assert NEVER == cap(5).earliest(T0, Request(6))


def test_the_lines_ahead_go_first() -> None:
    policy = cap(2)
    ask(policy, at(0))
    ask(policy, at(7))

    named = [policy.earliest(at(8), PLAIN, Request(ahead)) for ahead in range(5)]

    assert [at(60), at(67), at(120), at(127), at(180)] == named


def test_a_clock_that_goes_back_makes_no_room() -> None:
    policy = cap(2)
    ask(policy, at(100))
    ask(policy, at(10))

    assert at(160) == policy.earliest(at(70), PLAIN)


def test_after_a_day_of_silence_it_is_the_cap_and_no_more() -> None:
    policy = cap(2)
    while ask(policy, T0):
        pass

    assert 2 == sum(ask(policy, Instant(T0 + DAY)) is not None for _ in range(5))


def test_from_ready_on_a_plain_request_is_granted() -> None:
    policy = cap(2)
    ready = [policy.ready <= T0]
    ask(policy, T0)
    ready.append(policy.ready <= T0)
    last = ask(policy, T0)
    ready.append(policy.ready <= T0)
    give_back(policy, T0, last)
    ready.append(policy.ready <= T0)

    assert [True, True, False, True] == ready


def test_a_cap_full_of_old_grants_is_asked_and_grants() -> None:
    policy = cap(1)
    ask(policy, T0)

    assert policy.ready == NEVER
    assert at(60) == policy.earliest(at(60), PLAIN)


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = cap(2), cap(2)
    ask(policy, at(0))
    ask(policy, at(1))

    other.restore(policy.state())

    assert policy.state() == other.state()
    assert policy.ready == other.ready == NEVER


def test_the_state_can_be_written_down() -> None:
    policy = cap(2)
    ask(policy, at(0))
    ask(policy, at(1))

    assert policy.state() == msgspec.json.decode(msgspec.json.encode(policy.state()), type=SlidingLogState)


def test_the_refusal_names_the_cap() -> None:
    assert Reason.REQUEST_CAP is cap().reason


@pytest.mark.parametrize("most", [0, -1, True, False, 1.0, math.nan, math.inf, "1", 10**15])
def test_a_number_that_cannot_be_is_refused_by_name(most: Any) -> None:
    with pytest.raises(ConfigError, match=r"requests_per_minute is .*; expected a whole number from 1 to \d+"):
        RequestCap(most)


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


def test_lent_requests_do_not_set_the_warning_off_before_they_are_used() -> None:
    policy = cap(100)
    policy.watch(on=True)
    policy.lend(T0, 85)
    lent = (policy.ready <= T0, policy.warns)
    policy.collect(T0, 81)

    assert ((True, False), True, True) == (lent, policy.warns, policy.is_high(T0))


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
def test_what_was_lent_used_and_given_back_leaves_its_place_even_beside_others_that_did() -> None:
    policy = RequestCapPolicy(RequestCap(10))
    policy.commit(Instant(100), PLAIN)
    policy.lend(Instant(500), 1)
    policy.commit(Instant(1000), PLAIN)
    policy.refund(Instant(1000), Grant(Instant(1000), 0), None)
    policy.collect(Instant(2000), 1)
    policy.refund(Instant(2000), Grant(Instant(500), 0), None)

    assert 1 == policy.used(Instant(2001))
