"""Laws of the token bucket, against oracles in exact fractions that remember everything."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import pytest

from governor._units import DAY, HOUR, MINUTE, SECOND, Duration, Instant
from governor.policies.contract import Grant, Request
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

#: A step of a history: how much later than the step before, and the cost that is asked for.
Ask = tuple[int, int]

#: Drawn first, because long lists are rare otherwise, and most faults show only in long ones.
LENGTHS: Final = st.integers(0, 40) | st.just(40)
PARAMETERS: Final = st.builds(
    TokenBucket,
    amount=st.integers(1, 10) | st.sampled_from([60, 833, 5_000, 90_001]),
    per=(st.integers(1, 20) | st.sampled_from([SECOND, 7 * SECOND, MINUTE, HOUR])).map(Duration),
    burst=st.integers(1, 12),
    unit=st.sampled_from(["requests", "tokens"]),
)


def rate(parameters: TokenBucket) -> Fraction:
    """Tokens in a microsecond."""
    return Fraction(parameters.amount, parameters.per)


def gaps(parameters: TokenBucket) -> st.SearchStrategy[int]:
    """Nothing, a microsecond, about a token, about a full bucket, a day."""
    token = -(-parameters.per // parameters.amount)
    full = token * parameters.burst
    return st.one_of(
        st.just(0),
        st.integers(0, 3),
        st.integers(max(0, token - 1), token + 1),
        st.integers(0, 2 * full),
        st.integers(max(0, full - 1), full + 1),
        st.just(DAY),
    )


@st.composite
def histories(draw: st.DrawFn, *, back: bool = False) -> tuple[TokenBucket, list[Ask]]:
    parameters = draw(PARAMETERS)
    pauses = gaps(parameters)
    if back:
        pauses |= pauses.map(lambda gap: -gap)
    costs = st.integers(1, parameters.burst) | st.just(1)
    length = draw(LENGTHS)
    return parameters, draw(st.lists(st.tuples(pauses, costs), min_size=length, max_size=length))


def request(parameters: TokenBucket, cost: int) -> Request:
    return Request(cost) if parameters.unit == "requests" else Request(units={parameters.unit: cost})


def ask(policy: TokenBucketPolicy, now: int, cost: int) -> int | None:
    """The receipt if it is granted now."""
    asked = request(policy.parameters, cost)
    return None if policy.earliest(Instant(now), asked) > now else policy.commit(Instant(now), asked)


@dataclass
class Bucket:
    """The bucket as everybody imagines it: so many tokens, refilled as time goes by, up to the burst."""

    parameters: TokenBucket
    tokens: Fraction = field(init=False)
    filled_at: int = START - DAY

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.parameters.burst)

    def fill(self, now: int) -> Fraction:
        earned = rate(self.parameters) * max(0, now - self.filled_at)
        self.tokens = min(Fraction(self.parameters.burst), self.tokens + earned)
        self.filled_at = max(now, self.filled_at)
        return self.tokens

    def take(self, now: int, cost: int) -> bool:
        """Takes the cost out if it is there."""
        if self.fill(now) < cost:
            return False
        self.tokens -= cost
        return True


def over_the_law(parameters: TokenBucket, granted: list[Ask]) -> list[tuple[int, int]]:
    """The windows from one grant to another that hold more than burst + rate * length; `granted` in order of time."""
    return [
        (granted[first][0], granted[last][0])
        for first in range(len(granted))
        for last in range(first, len(granted))
        if sum(cost for _, cost in granted[first : last + 1])
        > parameters.burst + rate(parameters) * (granted[last][0] - granted[first][0])
    ]


@pytest.mark.promise("R02", "R03")
@given(histories())
def test_in_every_window_the_burst_and_the_rate_are_the_most(history: tuple[TokenBucket, list[Ask]]) -> None:
    parameters, asks = history
    policy, now, granted = TokenBucketPolicy(parameters), START, []
    for gap, cost in asks:
        now += gap
        if ask(policy, now, cost) is not None:
            granted.append((now, cost))

    assert [] == over_the_law(parameters, granted)


@pytest.mark.promise("R02")
@given(histories(back=True))
def test_a_clock_that_goes_back_stands_still_or_jumps_never_admits_more(history: tuple[TokenBucket, list[Ask]]) -> None:
    parameters, asks = history
    policy, now, latest, granted = TokenBucketPolicy(parameters), 100 * START, 0, []
    for gap, cost in asks:
        now += gap
        if ask(policy, now, cost) is not None:
            latest = max(latest, now)
            granted.append((latest, cost))

    assert [] == over_the_law(parameters, granted)


@pytest.mark.promise("R02")
@given(histories())
def test_it_agrees_exactly_with_a_bucket_of_fractions(history: tuple[TokenBucket, list[Ask]]) -> None:
    parameters, asks = history
    policy, bucket, now = TokenBucketPolicy(parameters), Bucket(parameters), START
    for gap, cost in asks:
        now += gap

        assert bucket.fill(now).__floor__() == policy.available(Instant(now))
        assert bucket.take(now, cost) == (ask(policy, now, cost) is not None)


@pytest.mark.promise("R02", "R10")
@given(histories())
def test_it_is_granted_at_the_instant_that_was_named_and_not_a_microsecond_before(
    history: tuple[TokenBucket, list[Ask]],
) -> None:
    parameters, asks = history
    policy, now = TokenBucketPolicy(parameters), START
    for gap, cost in asks:
        now += gap
        asked = request(parameters, cost)
        named = policy.earliest(Instant(now), asked)
        if named > now:
            before = Instant(named - 1)

            assert policy.earliest(before, asked) == named
            now = named
        assert policy.earliest(Instant(now), asked) == now
        policy.commit(Instant(now), asked)


@pytest.mark.promise("R04")
@given(histories(), st.data())
def test_the_instant_named_for_a_place_in_the_queue_is_when_it_is_granted(
    history: tuple[TokenBucket, list[Ask]], data: st.DataObject
) -> None:
    parameters, asks = history
    policy, now = TokenBucketPolicy(parameters), START
    for gap, cost in asks:
        now += gap
        ask(policy, now, cost)
    now += data.draw(gaps(parameters))
    line = data.draw(st.lists(st.just(1) | st.integers(1, parameters.burst), min_size=1, max_size=12))
    ahead = [sum(line[:place]) for place in range(len(line))]
    named = [
        policy.earliest(Instant(now), request(parameters, cost), request(parameters, before))
        for cost, before in zip(line, ahead, strict=True)
    ]

    served = []
    for cost in line:
        now = policy.earliest(Instant(now), request(parameters, cost))
        policy.commit(Instant(now), request(parameters, cost))
        served.append(now)

    # Each of those ahead is served at a whole microsecond, and so late by less than one; nobody is ever served early.
    late = [actual - expected for expected, actual in zip(named, served, strict=True)]
    assert all(0 <= late[place] <= place for place in range(len(line)))
    if parameters.per % parameters.amount == 0:
        assert named == served


@pytest.mark.promise("R02")
@given(histories(), PARAMETERS)
def test_of_a_bucket_that_takes_over_as_large_a_part_is_left_within_a_token_and_never_more(
    history: tuple[TokenBucket, list[Ask]], after: TokenBucket
) -> None:
    parameters, asks = history
    policy, bucket, now = TokenBucketPolicy(parameters), Bucket(parameters), START
    for gap, cost in asks:
        now += gap
        if ask(policy, now, cost) is not None:
            bucket.take(now, cost)
    heir = TokenBucketPolicy(after)
    heir.carry_over(Instant(now), policy)
    part = bucket.fill(now) * after.burst / parameters.burst

    assert part - 2 < heir.available(Instant(now)) <= part


@given(histories(), st.booleans())
def test_a_grant_given_back_at_once_was_never_made(history: tuple[TokenBucket, list[Ask]], keeps_receipt: bool) -> None:
    parameters, asks = history
    policy, twin, now = TokenBucketPolicy(parameters), TokenBucketPolicy(parameters), START
    for number, (gap, cost) in enumerate(asks):
        now += gap
        granted = (ask(policy, now, cost), ask(twin, now, cost))

        assert (granted[0] is None) == (granted[1] is None)
        if number % 2 == 0:
            receipt = ask(policy, now, 1)
            if receipt is not None:
                grant = Grant(Instant(now), 0, request(parameters, 1))
                policy.refund(Instant(now), grant, receipt if keeps_receipt else None)
        everything = request(parameters, parameters.burst)
        assert policy.available(Instant(now)) == twin.available(Instant(now))
        assert policy.earliest(Instant(now), everything) == twin.earliest(Instant(now), everything)
