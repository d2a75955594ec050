"""Refunds and settlements: whatever is given back, what was really used keeps the law."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.policies import _backlog
from governor.policies._backlog import Backlog
from governor.policies.contract import REQUESTS, Grant, Request, Result
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

#: How much later, a cost to ask for (0: nobody asks), and which open grants end with how much used; None: given back.
Step = tuple[int, int, list[tuple[int, int | None]]]

#: Drawn first, because long lists are rare otherwise, and most faults show only in long ones.
LENGTHS: Final = st.integers(0, 30) | st.just(30)
ENDS: Final = st.lists(st.tuples(st.integers(0, 2), st.none() | st.sampled_from([0, 1, 2, 5, 12])), max_size=2)


@dataclass
class Use:
    """One grant, and what became of it."""

    at: int
    cost: int
    receipt: int | None
    #: What it really took out of the bucket, and when more than that was charged.
    used: int = 0
    extra: int = 0
    settled_at: int = 0

    def __post_init__(self) -> None:
        self.used = self.cost


def tokens_left(parameters: TokenBucket, uses: list[Use], now: int) -> Fraction:
    """What a bucket of fractions would hold now, had it known from the start what each grant would really use."""
    events = [(use.at, use.used) for use in uses] + [(use.settled_at, use.extra) for use in uses if use.extra]
    burst, rate = Fraction(parameters.burst), Fraction(parameters.amount, parameters.per)
    tokens, filled_at = burst, START
    for at, amount in [*sorted(events), (now, 0)]:
        tokens = min(burst, tokens + rate * (at - filled_at)) - amount
        filled_at = at
    return tokens


@st.composite
def buckets(draw: st.DrawFn) -> tuple[TokenBucket, list[Step]]:
    """Many small ones, where everything meets at the same few instants, and some with rates that divide nothing."""
    small = st.builds(TokenBucket, st.just(1), st.just(Duration(2)), st.integers(1, 3))
    pers = (st.integers(1, 20) | st.sampled_from([SECOND, MINUTE])).map(Duration)
    parameters = draw(small | st.builds(TokenBucket, st.integers(1, 10), pers, st.integers(1, 12)))
    token, burst = -(-parameters.per // parameters.amount), parameters.burst
    pauses = st.just(0) | st.integers(0, burst).map(lambda tokens: tokens * token) | st.integers(0, token * burst)
    costs = st.sampled_from([0, burst]) | st.integers(1, burst)
    length = draw(LENGTHS)
    return parameters, draw(st.lists(st.tuples(pauses, costs, ENDS), min_size=length, max_size=length))


def request_of(policy: TokenBucketPolicy, cost: int) -> Request:
    unit = policy.parameters.unit
    return Request(cost) if unit == REQUESTS else Request(0, {unit: cost})


def end_in_bucket(policy: TokenBucketPolicy, now: int, use: Use, used: int | None) -> None:
    grant = Grant(Instant(use.at), 0, request_of(policy, use.cost))
    if used is None:
        policy.refund(Instant(now), grant, use.receipt)
        use.used = 0
        return
    policy.settle(Instant(now), grant, use.receipt, used - use.cost)
    use.used, use.extra, use.settled_at = min(used, use.cost), max(0, used - use.cost), now


@pytest.mark.promise("R02", "R03")
@pytest.mark.parametrize(("unit", "entries"), [(REQUESTS, 2), ("tokens", 2), ("tokens", 4)])
@given(buckets(), st.booleans())
def test_a_bucket_never_admits_more_than_one_that_had_known_what_would_be_used(
    unit: str, entries: int, history: tuple[TokenBucket, list[Step]], keeps_receipts: bool
) -> None:
    with patch.object(_backlog, "MAX_ENTRIES", entries):
        admits_no_more(unit, history, keeps_receipts)


def admits_no_more(unit: str, history: tuple[TokenBucket, list[Step]], keeps_receipts: bool) -> None:
    parameters, steps = history
    policy, now = TokenBucketPolicy(replace(parameters, unit=unit)), START
    uses: list[Use] = []
    open_uses: list[Use] = []
    for gap, cost, ends in steps:
        now += gap
        if cost and policy.earliest(Instant(now), request_of(policy, cost)) <= now:
            assert cost <= tokens_left(parameters, uses, now)
            receipt = policy.commit(Instant(now), request_of(policy, cost))
            uses.append(Use(now, cost, receipt if keeps_receipts else None))
            open_uses.append(uses[-1])
        for which, used in ends:
            if which < len(open_uses):
                end_in_bucket(policy, now, open_uses.pop(which), used)

            assert policy.available(Instant(now)) <= max(Fraction(0), tokens_left(parameters, uses, now))


@pytest.mark.promise("R03")
@given(buckets())
def test_a_bucket_of_tokens_holds_what_one_would_that_had_known_what_would_be_used(
    history: tuple[TokenBucket, list[Step]],
) -> None:
    """To the last token, however long calls take and whatever was granted and put back meanwhile."""
    parameters, steps = history
    policy, now = TokenBucketPolicy(replace(parameters, unit="tokens")), START
    uses: list[Use] = []
    open_uses: list[Use] = []
    for gap, cost, ends in steps:
        now += gap
        left = tokens_left(parameters, uses, now)

        assert policy.available(Instant(now)) == max(0, left.__floor__())
        if 0 < cost <= left:
            uses.append(Use(now, cost, policy.commit(Instant(now), request_of(policy, cost))))
            open_uses.append(uses[-1])
        for which, used in ends:
            if which < len(open_uses):
                end_in_bucket(policy, now, open_uses.pop(which), used)

                assert policy.available(Instant(now)) == max(0, tokens_left(parameters, uses, now).__floor__())


@pytest.mark.promise("R03")
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=40))
def test_what_is_put_back_is_what_was_lacking_at_every_later_grant(steps: list[tuple[bool, int, int]]) -> None:
    """All grants, each looked at for every call that has used less."""
    backlog, grants, now = Backlog(), [[0, 9]], 0
    backlog.note(Instant(0), 9)
    for noted, gap, amount in steps:
        if noted:
            now += gap
            backlog.note(Instant(now), amount)
            if gap:
                grants.append([now, amount])
            continue
        left = amount
        for grant in grants:
            if grant[0] > now - gap:
                left = min(left, grant[1])
                grant[1] -= left

        assert left == backlog.put_back(Instant(now - gap), amount)


@pytest.mark.promise("R03")
@given(buckets())
def test_giving_back_never_takes_anything(history: tuple[TokenBucket, list[Step]]) -> None:
    parameters, steps = history
    policy, now = TokenBucketPolicy(parameters), START
    open_uses: list[Use] = []
    for gap, cost, ends in steps:
        now += gap
        if cost and policy.earliest(Instant(now), Request(cost)) <= now:
            open_uses.append(Use(now, cost, policy.commit(Instant(now), Request(cost))))
        for which, used in ends:
            if which < len(open_uses):
                before = policy.earliest(Instant(now), Request(parameters.burst))
                use = open_uses.pop(which)
                end_in_bucket(policy, now, use, None if used is None else min(used, use.cost))

                assert policy.earliest(Instant(now), Request(parameters.burst)) <= before


@pytest.mark.promise("R03")
@given(buckets())
def test_what_was_used_beyond_the_permit_is_owed_to_the_last_token(history: tuple[TokenBucket, list[Step]]) -> None:
    """Without anything given back the bucket and the fractions agree exactly, debts included."""
    parameters, steps = history
    policy, now = TokenBucketPolicy(parameters), START
    uses: list[Use] = []
    open_uses: list[Use] = []
    for gap, cost, ends in steps:
        now += gap
        left = tokens_left(parameters, uses, now)

        assert policy.available(Instant(now)) == max(0, left.__floor__())
        if cost:
            assert (cost <= left) == (policy.earliest(Instant(now), Request(cost)) <= now)
        if 0 < cost <= left:
            uses.append(Use(now, cost, policy.commit(Instant(now), Request(cost))))
            open_uses.append(uses[-1])
        for which, used in ends:
            if which < len(open_uses):
                use = open_uses.pop(which)
                end_in_bucket(policy, now, use, max(used or 0, use.cost))


@st.composite
def windows(draw: st.DrawFn) -> tuple[StrictWindow, list[Step]]:
    per = draw(st.integers(1, 100) | st.sampled_from([MINUTE]))
    most = draw(st.integers(1, 6))
    pauses = st.just(0) | st.integers(0, per // 2) | st.integers(max(0, per - 1), per + 1)
    length = draw(LENGTHS)
    steps = st.lists(st.tuples(pauses, st.integers(1, most), ENDS), min_size=length, max_size=length)
    return StrictWindow(most, Duration(per)), draw(steps)


@pytest.mark.promise("R02", "R03")
@given(windows())
def test_a_strict_window_grants_exactly_when_what_was_really_used_leaves_room(history: tuple[StrictWindow, list[Step]]) -> None:
    parameters, steps = history
    policy, now = StrictWindowPolicy(parameters), START
    under_way: list[tuple[int, int]] = []
    ended: list[tuple[int, int]] = []
    for gap, cost, ends in steps:
        now += gap
        taken = sum(count for _, count in under_way) + sum(count for at, count in ended if at > now - parameters.per)
        granted = policy.earliest(Instant(now), Request(cost)) <= now

        assert granted == (taken + cost <= parameters.amount)
        assert policy.available(Instant(now)) == max(0, parameters.amount - taken)
        if granted:
            policy.commit(Instant(now), Request(cost))
            under_way.append((now, cost))
        for which, used in ends:
            if which < len(under_way):
                at, asked = under_way.pop(which)
                grant = Grant(Instant(at), 0, Request(asked))
                if used is None:
                    policy.refund(Instant(now), grant, 0)
                else:
                    policy.settle(Instant(now), grant, 0, used - asked)
                    policy.record(Instant(now), Grant(Instant(at), 0, Request(used)), Result.SUCCESS)
                    ended.append((now, used))
