"""Laws of the request cap: any 60 seconds, exactly."""

from typing import Final

import pytest

from governor._units import DAY, Instant
from governor.policies._sliding_log import SLOTS
from governor.policies.contract import Grant, Request
from governor.policies.request_cap import WINDOW, RequestCap, RequestCapPolicy
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY
SLOT: Final = WINDOW // SLOTS + 1

#: How much later than the step before, the cost that is asked for, and which grants are given back then.
Step = tuple[int, int, list[int]]
#: A grant and the latest instant that had been seen when it was made.
Sent = tuple[int, Grant]

GAPS: Final = st.one_of(
    st.just(0),
    st.integers(0, 3),
    st.integers(0, 3 * SLOT),
    st.integers(0, WINDOW // 2),
    st.integers(WINDOW - 1, WINDOW + 1),
    st.integers(WINDOW - 2 * SLOT, WINDOW + 2 * SLOT),
    st.just(DAY),
)
#: Drawn first, because long lists are rare otherwise, and most faults show only in long ones.
LENGTHS: Final = st.integers(0, 40) | st.just(40)
BACK: Final = st.lists(st.integers(0, 3), max_size=2)


@st.composite
def histories(draw: st.DrawFn, most: st.SearchStrategy[int], *, back: bool = False) -> tuple[int, list[Step]]:
    cap = draw(most)
    pauses = GAPS | GAPS.map(lambda gap: -gap) if back else GAPS
    costs = st.just(1) | st.integers(1, cap) | st.integers(max(1, cap // 3), cap)
    length = draw(LENGTHS)
    return cap, draw(st.lists(st.tuples(pauses, costs, BACK), min_size=length, max_size=length))


SMALL: Final = st.integers(1, 6)
LARGE: Final = st.integers(SLOTS + 1, 3 * SLOTS)


def ask(policy: RequestCapPolicy, now: int, cost: int) -> Grant | None:
    if policy.earliest(Instant(now), Request(cost)) > now:
        return None
    policy.commit(Instant(now), Request(cost))
    return Grant(Instant(now), 0, Request(cost))


def inside(sent: list[Sent], now: int, window: int = WINDOW) -> int:
    """What was let out within the window that ends now."""
    return sum(grant.request.cost for dated, grant in sent if dated > now - window)


def give_back(policy: RequestCapPolicy, now: int, sent: list[Sent], which: list[int]) -> None:
    for index in which:
        if index < len(sent):
            policy.refund(Instant(now), sent.pop(index)[1], 0)


@pytest.mark.promise("R07")
@given(histories(SMALL))
def test_it_grants_exactly_when_a_list_of_dates_says_so(history: tuple[int, list[Step]]) -> None:
    most, steps = history
    policy, now = RequestCapPolicy(RequestCap(most)), START
    sent: list[Sent] = []
    for gap, cost, back in steps:
        now += gap
        taken = inside(sent, now)

        assert taken == policy.used(Instant(now))
        grant = ask(policy, now, cost)
        assert (taken + cost <= most) == (grant is not None)
        if grant is not None:
            sent.append((now, grant))
        give_back(policy, now, sent, back)


@pytest.mark.promise("R07")
@given(histories(SMALL, back=True) | histories(LARGE, back=True))
def test_no_sixty_seconds_hold_more_even_if_the_clock_goes_back_and_grants_are_given_back(
    history: tuple[int, list[Step]],
) -> None:
    most, steps = history
    policy, now, latest = RequestCapPolicy(RequestCap(most)), 100 * START, 0
    sent: list[Sent] = []
    for gap, cost, back in steps:
        now += gap
        grant = ask(policy, now, cost)
        if grant is not None:
            latest = max(latest, now)
            sent.append((latest, grant))

            # This window ends with the newest grant; those before it were looked at when they ended.
            assert inside(sent, latest) <= most
        give_back(policy, now, sent, back)


@pytest.mark.promise("R07")
@given(histories(LARGE))
def test_merging_never_admits_more_and_is_late_by_a_slot_at_most(history: tuple[int, list[Step]]) -> None:
    most, steps = history
    policy, now = RequestCapPolicy(RequestCap(most)), START
    sent: list[Sent] = []
    for gap, cost, back in steps:
        now += gap
        grant = ask(policy, now, cost)

        if grant is None:
            assert inside(sent, now, WINDOW + SLOT) + cost > most
        else:
            sent.append((now, grant))
            assert inside(sent, now) <= most
        give_back(policy, now, sent, back)


@pytest.mark.promise("R07", "R10")
@given(histories(SMALL) | histories(LARGE))
def test_it_is_granted_at_the_instant_that_was_named_and_not_a_microsecond_before(history: tuple[int, list[Step]]) -> None:
    most, steps = history
    policy, now = RequestCapPolicy(RequestCap(most)), START
    sent: list[Sent] = []
    for gap, cost, back in steps:
        now += gap
        named = policy.earliest(Instant(now), Request(cost))
        if named > now:
            assert policy.earliest(Instant(named - 1), Request(cost)) == named
            now = named
        grant = ask(policy, now, cost)
        assert grant is not None
        sent.append((now, grant))
        give_back(policy, now, sent, back)


@pytest.mark.promise("R04")
@given(histories(SMALL), st.integers(1, 15))
def test_the_instant_named_for_a_place_in_the_queue_is_when_it_is_granted(
    history: tuple[int, list[Step]], waiting: int
) -> None:
    most, steps = history
    policy, now = RequestCapPolicy(RequestCap(most)), START
    for gap, cost, _ in steps:
        now += gap
        ask(policy, now, cost)
    named = [policy.earliest(Instant(now), Request(), Request(place)) for place in range(waiting)]

    served = []
    for _ in range(waiting):
        now = policy.earliest(Instant(now), Request())
        policy.commit(Instant(now), Request())
        served.append(now)

    assert named == served


@given(histories(SMALL, back=True) | histories(LARGE))
def test_memory_stays_bounded_whatever_is_given_back(history: tuple[int, list[Step]]) -> None:
    most, steps = history
    policy, now = RequestCapPolicy(RequestCap(most)), 100 * START
    sent: list[Sent] = []
    for gap, cost, back in steps:
        now += gap
        for _ in range(3):
            now += 1
            grant = ask(policy, now, cost)
            if grant is not None:
                sent.append((now, grant))
            give_back(policy, now, sent, [*back, max(0, len(sent) - 1)])

    slots = policy.state().slots
    used = [count for _, count in slots if count]
    assert sorted(slots) == list(slots)
    assert len(slots) <= 2 * len(used) + 1
