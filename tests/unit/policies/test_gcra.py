"""Token bucket: examples and exact boundaries."""

import pytest

from governor._units import MAX_DURATION, MINUTE, NEVER, SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.gcra import TokenBucket, TokenBucketPolicy

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


def test_other_units_are_counted_by_name_and_requests_are_not() -> None:
    policy = bucket(burst=900, unit="tokens")
    spend(policy, T0, Request(7, {"tokens": 600, "images": 5}))

    assert 300 == policy.available(T0)


def test_a_queue_longer_than_the_burst_is_served_at_the_rate_even_by_a_full_bucket() -> None:
    policy = bucket(burst=2)

    assert [T0, T0, at(1), at(2)] == [policy.earliest(T0, PLAIN, Request(ahead)) for ahead in (0, 1, 2, 3)]


def test_what_the_bucket_has_earned_again_is_not_given_back_a_second_time() -> None:
    policy = bucket(burst=10)
    first = spend(policy, T0, Request(10))
    spend(policy, at(10), Request(10))

    give_back(policy, at(10), first)

    assert 0 == policy.available(at(10))


def test_a_debt_beyond_all_time_ends_at_no_instant_that_does_not_fit_in_64_bits() -> None:
    policy = TokenBucketPolicy(TokenBucket(1, MAX_DURATION, 1))
    grant = Grant(Instant(0), 0)
    policy.settle(Instant(0), grant, policy.commit(Instant(0), PLAIN), 10**12)

    assert NEVER == policy.ready == policy.earliest(Instant(0), PLAIN)


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


def test_an_instant_beyond_all_time_is_never() -> None:
    policy = bucket(amount=1, per=MAX_DURATION, burst=10**12)
    spend(policy, T0, Request(10**12))

    assert NEVER == policy.earliest(T0, Request(10**12))


@pytest.mark.promise("R02")
def test_leased_tokens_of_a_bucket_that_was_full_for_long_are_spent_when_their_use_is_reported() -> None:
    policy = bucket(burst=10)
    policy.lease(T0, 5)
    policy.collect(T0, 5)

    assert 5 == policy.available(T0)
