"""What does every policy promise whoever asks it? One suite over all implementations, for `Policy`, `Spending` and `Quota`."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import AFTER_OUTCOME, DAY, SECOND, Duration, Instant
from governor.errors import Reason
from governor.policies.breaker import Breaker, BreakerPolicy
from governor.policies.contract import PLAIN, Grant, Policy, Quota, Request, Result, Spending
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.window import StrictWindow, StrictWindowPolicy

START: Final = Instant(10 * DAY)

Kept = TokenBucketPolicy | StrictWindowPolicy | InFlightPolicy | RequestCapPolicy | BreakerPolicy | DegradedPolicy
Make = Callable[[], Kept]

MAKERS: Final[dict[str, Make]] = {
    "token bucket": lambda: TokenBucketPolicy(TokenBucket(7, Duration(3 * SECOND), 4)),
    "token bucket of tokens": lambda: TokenBucketPolicy(TokenBucket(7, Duration(3 * SECOND), 4, unit="tokens")),
    "strict window": lambda: StrictWindowPolicy(StrictWindow(4, Duration(3 * SECOND))),
    "strict window of tokens": lambda: StrictWindowPolicy(StrictWindow(4, Duration(3 * SECOND), unit="tokens")),
    "in flight": lambda: InFlightPolicy(InFlight(3)),
    "request cap": lambda: RequestCapPolicy(RequestCap(5)),
    "breaker": lambda: BreakerPolicy(Breaker(failures=2, open_for=SECOND, probes=2, successes=2, probe_deadline=SECOND)),
    "degraded mode": lambda: DegradedPolicy(Degraded(failures=3, cooldown=SECOND)),
}

REQUESTS: Final = st.builds(Request, st.integers(1, 6), st.none() | st.fixed_dictionaries({"tokens": st.integers(0, 6)}))
#: How much later, what is asked for, and what becomes of the oldest open grant (None: it goes on).
STEPS: Final = st.lists(
    st.tuples(st.integers(0, 2 * SECOND), REQUESTS, st.none() | st.sampled_from([*Result, "refund"])), min_size=1, max_size=25
)
Step = tuple[int, Request, "Result | str | None"]


def copy_of(policy: Kept, make: Make) -> Kept:
    """Another machine of the same kind that goes on from where this one stands."""
    other = make()
    match policy, other:
        case (TokenBucketPolicy() as old, TokenBucketPolicy() as new):
            new.restore(old.state())
        case (StrictWindowPolicy() as old, StrictWindowPolicy() as new):
            new.restore(old.state())
        case (InFlightPolicy() as old, InFlightPolicy() as new):
            new.restore(old.state())
        case (RequestCapPolicy() as old, RequestCapPolicy() as new):
            new.restore(old.state())
        case (BreakerPolicy() as old, BreakerPolicy() as new):
            new.restore(old.state())
        case (DegradedPolicy() as old, DegradedPolicy() as new):
            new.restore(old.state())
        case _:
            raise AssertionError("both come from the same maker")
    return other


def drive(policy: Kept, steps: list[Step], look: Callable[[Instant, Request], None]) -> None:
    """Lets generated time, asks and outcomes pass, and has a look before each ask is decided."""
    now, open_grants = START, list[tuple[Grant, int]]()
    for gap, request, end in steps:
        now = Instant(now + gap)
        look(now, request)
        if policy.earliest(now, request) <= now:
            receipt = policy.commit(now, request)
            generation = policy.generation if isinstance(policy, BreakerPolicy) else 0
            open_grants.append((Grant(now, generation, request, (receipt,)), receipt))
        if end is not None and open_grants:
            grant, receipt = open_grants.pop(0)
            if isinstance(end, Result):
                policy.record(now, grant, end)
            else:
                policy.refund(now, grant, receipt)


def asking(unit: str, amount: int) -> Request:
    return Request(amount) if unit == "requests" else Request(1, {unit: amount})


def answers_of(policy: Kept, steps: list[Step]) -> list[Instant]:
    """What it says on the way."""
    heard: list[Instant] = []
    drive(policy, steps, lambda now, request: heard.append(policy.earliest(now, request)))
    return heard


every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every
@given(steps=STEPS)
def test_a_question_changes_nothing(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        before = policy.state()
        policy.earliest(now, request)
        policy.earliest(Instant(now + DAY), request, Request(3, {"tokens": 3}))

        assert before == policy.state()

    drive(policy, steps, look)


@every
@pytest.mark.promise("R10")
@given(steps=STEPS)
def test_the_instant_that_is_named_is_now_or_later_and_time_never_takes_it_back(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        when = policy.earliest(now, request)

        assert when >= now
        if when <= now:
            assert policy.earliest(Instant(now + 1), request) == now + 1

    drive(policy, steps, look)


@every
@pytest.mark.promise("R04")
@given(steps=STEPS)
def test_nobody_is_earlier_for_standing_behind_others(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        assert policy.earliest(now, request, Request(2, {"tokens": 2})) >= policy.earliest(now, request)

    drive(policy, steps, look)


@every
@given(steps=STEPS, later=STEPS)
def test_a_copy_made_from_the_state_goes_on_the_same(make: Make, steps: list[Step], later: list[Step]) -> None:
    policy = make()
    drive(policy, steps, lambda now, request: None)
    copy = copy_of(policy, make)

    assert answers_of(policy, later) == answers_of(copy, later)
    assert policy.state() == copy.state()


@every
def test_it_has_a_reason_to_refuse(make: Make) -> None:
    assert isinstance(make().reason, Reason)


@every
@given(steps=STEPS)
def test_from_the_instant_at_hand_a_plain_request_is_granted(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        if (
            isinstance(policy, (TokenBucketPolicy, StrictWindowPolicy, InFlightPolicy, RequestCapPolicy))
            and now >= policy.ready
        ):
            assert policy.earliest(now, PLAIN) == now

    drive(policy, steps, look)


@every
@given(steps=STEPS)
def test_what_is_available_is_what_is_granted(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        if isinstance(policy, (TokenBucketPolicy, StrictWindowPolicy, InFlightPolicy)):
            left = policy.available(now)

            assert 0 <= left <= policy.capacity()
            assert left == 0 or policy.earliest(now, asking(policy.unit, left)) == now
            assert policy.earliest(now, asking(policy.unit, left + 1)) > now

    drive(policy, steps, look)


def test_the_protocols_are_kept_by_those_that_claim_to() -> None:
    spending: list[Spending] = [RequestCapPolicy(RequestCap(5))]
    quotas: list[Quota] = [
        TokenBucketPolicy(TokenBucket(1, SECOND, 1)),
        StrictWindowPolicy(StrictWindow(1, SECOND)),
        InFlightPolicy(InFlight(1)),
    ]
    policies: list[Policy] = [BreakerPolicy(Breaker()), DegradedPolicy(Degraded()), *spending, *quotas]

    assert all(policy.earliest(START, PLAIN) in {START, AFTER_OUTCOME} for policy in policies)
