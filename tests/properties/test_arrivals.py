"""Laws of what arrives: a provider that counts requests when they arrive, however late within the margin, never counts more."""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

import msgspec
import pytest

from governor._units import AFTER_OUTCOME, DAY, MINUTE, SECOND, Duration, Instant
from governor.policies.arrivals import Arrivals, Ending
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.gcra import TokenBucket, TokenBucketPolicy
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.properties.test_strict_window import LARGE, LENGTHS, SMALL, fullest, gaps, request
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY
MARGINS: Final = st.integers(1, 60) | st.sampled_from([SECOND, MINUTE])

#: What becomes of a call: its answer begins, or it ends in this way.
Event = Ending | None
#: How much later than the step before, the cost that is asked for, and which of the open calls have these events then.
Step = tuple[int, int, list[tuple[int, Event]]]
EVENTS: Final = st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from(Ending)), max_size=3)


class Call:
    """A call that was granted: from when until when it may arrive, and whether its answer has begun."""

    def __init__(self, grant: Grant, latest: int) -> None:
        self.grant = grant
        self.latest = latest
        self.cost = max(grant.request.cost if grant.request.units is None else sum(grant.request.units.values()), 0)


@st.composite
def histories(
    draw: st.DrawFn, windows: st.SearchStrategy[StrictWindow], *, back: bool = False
) -> tuple[StrictWindow, int, list[Step]]:
    window, margin = draw(windows), draw(MARGINS)
    pauses = gaps(window.per) | gaps(margin) | st.integers(max(0, margin - 1), margin + 1)
    if back:
        pauses |= pauses.map(lambda gap: -gap)
    length = draw(LENGTHS)
    costs = st.just(1) | st.integers(1, window.amount)
    return window, margin, draw(st.lists(st.tuples(pauses, costs, EVENTS), min_size=length, max_size=length))


def by_arrival(window: StrictWindow, margin: int) -> StrictWindowPolicy:
    policy = StrictWindowPolicy(window)
    policy.assume(Arrivals(margin=Duration(margin)))
    return policy


def drive(
    policy: StrictWindowPolicy,
    margin: int,
    steps: list[Step],
    look: Callable[[int, int, list[Call]], None],
    *,
    moved: Callable[[int, StrictWindowPolicy], StrictWindowPolicy] = lambda _, policy: policy,
) -> list[Call]:
    """Has calls granted, answered and ended; `look` sees each ask beforehand. Returns all calls."""
    clock, now, open_calls, calls = START, START, list[Call](), list[Call]()
    for number, (gap, cost, events) in enumerate(steps):
        clock += gap
        now = max(now, clock)
        policy = moved(number, policy)
        asked = request(policy.parameters, cost)
        look(clock, cost, calls)
        if policy.earliest(Instant(clock), asked) <= clock:
            policy.commit(Instant(clock), asked)
            call = Call(Grant(Instant(clock), 0, asked), now + margin)
            calls.append(call)
            open_calls.append(call)
        for which, event in events:
            if which < len(open_calls):
                happen(policy, Instant(clock), open_calls, which, event)
    return calls


def happen(policy: StrictWindowPolicy, clock: Instant, open_calls: list[Call], which: int, event: Event) -> None:
    call = open_calls[which]
    if event is None:
        if call.grant.answered_at is None:
            policy.answered(clock, call.grant)
            call.grant = msgspec.structs.replace(call.grant, answered_at=clock)
            call.latest = min(call.latest, max(clock, call.grant.granted_at))
        return
    open_calls.pop(which)
    if event in {Ending.ANSWERED, Ending.REJECTED}:
        call.latest = min(call.latest, max(clock, call.grant.granted_at))
    policy.record(clock, msgspec.structs.replace(call.grant, ending=event), Result.NEUTRAL)


@pytest.mark.promise("R02")
@given(histories(SMALL) | histories(LARGE), st.sets(st.integers(0, 40), max_size=3))
def test_no_window_of_the_provider_holds_more_wherever_within_the_margin_calls_arrive(
    history: tuple[StrictWindow, int, list[Step]], cuts: set[int]
) -> None:
    window, margin, steps = history

    def moved(number: int, policy: StrictWindowPolicy) -> StrictWindowPolicy:
        if number not in cuts:
            return policy
        successor = by_arrival(window, margin)
        successor.restore(policy.state())
        return successor

    calls = drive(by_arrival(window, margin), margin, steps, lambda *_: None, moved=moved)

    assert fullest(window, [(call.grant.granted_at, call.latest, call.cost) for call in calls]) <= window.amount


@pytest.mark.promise("R02")
@given(histories(SMALL, back=True))
def test_a_clock_that_goes_back_admits_no_more_arrivals(history: tuple[StrictWindow, int, list[Step]]) -> None:
    window, margin, steps = history
    latest, uses = 0, []
    granted = drive(by_arrival(window, margin), margin, [(gap, cost, []) for gap, cost, _ in steps], lambda *_: None)
    for call in granted:
        latest = max(latest, call.grant.granted_at)
        uses.append((latest, latest + margin, call.cost))

    assert fullest(window, uses) <= window.amount


@pytest.mark.promise("R02", "R10")
@given(histories(SMALL))
def test_a_call_is_granted_exactly_when_a_list_of_arrivals_says_so(history: tuple[StrictWindow, int, list[Step]]) -> None:
    window, margin, steps = history
    policy = by_arrival(window, margin)

    def look(now: int, cost: int, calls: list[Call]) -> None:
        taken = sum(call.cost for call in calls if call.latest + window.per > now)
        when = policy.earliest(Instant(now), request(window, cost))

        assert window.amount - taken == policy.available(Instant(now))
        assert (taken + cost <= window.amount) == (when <= now)
        # Never later than if all calls on the way were answered now.
        soonest = [min(call.latest, now) + window.per for call in calls]
        assert (
            when <= now or sum(c.cost for c, until in zip(calls, soonest, strict=True) if until > when) + cost <= window.amount
        )
        assert sum(c.cost for c, until in zip(calls, soonest, strict=True) if until > when - 1) + cost > window.amount or (
            when <= now
        )

    drive(policy, margin, steps, look)


@pytest.mark.promise("R02", "R03")
@given(histories(SMALL), st.lists(st.integers(0, 6), min_size=40, max_size=40))
def test_what_calls_really_used_is_counted_from_when_it_is_known(
    history: tuple[StrictWindow, int, list[Step]], used: list[int]
) -> None:
    window, margin, steps = history
    policy, now, counted = by_arrival(window, margin), START, list[tuple[int, int, int]]()
    for (gap, cost, events), really in zip(steps, used, strict=False):
        now += gap
        asked = request(window, cost)
        if policy.earliest(Instant(now), asked) > now:
            continue
        grant = Grant(Instant(now), 0, asked, (policy.commit(Instant(now), asked),))
        for _ in events[:1]:
            now += margin // 2
            policy.answered(Instant(now), grant)
            grant = msgspec.structs.replace(grant, answered_at=Instant(now))
        # No less than what was asked for stays charged in full; a correction upwards counts from now on.
        policy.settle(Instant(now), grant, 0, max(0, really - cost))
        policy.record(Instant(now), msgspec.structs.replace(grant, request=request(window, max(cost, really))), Result.SUCCESS)
        counted.append((grant.granted_at, now, cost))

        inside = sum(units for _, dated, units in counted if dated > now - window.per)
        assert policy.available(Instant(now)) <= max(0, window.amount - inside)


@pytest.mark.promise("R02")
@given(st.integers(4097, 12_000), st.integers(0, 2000))
def test_more_calls_on_the_way_than_are_kept_apart_are_no_more_than_allowed_and_leave_in_time(amount: int, apart: int) -> None:
    policy = by_arrival(StrictWindow(amount, MINUTE), SECOND)
    now = START
    for _ in range(amount):
        assert policy.earliest(Instant(now), PLAIN) == now
        policy.commit(Instant(now), PLAIN)
        now += apart % 3
    all_in_time = START + MINUTE + SECOND + 2 * apart % 3 * amount
    last = now - apart % 3

    assert policy.earliest(Instant(now), PLAIN) > now
    assert len(policy.state().on_the_way) <= 2 * 4096 + 2
    # The latest may arrive a margin after its grant, and counts for a window from then on.
    assert policy.available(Instant(last + SECOND + MINUTE - 1)) < amount
    assert amount == policy.available(Instant(all_in_time + 2 * MINUTE // 4096 + 2 * amount))


@pytest.mark.promise("R02")
def test_a_window_that_goes_on_from_its_state_dates_no_grant_before_what_it_has_seen() -> None:
    window = StrictWindow(2, Duration(100))
    before, after = by_arrival(window, 10), by_arrival(window, 10)
    for instant in (START, START, START + 200):
        before.commit(Instant(instant), PLAIN)
    before.answered(Instant(START + 200), Grant(Instant(START + 200), 0))
    after.restore(before.state())

    # The clock has gone back by 50.
    after.commit(Instant(START + 150), PLAIN)
    assert 0 == after.available(Instant(START + 299))
    assert 1 == after.available(Instant(START + 309))
    assert 2 == after.available(Instant(START + 310))


@pytest.mark.promise("R02")
def test_an_answer_that_is_seen_dates_later_grants_although_the_clock_goes_back() -> None:
    policy = by_arrival(StrictWindow(2, Duration(100)), 10)
    policy.commit(Instant(START), PLAIN)
    policy.answered(Instant(START + 50), Grant(Instant(START), 0))

    policy.commit(Instant(START + 5), PLAIN)
    assert 1 == policy.available(Instant(START + 159))
    assert 2 == policy.available(Instant(START + 160))


@pytest.mark.promise("R02")
def test_a_window_that_goes_on_from_its_state_knows_when_each_call_has_arrived() -> None:
    window = StrictWindow(2, Duration(100))
    before, after = by_arrival(window, 10), by_arrival(window, 10)
    for instant in (START, START + 50):
        before.commit(Instant(instant), PLAIN)
    after.restore(before.state())

    assert START + 160 == before.rests_at() == after.rests_at()
    after.answered(Instant(START + 30), Grant(Instant(START), 0))
    assert 0 == after.available(Instant(START + 109))
    assert 1 == after.available(Instant(START + 110))


@pytest.mark.promise("R02")
def test_calls_on_the_way_when_a_window_begins_to_count_by_outcome_count_until_after_their_margin() -> None:
    window = StrictWindow(1, Duration(100))
    before, after = by_arrival(window, 10), StrictWindowPolicy(window)
    before.commit(Instant(START), PLAIN)
    after.carry_over(Instant(START + 5), before)

    assert 0 == after.available(Instant(START + 109))
    assert 1 == after.available(Instant(START + 110))


def test_calls_that_cost_nothing_of_a_unit_take_no_memory() -> None:
    policy = by_arrival(StrictWindow(2, Duration(100), "tokens"), 10)
    policy.commit(Instant(START), Request(1, {"tokens": 1}))
    for _ in range(3):
        policy.answered(Instant(START), Grant(Instant(START), 0))

    assert () == policy.state().arrived.slots


def test_places_that_are_free_by_time_alone_are_found_by_the_next_grant() -> None:
    policy = by_arrival(StrictWindow(2, Duration(100)), 10)
    for instant in (START, START, START + 110):
        policy.commit(Instant(instant), PLAIN)

    assert policy.ready <= START + 110
    assert 1 == policy.available(Instant(START + 110))


BUCKETS: Final = st.builds(
    TokenBucket, st.integers(1, 200), st.sampled_from([1000, 7919, 100_000]).map(Duration), st.integers(1, 60)
)


def denied(bucket: TokenBucket, arrivals: list[int]) -> int:
    """How many of the requests a provider denies that keeps this bucket by arrival, in exact fractions."""
    tokens, before, times = Fraction(bucket.burst), 0, 0
    for at in sorted(arrivals):
        tokens = min(Fraction(bucket.burst), tokens + Fraction((at - before) * bucket.amount, int(bucket.per)))
        before = at
        if tokens >= 1:
            tokens -= 1
        else:
            times += 1
    return times


def greedy(policy: TokenBucketPolicy, pauses: list[int]) -> list[int]:
    """Grants, each as early as possible after a pause."""
    now, granted = START, list[int]()
    for pause in pauses:
        now = policy.earliest(Instant(now + pause), PLAIN)
        policy.commit(Instant(now), PLAIN)
        granted.append(now)
    return granted


@pytest.mark.promise("R02")
@given(
    BUCKETS,
    st.integers(0, 100_000) | st.integers(0, 1000),
    st.lists(st.just(0) | st.integers(0, 50_000), min_size=20, max_size=120),
    st.integers(0, 119),
    st.lists(st.floats(0, 1), min_size=120, max_size=120) | st.none(),
)
def test_a_provider_with_the_very_bucket_denies_nothing_that_arrives_late(
    bucket: TokenBucket, margin: int, pauses: list[int], pile: int, lateness: list[float] | None
) -> None:
    policy = TokenBucketPolicy(bucket)
    policy.assume(Arrivals(bucket_margin=Duration(margin)))
    granted = greedy(policy, pauses)
    if lateness is None:
        # The worst: all that can arrive at one instant does, and what comes afterwards is not late.
        instant = granted[min(pile, len(granted) - 1)]
        arrivals = [min(max(at, instant), at + margin) for at in granted]
    else:
        arrivals = [at + int(margin * late) for at, late in zip(granted, lateness, strict=False)]

    assert 0 == denied(bucket, arrivals)


@pytest.mark.parametrize(
    ("bucket", "margin", "capacity", "rate"),
    [
        (TokenBucket(100, SECOND, 100), 200_000, 80, 100.0),
        (TokenBucket(100, SECOND, 100), 0, 100, 100.0),
        (TokenBucket(10, SECOND, 100), 2 * SECOND, 80, 10.0),
        (TokenBucket(10, SECOND, 1), 100_000, 1, 5.0),
        (TokenBucket(10, SECOND, 5), SECOND, 1, 5 / 1.1),
    ],
)
def test_a_bucket_loses_as_much_as_is_needed(bucket: TokenBucket, margin: int, capacity: int, rate: float) -> None:
    policy = TokenBucketPolicy(bucket)
    policy.assume(Arrivals(bucket_margin=Duration(margin)))
    twin = TokenBucketPolicy(bucket)
    twin.assume(Arrivals(bucket_margin=Duration(margin)))
    twin.carry_over(Instant(START), policy)

    assert capacity == policy.capacity()
    assert policy.refill_rate() == pytest.approx(rate)
    assert capacity == policy.available(Instant(START)) == twin.available(Instant(START))
    # One token more, and what piles up within the margin is denied.
    looser = TokenBucketPolicy(msgspec.structs.replace(bucket, burst=capacity + 1))
    granted = greedy(looser, [0] * 200)
    assert 0 == denied(bucket, [max(at, min(at + margin, granted[0] + margin)) for at in greedy(policy, [0] * 200)])
    assert margin == 0 or denied(bucket, [max(at, min(at + margin, granted[0] + margin)) for at in granted])


@pytest.mark.promise("R02")
@given(
    st.integers(1, 5),
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50), st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=40),
)
def test_no_more_are_at_work_at_the_provider_than_the_limit_allows_in_flight(
    amount: int, margin: int, work: int, steps: list[tuple[int, int, float, float, bool]]
) -> None:
    policy = InFlightPolicy(InFlight(amount))
    policy.assume(Arrivals(margin=Duration(margin), linger=Duration(work)))
    now, at_work, ends = START, list[tuple[int, int]](), list[tuple[int, Grant, Ending]]()
    for gap, patience, way, length, given_up in steps:
        now += gap
        for end in sorted((end for end in ends if end[0] <= now), key=lambda end: end[0]):
            ends.remove(end)
            policy.record(Instant(end[0]), msgspec.structs.replace(end[1], ending=end[2]), Result.NEUTRAL)
        if policy.earliest(Instant(now), PLAIN) > now:
            continue
        policy.commit(Instant(now), PLAIN)
        arrives = now + int(way * margin)
        done = arrives + int(length * work)
        at_work.append((arrives, done))
        ending = Ending.GIVEN_UP if given_up and now + patience < done else Ending.ANSWERED
        ends.append((now + patience if ending is Ending.GIVEN_UP else done, Grant(Instant(now), 0, PLAIN), ending))

    assert max((sum(a <= at < b for a, b in at_work) for at, _ in at_work), default=0) <= amount


def test_a_place_is_held_for_the_usual_duration_of_calls() -> None:
    policy = InFlightPolicy(InFlight(1))
    policy.assume(Arrivals(margin=SECOND))
    now = START
    for _ in range(40):
        policy.commit(Instant(now), PLAIN)
        policy.record(Instant(now + 20 * SECOND), Grant(Instant(now), 0, PLAIN), Result.SUCCESS)
        now += 20 * SECOND
    policy.commit(Instant(now), PLAIN)
    policy.record(Instant(now + 1), Grant(Instant(now), 0, PLAIN, ending=Ending.GIVEN_UP), Result.NEUTRAL)

    freed = policy.earliest(Instant(now + 1), PLAIN)
    assert now + 21 * SECOND <= freed <= now + 21 * SECOND + SECOND // 100
    assert 0 == policy.available(Instant(freed - 1))
    assert 1 == policy.available(freed)
    assert freed == policy.rests_at() == policy.wakes_at(Instant(now + 1))


def test_a_call_that_was_given_up_late_shows_that_calls_take_longer() -> None:
    policy = InFlightPolicy(InFlight(2))
    policy.assume(Arrivals(margin=Duration(1)))
    for took, ending in ((SECOND, Ending.ANSWERED), (MINUTE, Ending.GIVEN_UP)):
        policy.commit(Instant(START), PLAIN)
        policy.record(Instant(START + took), Grant(Instant(START), 0, PLAIN, ending=ending), Result.SUCCESS)

    assert policy.rests_at() > START + 2 * MINUTE


def test_the_instant_of_a_place_that_is_held_is_named_only_if_no_outcome_can_free_one_before() -> None:
    policy = InFlightPolicy(InFlight(2))
    policy.assume(Arrivals(margin=Duration(1), linger=SECOND))
    for _ in range(2):
        policy.commit(Instant(START), PLAIN)
    policy.record(Instant(START), Grant(Instant(START), 0, PLAIN, ending=Ending.GIVEN_UP), Result.NEUTRAL)

    assert AFTER_OUTCOME == policy.earliest(Instant(START), PLAIN)
    assert START + SECOND + 1 == policy.wakes_at(Instant(START))


def test_request_costs_are_held_as_places() -> None:
    policy = InFlightPolicy(InFlight(3))
    policy.assume(Arrivals(margin=SECOND, linger=SECOND))
    two = Request(2)
    policy.commit(Instant(START), two)
    policy.record(Instant(START), Grant(Instant(START), 0, two, ending=Ending.GIVEN_UP), Result.NEUTRAL)

    assert START == policy.earliest(Instant(START), PLAIN)
    assert START + 2 * SECOND == policy.earliest(Instant(START), two)
