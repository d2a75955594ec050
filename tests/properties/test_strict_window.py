"""Laws of the strict window: wherever the provider's own windows lie, and whenever within a call it counts."""

from typing import Final

import pytest

from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.policies._sliding_log import SLOTS
from governor.policies.contract import Grant, Request, Result
from governor.policies.windows.parameters import StrictWindow
from governor.policies.windows.window import StrictWindowPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY

#: How much later than the step before, the cost that is asked for, and which of the calls under way end then.
Step = tuple[int, int, list[int]]
#: How much later, and the cost of a call that takes no time.
Ask = tuple[int, int]
#: A use: granted at, ended at, cost.
Use = tuple[int, int, int]

RESULTS: Final = list(Result)
#: Drawn first, because long lists are rare otherwise, and most faults show only in long ones.
LENGTHS: Final = st.integers(0, 40) | st.just(40)


def gaps(per: int) -> st.SearchStrategy[int]:
    slot = -(-per // SLOTS)
    return st.one_of(
        st.just(0),
        st.integers(0, 3),
        st.integers(0, 3 * slot),
        st.integers(0, per // 2),
        st.integers(per - 1, per + 1),
        st.integers(max(0, per - 2 * slot), per + 2 * slot),
        st.just(DAY),
    )


PERS: Final = st.integers(1, 100) | st.sampled_from([SECOND, MINUTE, DAY])
SMALL: Final = st.builds(StrictWindow, st.integers(1, 6), PERS.map(Duration), st.sampled_from(["requests", "tokens"]))
#: More units than slots: uses that are close in time are merged.
LARGE: Final = st.builds(StrictWindow, st.integers(SLOTS + 1, 3 * SLOTS), PERS.map(Duration))


@st.composite
def calls(draw: st.DrawFn, parameters: st.SearchStrategy[StrictWindow] = SMALL) -> tuple[StrictWindow, list[Step]]:
    window = draw(parameters)
    costs = st.just(1) | st.integers(1, window.amount)
    ends = st.lists(st.integers(0, 3), max_size=3)
    length = draw(LENGTHS)
    return window, draw(st.lists(st.tuples(gaps(window.per), costs, ends), min_size=length, max_size=length))


@st.composite
def histories(
    draw: st.DrawFn, parameters: st.SearchStrategy[StrictWindow] = SMALL, *, back: bool = False
) -> tuple[StrictWindow, list[Ask]]:
    window = draw(parameters)
    pauses = gaps(window.per)
    if back:
        pauses |= pauses.map(lambda gap: -gap)
    costs = st.just(1) | st.integers(1, window.amount) | st.integers(max(1, window.amount // 3), window.amount)
    length = draw(LENGTHS)
    return window, draw(st.lists(st.tuples(pauses, costs), min_size=length, max_size=length))


def request(window: StrictWindow, cost: int) -> Request:
    return Request(cost) if window.unit == "requests" else Request(units={window.unit: cost})


def call(policy: StrictWindowPolicy, now: int, cost: int) -> bool:
    """A call that takes no time, if it is granted now."""
    asked = request(policy.parameters, cost)
    if policy.earliest(Instant(now), asked) > now:
        return False
    policy.commit(Instant(now), asked)
    policy.record(Instant(now), Grant(Instant(now), 0, asked), Result.SUCCESS)
    return True


def inside(uses: list[Ask], now: int, window: int) -> int:
    """What is dated within the window that ends now."""
    return sum(cost for dated, cost in uses if dated > now - window)


def fullest(window: StrictWindow, uses: list[Use]) -> int:
    """The most that a provider can count in a window of its own, if it dates each use as badly for us as it can.

    A use can be counted in the window from `start` on if it had begun before the window ended and ended after it began. The
    worst windows are those that begin when a call ends, or end right after one has begun.
    """
    starts = [start for granted, ended, _ in uses for start in (ended, granted - window.per + 1)]
    return max(
        (sum(cost for granted, ended, cost in uses if granted < start + window.per and ended >= start) for start in starts),
        default=0,
    )


@pytest.mark.promise("R02")
@given(calls() | calls(LARGE))
def test_no_window_of_the_provider_holds_more_whenever_it_counts_a_call(history: tuple[StrictWindow, list[Step]]) -> None:
    window, steps = history
    policy, now = StrictWindowPolicy(window), START
    under_way: list[Ask] = []
    uses: list[Use] = []
    for number, (gap, cost, ends) in enumerate(steps):
        now += gap
        asked = request(window, cost)
        if policy.earliest(Instant(now), asked) <= now:
            policy.commit(Instant(now), asked)
            under_way.append((now, cost))
        for which in ends:
            if which < len(under_way):
                granted, used = under_way.pop(which)
                grant = Grant(Instant(granted), 0, request(window, used))
                policy.record(Instant(now), grant, RESULTS[number % len(RESULTS)])
                uses.append((granted, now, used))

    # Those that are still under way may be counted at any later time.
    uses += [(granted, now + 10 * DAY, cost) for granted, cost in under_way]
    assert fullest(window, uses) <= window.amount


@pytest.mark.promise("R02")
@given(histories())
def test_calls_that_take_no_time_are_granted_exactly_when_a_list_of_dates_says_so(
    history: tuple[StrictWindow, list[Ask]],
) -> None:
    window, asks = history
    policy, now = StrictWindowPolicy(window), START
    uses: list[Ask] = []
    for gap, cost in asks:
        now += gap
        taken = inside(uses, now, window.per)

        assert window.amount - taken == policy.available(Instant(now))
        allowed = taken + cost <= window.amount
        assert allowed == call(policy, now, cost)
        if allowed:
            uses.append((now, cost))


@pytest.mark.promise("R02")
@given(histories(LARGE))
def test_merging_never_admits_more_and_is_late_by_a_slot_at_most(history: tuple[StrictWindow, list[Ask]]) -> None:
    window, asks = history
    policy, now, slot = StrictWindowPolicy(window), START, window.per // SLOTS + 1
    uses: list[Ask] = []
    for gap, cost in asks:
        now += gap
        granted = call(policy, now, cost)

        if granted:
            assert inside(uses, now, window.per) + cost <= window.amount
            uses.append((now, cost))
        else:
            assert inside(uses, now, window.per + slot) + cost > window.amount


@pytest.mark.promise("R02")
@given(histories(back=True) | histories(LARGE, back=True))
def test_a_clock_that_goes_back_stands_still_or_jumps_never_admits_more(history: tuple[StrictWindow, list[Ask]]) -> None:
    window, asks = history
    policy, now, latest = StrictWindowPolicy(window), 100 * START, 0
    uses: list[Use] = []
    for gap, cost in asks:
        now += gap
        if call(policy, now, cost):
            latest = max(latest, now)
            uses.append((latest, latest, cost))

    assert fullest(window, uses) <= window.amount


@pytest.mark.promise("R02", "R10")
@given(histories() | histories(LARGE))
def test_it_is_granted_at_the_instant_that_was_named_and_not_a_microsecond_before(
    history: tuple[StrictWindow, list[Ask]],
) -> None:
    window, asks = history
    policy, now = StrictWindowPolicy(window), START
    for gap, cost in asks:
        now += gap
        asked = request(window, cost)
        named = policy.earliest(Instant(now), asked)
        if named > now:
            assert policy.earliest(Instant(named - 1), asked) == named
            now = named
        assert call(policy, now, cost)


@pytest.mark.promise("R04")
@given(histories(), st.integers(1, 15))
def test_the_instant_named_for_a_place_in_the_queue_is_when_it_is_granted(
    history: tuple[StrictWindow, list[Ask]], waiting: int
) -> None:
    window, asks = history
    policy, now = StrictWindowPolicy(window), START
    for gap, cost in asks:
        now += gap
        call(policy, now, cost)
    one = request(window, 1)
    named = [policy.earliest(Instant(now), one, request(window, place)) for place in range(waiting)]

    served = []
    for _ in range(waiting):
        now = policy.earliest(Instant(now), one)
        assert call(policy, now, 1)
        served.append(now)

    assert named == served


@given(histories(), st.data())
def test_no_call_in_the_queue_is_served_before_the_instant_that_was_named(
    history: tuple[StrictWindow, list[Ask]], data: st.DataObject
) -> None:
    window, asks = history
    policy, now = StrictWindowPolicy(window), START
    for gap, cost in asks:
        now += gap
        call(policy, now, cost)
    line = data.draw(st.lists(st.integers(1, window.amount), min_size=1, max_size=8))
    named = [
        policy.earliest(Instant(now), request(window, cost), request(window, sum(line[:place])))
        for place, cost in enumerate(line)
    ]

    for cost, expected in zip(line, named, strict=True):
        now = policy.earliest(Instant(now), request(window, cost))
        call(policy, now, cost)
        assert expected <= now


@given(histories(LARGE), st.sets(st.integers(0, 40)))
def test_a_merged_window_that_is_restored_again_and_again_never_admits_more(
    history: tuple[StrictWindow, list[Ask]], cuts: set[int]
) -> None:
    window, asks = history
    policy, now = StrictWindowPolicy(window), START
    uses: list[Ask] = []
    for number, (gap, cost) in enumerate(asks):
        now += gap
        if number in cuts:
            successor = StrictWindowPolicy(window)
            successor.restore(policy.state())
            policy = successor
        if call(policy, now, cost):
            assert inside(uses, now, window.per) + cost <= window.amount
            uses.append((now, cost))
