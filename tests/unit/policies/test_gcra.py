"""Token bucket: examples and exact boundaries."""

import math
from typing import Any

import msgspec
import pytest

from governor._units import DAY, MAX_DURATION, MINUTE, NEVER, SECOND, Duration, Instant
from governor.errors import ConfigError, Reason
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.gcra import TokenBucket, TokenBucketPolicy, TokenBucketState

T0 = Instant(1_000 * SECOND)


def bucket(amount: int = 1, per: Duration = SECOND, burst: int = 3, unit: str = "requests") -> TokenBucketPolicy:
    return TokenBucketPolicy(TokenBucket(amount, per, burst, unit))


def at(seconds: float) -> Instant:
    return Instant(T0 + round(seconds * SECOND))


def spend(policy: TokenBucketPolicy, now: Instant, request: Request = PLAIN) -> Grant | None:
    if policy.earliest(now, request) > now:
        return None
    return Grant(now, 0, request, (policy.commit(now, request),))


def give_back(policy: TokenBucketPolicy, now: Instant, grant: Grant | None) -> None:
    assert grant is not None
    assert grant.receipts is not None
    policy.refund(now, grant, grant.receipts[0])


@pytest.mark.promise("R02")
def test_a_fresh_bucket_grants_its_burst_and_no_more() -> None:
    policy = bucket(burst=3)

    assert [True, True, True, False] == [spend(policy, T0) is not None for _ in range(4)]


@pytest.mark.promise("R02")
def test_a_lone_client_gets_the_token_at_the_instant_that_it_is_due_and_not_a_microsecond_before() -> None:
    policy = bucket(burst=1)
    spend(policy, T0)

    due = policy.earliest(T0, PLAIN)

    assert due == at(1)
    assert spend(policy, Instant(due - 1)) is None
    assert spend(policy, due) is not None


@pytest.mark.promise("R02")
def test_sixty_a_minute_with_a_burst_of_sixty_lets_a_hundred_and_twenty_through_some_minute_and_no_more() -> None:
    policy = bucket(amount=60, per=MINUTE, burst=60)

    granted = [now for now in range(T0, T0 + MINUTE + 1, SECOND // 2) for _ in range(61) if spend(policy, Instant(now))]

    assert len(granted) == 120


def test_a_rate_that_no_microsecond_divides_does_not_drift() -> None:
    policy = bucket(amount=3, per=SECOND, burst=2)
    now = T0
    for _ in range(3_002):
        now = policy.earliest(now, PLAIN)
        spend(policy, now)

    # The burst of two, and then three thousand at three in a second.
    assert now == at(1_000)


def test_a_cost_takes_several_tokens_or_none() -> None:
    policy = bucket(burst=5)
    spend(policy, T0, Request(3))

    refused = spend(policy, T0, Request(3))

    assert (None, 2) == (refused, policy.available(T0))


def test_more_than_the_burst_can_never_be_granted() -> None:
    assert NEVER == bucket(burst=5).earliest(T0, Request(6))


def test_a_request_that_names_none_of_the_unit_passes_an_empty_bucket() -> None:
    policy = bucket(burst=1, unit="tokens")
    spend(policy, T0, Request(units={"tokens": 1}))

    assert T0 == policy.earliest(T0, PLAIN)


def test_other_units_are_counted_by_name_and_requests_are_not() -> None:
    policy = bucket(burst=900, unit="tokens")
    spend(policy, T0, Request(7, {"tokens": 600, "images": 5}))

    assert 300 == policy.available(T0)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    policy = bucket(burst=3)
    spend(policy, T0)

    assert 3 == policy.available(Instant(T0 + DAY))


def test_the_line_ahead_goes_first() -> None:
    policy = bucket(burst=2)
    spend(policy, T0, Request(2))

    assert [at(1), at(2), at(3), at(7)] == [policy.earliest(T0, PLAIN, Request(ahead)) for ahead in (0, 1, 2, 6)]


def test_a_line_longer_than_the_burst_is_served_at_the_rate_even_by_a_full_bucket() -> None:
    policy = bucket(burst=2)

    assert [T0, T0, at(1), at(2)] == [policy.earliest(T0, PLAIN, Request(ahead)) for ahead in (0, 1, 2, 3)]


def test_what_was_used_beyond_the_permit_is_a_debt_that_is_paid_first() -> None:
    policy = bucket(burst=10)
    grant = spend(policy, T0, Request(5))
    assert grant is not None

    policy.settle(T0, grant, None, 8)

    assert 0 == policy.available(T0)
    assert at(4) == policy.earliest(T0, PLAIN)


def test_what_was_not_used_comes_back() -> None:
    policy = bucket(burst=10)
    grant = spend(policy, T0, Request(8))
    assert grant is not None

    policy.settle(T0, grant, None, -6)

    assert 8 == policy.available(T0)


def test_a_permit_given_back_at_once_leaves_no_trace() -> None:
    policy = bucket(burst=3)
    spend(policy, T0)
    before = policy.available(T0)

    give_back(policy, T0, spend(policy, T0))

    assert before == policy.available(T0) == 2


def test_what_the_bucket_has_earned_again_is_not_given_back_a_second_time() -> None:
    policy = bucket(burst=10)
    first = spend(policy, T0, Request(10))
    spend(policy, at(10), Request(10))

    give_back(policy, at(10), first)

    assert 0 == policy.available(at(10))


def test_a_refund_counts_what_was_committed_on_top_of_the_grant() -> None:
    policy = bucket(burst=10)
    first = spend(policy, T0, Request(4))
    spend(policy, T0, Request(6))

    give_back(policy, at(1), first)

    # The 4 that are given back were due for 3 s more; 1 has been earned in the first second, for other calls.
    assert 4 == policy.available(at(1))


def test_what_one_refund_has_given_back_another_does_not_give_back_again() -> None:
    policy = bucket(burst=2)
    first, second = spend(policy, T0), spend(policy, T0)
    give_back(policy, T0, first)
    spend(policy, at(1), Request(2))

    give_back(policy, at(1), second)

    assert 0 == policy.available(at(1))


def test_a_debt_is_counted_from_the_time_at_which_it_is_known() -> None:
    policy = bucket(burst=2)
    grant = spend(policy, T0)
    assert grant is not None

    policy.settle(at(100), grant, None, 2)

    assert 0 == policy.available(at(100))


def test_refunds_in_any_order_give_back_everything() -> None:
    policy = bucket(burst=10)
    first, second = spend(policy, T0, Request(5)), spend(policy, T0, Request(5))
    give_back(policy, T0, second)
    give_back(policy, T0, first)

    assert 10 == policy.available(T0)


@pytest.mark.parametrize("per", [Duration(1), Duration(2), SECOND])
def test_from_ready_on_a_plain_request_is_granted(per: Duration) -> None:
    policy = bucket(per=per, burst=2)
    ready = [policy.ready <= T0]
    for _ in range(2):
        spend(policy, T0)
        ready.append(policy.ready <= T0)

    assert [True, True, False] == ready
    assert policy.ready == T0 + per


def test_a_bucket_of_tokens_never_keeps_a_plain_request_back() -> None:
    policy = bucket(burst=1, unit="tokens")
    spend(policy, T0, Request(units={"tokens": 1}))

    assert policy.ready <= T0


@pytest.mark.parametrize("back", [1, SECOND, DAY])
def test_a_clock_that_goes_back_earns_nothing(back: int) -> None:
    policy = bucket(burst=3)
    for _ in range(2):
        spend(policy, T0)
    then = Instant(max(0, T0 - back))
    while spend(policy, then):
        pass
    while spend(policy, T0):
        pass

    assert at(1) == policy.earliest(T0, PLAIN)


def test_after_a_day_of_silence_it_is_the_burst_and_no_more() -> None:
    policy = bucket(burst=3)
    while spend(policy, T0):
        pass

    assert 3 == sum(spend(policy, Instant(T0 + DAY)) is not None for _ in range(10))


def test_the_state_goes_on_in_another_machine() -> None:
    policy, other = bucket(burst=3), bucket(burst=3)
    first = spend(policy, T0, Request(2))
    give_back(policy, T0, first)
    spend(policy, T0, Request(3))

    other.restore(policy.state())

    assert policy.state() == other.state()
    assert policy.ready == other.ready == at(1)


def test_the_state_can_be_written_down() -> None:
    policy = bucket(amount=833, per=Duration(100 * SECOND), burst=500)
    spend(policy, T0, Request(100))

    assert policy.state() == msgspec.json.decode(msgspec.json.encode(policy.state()), type=TokenBucketState)


def test_the_refusal_of_a_bucket_is_a_rate_limit() -> None:
    assert Reason.RATE_LIMIT is bucket().reason


def test_capacity_and_rate_are_the_ones_that_were_asked_for() -> None:
    policy = bucket(amount=833, per=Duration(100 * SECOND), burst=500)

    assert (500, 8.33) == (policy.capacity(), policy.refill_rate())


def test_an_instant_beyond_all_time_is_never() -> None:
    policy = bucket(amount=1, per=MAX_DURATION, burst=10**12)
    spend(policy, T0, Request(10**12))

    assert NEVER == policy.earliest(T0, Request(10**12))


@pytest.mark.parametrize("field", ["amount", "per", "burst"])
@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, math.nan, math.inf, "1", None, 10**15])
def test_a_number_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    said: dict[str, Any] = {"amount": 1, "per": "1s", "burst": 1, field: value}

    with pytest.raises(ConfigError, match=rf"{field} is .*; expected a (whole number from 1 to \d+|duration )"):
        TokenBucket(**said)


@pytest.mark.parametrize("unit", ["", "Tokens", "two words", "9lives", "a-b", None, 1])
def test_a_unit_is_one_lower_case_word(unit: Any) -> None:
    with pytest.raises(ConfigError, match=r"unit is .*; expected one lower-case word"):
        TokenBucket(1, SECOND, 1, unit)
