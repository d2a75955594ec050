"""The contracts of policies and of limits, over every implementation and every registered kind of limit."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import pytest
from hypothesis import example

from governor._member.away import use_up
from governor._units import AFTER_OUTCOME, DAY, NEVER, SECOND, Duration, Instant
from governor.config import parse_limit
from governor.errors import Reason
from governor.policies.arrivals import Arrivals, Ending
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import PLAIN, Grant, Leasable, Limit, LimitPolicy, Policy, Request, Result, Spending
from governor.policies.cooldown import CooldownPolicy
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight
from governor.policies.limits import build, kinds
from governor.policies.lost_calls import LostCalls
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow
from tests.support import tape as st
from tests.support.tape import given

START: Final = Instant(10 * DAY)

Spends = LimitPolicy | RequestCapPolicy
Kept = Spends | BreakerPolicy | CooldownPolicy | DegradedPolicy
Make = Callable[[], Kept]
One = TypeVar("One", bound=Kept)
Leases = Any  # A policy that spends and leases.

#: Limits of every registered kind. A kind that is missing here fails the suite.
LIMITS: Final[dict[str, Limit]] = {
    "token bucket": TokenBucket(7, Duration(3 * SECOND), 4),
    "token bucket of tokens": TokenBucket(7, Duration(3 * SECOND), 4, unit="tokens"),
    "strict window": StrictWindow(4, Duration(3 * SECOND)),
    "strict window of tokens": StrictWindow(4, Duration(3 * SECOND), unit="tokens"),
    "in flight": InFlight(3),
}
#: A margin that generated calls outlast, and one that they do not.
ARRIVALS: Final = (Arrivals(margin=Duration(SECOND), bucket_margin=Duration(SECOND // 4)), Arrivals(margin=Duration(DAY)))
SPENDING: Final[dict[str, Callable[[], Spends]]] = {
    **{name: partial(build, limit) for name, limit in LIMITS.items()},
    **{f"{name} by arrival": partial(build, limit, arrivals=ARRIVALS[0]) for name, limit in LIMITS.items()},
    **{f"{name} that arrives late": partial(build, limit, arrivals=ARRIVALS[1]) for name, limit in LIMITS.items()},
    "request cap": lambda: RequestCapPolicy(RequestCap(5)),
}
MAKERS: Final[dict[str, Make]] = {
    **SPENDING,
    "breaker": lambda: BreakerPolicy(Breaker(failures=2, open_for=SECOND, probes=2, successes=2, probe_deadline=SECOND)),
    "breaker by a rate of calls": lambda: BreakerPolicy(
        Breaker(failures=None, failure_rate=0.5, window_calls=4, minimum_calls=2, open_for=SECOND, successes=1)
    ),
    "breaker by a rate in time": lambda: BreakerPolicy(
        Breaker(failure_rate=0.5, window=Duration(3 * SECOND), minimum_calls=2, open_for=SECOND, successes=1)
    ),
    "cooldown": CooldownPolicy,
    "degraded mode": lambda: DegradedPolicy(Degraded(failures=3, excess=9, cooldown=SECOND)),
}
#: What each of the kinds of policy says of itself: why it denies, what it counts, how much of it and how fast it refills.
FACTS: Final[dict[str, tuple[Reason, str, int, float] | Reason]] = {
    "token bucket": (Reason.RATE_LIMIT, "requests", 4, 7 / 3),
    "token bucket of tokens": (Reason.RATE_LIMIT, "tokens", 4, 7 / 3),
    "strict window": (Reason.RATE_LIMIT, "requests", 4, 4 / 3),
    "strict window of tokens": (Reason.RATE_LIMIT, "tokens", 4, 4 / 3),
    "in flight": (Reason.CONCURRENCY, "requests", 3, 0.0),
    "token bucket by arrival": (Reason.RATE_LIMIT, "requests", 3, 7 / 3),
    "token bucket of tokens by arrival": (Reason.RATE_LIMIT, "tokens", 3, 7 / 3),
    "request cap": Reason.REQUEST_CAP,
    "breaker": Reason.CIRCUIT_OPEN,
    "breaker by a rate of calls": Reason.CIRCUIT_OPEN,
    "breaker by a rate in time": Reason.CIRCUIT_OPEN,
    "cooldown": Reason.COOLDOWN,
    "degraded mode": Reason.DEGRADED,
}

REQUESTS: Final = st.builds(Request, st.integers(1, 6), st.none() | st.fixed_dictionaries({"tokens": st.integers(0, 6)}))
#: How much later, what is asked for, and what becomes of the oldest open grant (None: it goes on).
STEPS: Final = st.lists(
    st.tuples(st.integers(0, 2 * SECOND), REQUESTS, st.none() | st.sampled_from([*Result, "refund"])), min_size=1, max_size=25
)
Step = tuple[int, Request, "Result | str | None"]


def copy_of(policy: One, make: Callable[[], One]) -> One:
    """Another policy of the same kind that continues from the state of this one, by way of the wire."""
    other, state = make(), policy.state()
    other.restore(msgspec.json.decode(msgspec.json.encode(state), type=type(state)))  # type: ignore[arg-type]  # of its own kind
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
            if isinstance(policy, DegradedPolicy):
                tell(policy, now, grant, end)
            elif isinstance(policy, CooldownPolicy):
                policy.extend(now, Duration(grant.request.cost * SECOND))
            elif isinstance(end, Result):
                policy.record(now, grant, end)
            else:
                policy.refund(now, grant, receipt)


def tell(policy: DegradedPolicy, now: Instant, grant: Grant, end: "Result | str") -> None:
    """Degraded mode hears of three providers, of one breaker that opens, and of what the cap denies."""
    if isinstance(end, Result):
        policy.record(now, grant, end, "abc"[grant.request.cost % 3])
        if policy.due:
            policy.decide(now, healthy=False)
    else:
        policy.deny(now, grant.request, "a")
        policy.breaker_opened("b")


def asking(unit: str, amount: int) -> Request:
    return Request(amount) if unit == "requests" else Request(1, {unit: amount})


def left(policy: Spends, now: Instant) -> int:
    return policy.available(now) if isinstance(policy, LimitPolicy) else policy.leasable(now)


def capacity(policy: Spends) -> int:
    return policy.capacity() if isinstance(policy, LimitPolicy) else policy.parameters.most


def standing(policy: Spends, now: Instant) -> list[int]:
    """All that it answers at an instant: what is left, and when each amount is granted, also behind others."""
    amounts = [asking(policy.unit, amount) for amount in range(capacity(policy) + 2)]
    behind = [policy.earliest(now, amounts[1], ahead) for ahead in amounts]
    return [left(policy, now), *(policy.earliest(now, request) for request in amounts), *behind]


def waits_for_outcomes(policy: Spends) -> bool:
    return isinstance(policy, LimitPolicy) and policy.needs_outcome


def take_all(policy: Spends, now: Instant) -> int:
    """How many single units it grants at one instant."""
    taken, one = 0, asking(policy.unit, 1)
    while policy.earliest(now, one) <= now:
        policy.commit(now, one)
        taken += 1
    return taken


def answers_of(policy: Kept, steps: list[Step]) -> list[Instant]:
    """What it says on the way."""
    heard: list[Instant] = []
    drive(policy, steps, lambda now, request: heard.append(policy.earliest(now, request)))
    return heard


every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every
@pytest.mark.promise("R04", "R10")
@given(steps=STEPS)
def test_at_each_point_of_any_history_it_answers_as_the_contract_says(make: Make, steps: list[Step]) -> None:
    policy = make()

    def look(now: Instant, request: Request) -> None:
        before = policy.state()
        assert_names_an_instant_that_time_never_takes_back(policy, now, request)
        assert_no_call_is_earlier_for_standing_behind_others(policy, now, request)
        if isinstance(policy, (LimitPolicy, RequestCapPolicy)):
            assert_keeps_its_word(policy, now, request)
            assert_grants_a_plain_request_from_the_instant_at_hand(policy, now)
            assert_never_grants_more_than_its_capacity(policy, now)
        if isinstance(policy, LimitPolicy):
            assert_grants_what_is_available_and_no_more(policy, now)

        assert before == policy.state(), "a question changes nothing"

    drive(policy, steps, look)


def assert_names_an_instant_that_time_never_takes_back(policy: Kept, now: Instant, request: Request) -> None:
    """Also one that asks a day from now is told now or later, and leaves nothing behind."""
    when = policy.earliest(now, request)

    assert when >= now
    assert policy.earliest(Instant(now + DAY), request, Request(3, {"tokens": 3})) >= now + DAY
    if when <= now:
        assert policy.earliest(Instant(now + 1), request) == now + 1
    elif when < AFTER_OUTCOME:
        assert when <= policy.earliest(Instant(when - 1), request), "the instant that was named comes no sooner"


def assert_keeps_its_word(policy: Spends, now: Instant, request: Request) -> None:
    """At the instant that it names it grants the request, unless it was waiting for an outcome."""
    when = policy.earliest(now, request)

    assert when >= AFTER_OUTCOME or waits_for_outcomes(policy) or when == policy.earliest(when, request)


def assert_no_call_is_earlier_for_standing_behind_others(policy: Kept, now: Instant, request: Request) -> None:
    assert policy.earliest(now, request, Request(2, {"tokens": 2})) >= policy.earliest(now, request)


def assert_grants_a_plain_request_from_the_instant_at_hand(policy: Spends, now: Instant) -> None:
    at_hand = Instant(max(now, policy.ready))

    assert at_hand >= AFTER_OUTCOME or policy.earliest(at_hand, PLAIN) == at_hand


def assert_never_grants_more_than_its_capacity(policy: Spends, now: Instant) -> None:
    for more in (1, 5):
        too_much = asking(policy.unit, capacity(policy) + more)

        assert NEVER == policy.earliest(now, too_much) == policy.earliest(now, too_much, too_much)


def assert_grants_what_is_available_and_no_more(policy: LimitPolicy, now: Instant) -> None:
    left = policy.available(now)

    assert 0 <= left <= policy.capacity()
    assert left == 0 or policy.earliest(now, asking(policy.unit, left)) == now
    assert policy.earliest(now, asking(policy.unit, left + 1)) > now


@every
@given(steps=STEPS, later=STEPS)
def test_a_copy_made_from_the_state_goes_on_the_same(make: Make, steps: list[Step], later: list[Step]) -> None:
    policy = make()
    drive(policy, steps, lambda now, request: None)
    copy = copy_of(policy, make)

    assert answers_of(policy, later) == answers_of(copy, later)
    assert policy.state() == copy.state()


@pytest.mark.parametrize("name", MAKERS)
def test_it_says_why_it_denies_and_how_much_it_grants(name: str) -> None:
    policy, facts = MAKERS[name](), FACTS.get(name) or FACTS[re.sub(" (by arrival|that arrives late)$", "", name)]
    if isinstance(policy, LimitPolicy):
        assert facts == (policy.reason, policy.unit, policy.capacity(), policy.refill_rate())
    else:
        assert facts is policy.reason


LEASING: Final = {name: make for name, make in SPENDING.items() if getattr(make(), "leases", True)}
each_leases = pytest.mark.parametrize("make", LEASING.values(), ids=LEASING.keys())
each_spends = pytest.mark.parametrize("make", SPENDING.values(), ids=SPENDING.keys())


@each_spends
@pytest.mark.promise("R02", "R03", "R07")
@given(costs=st.lists(st.integers(0, 6), max_size=8))
def test_a_permit_takes_its_whole_cost_or_nothing(make: Callable[[], Spends], costs: list[int]) -> None:
    policy = make()
    expected = capacity(policy)
    for cost in costs:
        request = asking(policy.unit, cost)
        granted = policy.earliest(START, request) <= START
        if granted:
            policy.commit(START, request)

        assert (cost <= expected) == granted
        expected -= cost * granted
        assert expected == left(policy, START)


@each_spends
@given(steps=STEPS, back=st.integers(0, 5 * SECOND) | st.just(DAY))
def test_a_clock_that_goes_back_gives_nothing(make: Callable[[], Spends], steps: list[Step], back: int) -> None:
    now = Instant(START + sum(gap for gap, _, _ in steps))
    policy, twin = make(), make()
    one = asking(policy.unit, 1)
    for each in (policy, twin):
        drive(each, steps, lambda now, request: None)
        if each.earliest(now, one) <= now:
            each.record(now, Grant(now, 0, one, (each.commit(now, one),)), Result.SUCCESS)

    assert take_all(policy, Instant(now - back)) + take_all(policy, now) <= take_all(twin, now)


@each_spends
@given(steps=STEPS, amount=st.integers(1, 3), delay=st.integers(0, 4 * SECOND))
def test_a_permit_that_is_given_back_before_another_is_granted_leaves_no_trace(
    make: Callable[[], Spends], steps: list[Step], amount: int, delay: int
) -> None:
    policy = make()

    def look(now: Instant, _: Request) -> None:
        """What is given back at once, again and again, is part of the history of what is given back later."""
        request, later = asking(policy.unit, amount), Instant(now + delay)
        if policy.earliest(now, request) <= now:
            before, without, copy = standing(policy, now), copy_of(policy, make), copy_of(policy, make)
            for one, then in ((policy, now), (copy, later)):
                receipt = one.commit(now, request)
                one.refund(then, Grant(now, 0, request, (receipt,)), receipt)

            assert before == standing(policy, now)
            assert standing(without, later) == standing(copy, later)

    drive(policy, steps, look)


@each_spends
@given(steps=st.lists(st.tuples(st.integers(0, SECOND), st.booleans(), st.none() | st.integers(0, 2)), max_size=25))
def test_permits_that_are_given_back_leave_no_more_than_if_they_had_never_been_granted(
    make: Callable[[], Spends], steps: list[tuple[int, bool, int | None]]
) -> None:
    policy, without, now = make(), make(), START
    one, open_grants = asking(policy.unit, 1), list[tuple[Grant, int]]()
    for gap, kept, back in steps:
        now = Instant(now + gap)
        if policy.earliest(now, one) <= now:
            receipt = policy.commit(now, one)
            if kept:
                without.commit(now, one)
            else:
                open_grants.append((Grant(now, 0, one, (receipt,)), receipt))
        if back is not None and back < len(open_grants):
            policy.refund(now, *open_grants.pop(back))

        assert left(policy, now) <= left(without, now)


@each_spends
@pytest.mark.promise("R04", "R10")
@given(steps=STEPS, amount=st.integers(1, 3), places=st.integers(0, 9))
def test_behind_others_it_names_the_instant_at_which_it_is_granted_after_all_of_them(
    make: Callable[[], Spends], steps: list[Step], amount: int, places: int
) -> None:
    """Exactly for single units, less than a microsecond early for each where the policy says so, and never late for several."""
    policy = make()
    drive(policy, steps, lambda now, request: None)
    now = Instant(START + sum(gap for gap, _, _ in steps))
    one, several = asking(policy.unit, 1), asking(policy.unit, amount)
    ahead, more_ahead = (asking(policy.unit, places * each) if places else None for each in (1, amount))
    granted = served(policy, now, one, places)

    assert granted - (0 if policy.is_exact else places + 1) <= policy.earliest(now, one, ahead) <= granted
    assert policy.earliest(now, several, more_ahead) <= served(policy, now, several, places)


def served(policy: Spends, now: Instant, request: Request, places: int) -> Instant:
    """When such a request is granted after so many others like it, each at the first instant at which it can be."""
    forecast = policy.forecast(now)
    for _ in range(places):
        now = forecast.earliest(now, request)
        if now >= AFTER_OUTCOME:
            return now
        forecast.commit(now, request)
    return forecast.earliest(now, request)


@each_spends
@pytest.mark.promise("R04")
@given(places=st.integers(0, 9), spare=st.integers(0, 4))
def test_single_units_wait_as_long_as_it_says_at_most_and_exactly_so_long_where_nothing_is_left(
    make: Callable[[], Spends], places: int, spare: int
) -> None:
    policy = make()
    one, queued = asking(policy.unit, 1), asking(policy.unit, places + 1)
    while left(policy, START) > spare:
        policy.commit(START, one)
    granted, bound = served(policy, START, one, places), min(START + policy.max_hold(START, queued, one), AFTER_OUTCOME)

    assert granted <= bound
    assert granted == bound or (spare and granted > START) or not policy.is_exact


@each_leases
@pytest.mark.promise("R51")
@given(steps=STEPS, count=st.integers(1, 4), used=st.integers(0, 4))
def test_what_is_leased_is_missing_until_it_is_returned_and_is_spent_once_it_was_used(
    make: Callable[[], Leases], steps: list[Step], count: int, used: int
) -> None:
    policy = make()
    drive(policy, steps, lambda now, request: None)
    now = Instant(START + sum(gap for gap, _, _ in steps))
    before, room, without = standing(policy, now), left(policy, now), copy_of(policy, make)
    count, used = min(count, room), min(used, count, room)
    assert room == policy.leasable(now)
    policy.lease(now, count)

    assert room - count == left(policy, now) == policy.leasable(now)
    for amount in range(1, capacity(policy) + 2):
        request, far = asking(policy.unit, amount), Instant(now + DAY)
        assert_keeps_its_word(policy, now, request)
        assert (amount <= room - count) == (policy.earliest(now, request) <= now)
        if not waits_for_outcomes(policy):
            assert (amount <= capacity(policy) - count) == (policy.earliest(far, request) <= far), "time returns nothing leased"
    policy.reclaim(now, count - used)
    assert room - used == left(policy, now)
    if not used:
        assert before == standing(policy, now)
        return
    policy.collect(now, used)
    assert room - used == left(policy, now)
    if not waits_for_outcomes(policy):
        without.commit(now, asking(policy.unit, used))
        assert standing(without, now) == standing(policy, now)


@each_spends
def test_a_plain_request_takes_the_short_way_while_there_is_room_for_one(make: Callable[[], Spends]) -> None:
    policy = make()
    one, ready, grant = asking(policy.unit, 1), [], None
    for _ in range(capacity(policy)):
        ready.append(policy.ready <= START)
        grant = Grant(START, 0, one, (policy.commit(START, one),))
    full = policy.ready <= START
    assert grant is not None
    policy.refund(START, grant, (grant.receipts or (0,))[0])

    assert {True} == {*ready, policy.ready <= START}
    assert full == (policy.unit != "requests") == (policy.earliest(START, Request(2, {"tokens": 0})) == START)


each_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS.keys())


def uncovered(limits: Iterable[Limit]) -> set[type[Limit]]:
    """The registered kinds of which there is no limit."""
    return {kind.limit for kind in kinds()} - {type(limit) for limit in limits}


def test_every_registered_kind_of_limit_is_covered_by_this_suite() -> None:
    assert set() == uncovered(LIMITS.values())


@each_limit
def test_a_limit_is_written_as_it_is_read(limit: Limit) -> None:
    assert limit == type(limit).parse(limit.describe()) == parse_limit(limit.describe())
    assert all(isinstance(parse_limit(example), type(limit)) for example in limit.examples)


@each_limit
@given(share=st.floats(0.001, 1))
def test_a_share_of_a_limit_grants_no_more_than_that_share_and_at_least_one_unit_at_a_time(limit: Limit, share: float) -> None:
    scaled = limit.scaled(share)

    assert 1 <= scaled.capacity <= max(1, limit.capacity * share)
    assert scaled.refill_rate <= limit.refill_rate * share * (1 + 1e-9)
    assert (type(limit), limit.unit) == (type(scaled), scaled.unit)
    assert limit == limit.scaled(1.0)


@each_limit
@given(steps=STEPS)
def test_nothing_is_left_of_a_limit_that_is_used_up_but_places_in_flight(limit: Limit, steps: list[Step]) -> None:
    policy = build(limit)
    drive(policy, steps, lambda now, request: None)
    end = Instant(START + DAY)
    kept = policy.available(end) if policy.reason is Reason.CONCURRENCY else 0
    use_up(policy, end)

    assert kept == policy.available(end)
    assert kept or policy.earliest(end, asking(policy.unit, 1)) > end


def begin(policy: Any, now: Instant, count: int) -> list[Grant]:
    """So many calls are granted that are given up later."""
    one = asking(policy.unit, 1)
    return [Grant(now, 0, one, (policy.commit(now, one),), ending=Ending.GIVEN_UP) for _ in range(count)]


def give_up(policy: Any, now: Instant, granted_at: Instant, count: int) -> None:
    for grant in begin(policy, granted_at, count):
        policy.record(now, grant, Result.NEUTRAL)


@pytest.mark.parametrize("name", [name for name in SPENDING if "tokens" not in name and ("window" in name or "flight" in name)])
@pytest.mark.promise("R62")
@example(3, 0, 1, 2, True)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 6) | st.none(), st.booleans())
def test_the_calls_of_a_process_that_has_died_stand_as_if_each_had_been_given_up(
    name: str, begun: int, out: int, units: int, moving: int | None, journal: bool
) -> None:
    policies: list[Any] = [SPENDING[name](), SPENDING[name]()]
    policy, twin = policies
    flight, one, seen = "flight" in name, asking(policy.unit, 1), START
    at, now = Instant(seen + SECOND), Instant(seen + 2 * SECOND)
    dates = [Instant(seen - SECOND + call * SECOND // 4) if journal else now for call in range(1, begun + 1)]
    for date in dates:
        policy.commit(date, one)
    if not journal:
        policy.abandoned(now, out)
        give_up(twin, now, now, begun + out)
    else:
        policy.abandoned(now, out, LostCalls(units, at, out, moving, moving, seen, 0, START))
        if flight:
            give_up(twin, now, at, policy.parameters.amount if moving is None else moving)
        else:
            on_the_way = begun + units if moving is None else min(moving, begun + units)
            latest = min(on_the_way, units)
            known = [grant for date in dates[begun - on_the_way + latest :] for grant in begin(twin, date, 1)]
            for _ in range(begun + units - on_the_way):
                twin.commit(seen, one)
                twin.answered(seen, Grant(seen, 0, one, (0,), answered_at=seen))
                twin.record(seen, Grant(seen, 0, one, (0,), answered_at=seen), Result.SUCCESS)
            for grant in known:
                twin.record(now, grant, Result.NEUTRAL)
            give_up(twin, now, at, latest)
            give_up(twin, now, now, out)

    assert (policy.rests_at(), policy.ready) == (twin.rests_at(), twin.ready)
    for quarter in range(24):
        later = Instant(now + quarter * SECOND // 4)
        assert policy.available(later) == twin.available(later)
        assert policy.earliest(later, one) == twin.earliest(later, one)


@each_limit
@given(steps=STEPS, later=STEPS)
def test_a_policy_with_the_same_limit_carries_everything_over(limit: Limit, steps: list[Step], later: list[Step]) -> None:
    policy, heir = build(limit), build(limit)
    drive(policy, steps, lambda now, request: None)
    heir.carry_over(START, policy)

    assert policy.state() == heir.state()
    assert answers_of(policy, later) == answers_of(heir, later)


@each_limit
@given(asked=st.integers(0, 3), used=st.integers(0, 9), later=st.integers(0, 9 * SECOND))
def test_a_call_that_used_another_amount_stands_as_if_its_permit_had_been_for_it(
    limit: Limit, asked: int, used: int, later: int
) -> None:
    policy, twin = build(limit), build(limit)
    said, meant = asking(limit.unit, asked), asking(limit.unit, used)
    grant = Grant(START, 0, said, (policy.commit(START, said),))
    policy.settle(START, grant, (grant.receipts or (0,))[0], used - asked)
    twin.commit(START, meant)
    under_way = standing(policy, START)
    policy.record(START, Grant(START, 0, meant), Result.SUCCESS)

    assert standing(twin, START) == under_way
    twin.record(START, Grant(START, 0, meant), Result.SUCCESS)
    for now in (START, Instant(START + later)):
        assert standing(twin, now) == standing(policy, now)


@each_limit
@given(steps=STEPS)
def test_all_of_a_limit_is_there_again_when_it_says_so(limit: Limit, steps: list[Step]) -> None:
    policy = build(limit)
    ends = START + sum(gap for gap, _, _ in steps)
    drive(policy, steps, lambda now, request: None)
    when = policy.rests_at()
    span = limit.refill_time(limit.capacity)

    if when != NEVER:
        assert limit.capacity == policy.available(max(when, Instant(ends)))
        assert span is None or when <= ends + span
    assert (span is None) == (limit.refill_rate == 0.0)


def test_the_protocols_are_kept_by_those_that_claim_to() -> None:
    spending: list[Spending] = [RequestCapPolicy(RequestCap(5)), *map(build, LIMITS.values())]
    leasing: list[Leasable] = [RequestCapPolicy(RequestCap(5)), TokenBucketPolicy(TokenBucket(1, SECOND, 1))]
    policies: list[Policy] = [BreakerPolicy(Breaker()), DegradedPolicy(Degraded()), *spending, *leasing]

    assert all(policy.earliest(START, PLAIN) in {START, AFTER_OUTCOME} for policy in policies)
    assert all(limit.leases for limit in leasing if isinstance(limit, LimitPolicy))
