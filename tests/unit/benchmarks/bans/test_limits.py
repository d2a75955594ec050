"""The limits of the modelled providers admit what they document, and nothing else."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.bans.limits import NEVER, AtWork, Bucket, FixedWindow, Limit, SlidingWindow

#: Arrivals: the gap to the one before, the cost, and the time that the request is processed.
arrivals = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3), st.integers(0, 9)), max_size=40)
#: Whether arrivals (instant, cost, end) are within a limit, by its definition alone.
Law = Callable[[list[tuple[int, int, int]]], bool]


def in_fixed_windows(amount: int, per: int, offset: int) -> Law:
    def holds(found: list[tuple[int, int, int]]) -> bool:
        windows = {(at - offset) // per for at, _, _ in found}
        return all(sum(cost for at, cost, _ in found if (at - offset) // per == one) <= amount for one in windows)

    return holds


def in_any_window(amount: int, per: int) -> Law:
    return lambda found: all(sum(cost for at, cost, _ in found if end - per < at <= end) <= amount for end, _, _ in found)


def in_bucket(amount: int, per: int, burst: int) -> Law:
    def holds(found: list[tuple[int, int, int]]) -> bool:
        spans = [(begin, end) for begin, _, _ in [(0, 0, 0), *found] for end, _, _ in found if begin <= end]
        return all(
            sum(cost for at, cost, _ in found if begin <= at <= end) * per <= burst * per + (end - begin) * amount
            for begin, end in spans
        )

    return holds


@pytest.mark.parametrize(
    ("make", "law"),
    [
        (lambda: FixedWindow(4, 10, 3), in_fixed_windows(4, 10, 3)),
        (lambda: SlidingWindow(4, 10), in_any_window(4, 10)),
        (lambda: Bucket(2, 5, 4), in_bucket(2, 5, 4)),
    ],
    ids=["fixed", "sliding", "bucket"],
)
@given(found=arrivals)
def test_a_limit_admits_exactly_what_its_definition_allows(
    make: Callable[[], Limit], law: Law, found: list[tuple[int, int, int]]
) -> None:
    limit = make()
    admitted: list[tuple[int, int, int]] = []
    now = 0
    for gap, cost, work in found:
        now += gap
        allowed = law([*admitted, (now, cost, now + work)])
        earliest = limit.earliest(now, cost)

        assert allowed == (earliest == now)
        assert law([*admitted, (earliest, cost, earliest + work)])
        assert allowed or not law([*admitted, (earliest - 1, cost, earliest - 1 + work)])
        assert (limit.remaining(now) >= cost) == allowed
        if allowed:
            limit.spend(now, cost, now + work)
            admitted.append((now, cost, now + work))


@given(found=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=30))
def test_no_more_are_at_work_than_allowed(found: list[tuple[int, int]]) -> None:
    limit = AtWork(2)
    ends: list[int] = []
    now = 0
    for gap, work in found:
        now += gap
        running = sorted(end for end in ends if end > now)
        expected = now if len(running) < 2 else running[len(running) - 2]

        assert expected == limit.earliest(now, 1)
        if expected == now:
            limit.spend(now, 1, now + work)
            ends.append(now + work)


def test_a_cost_above_the_limit_is_never_admitted() -> None:
    for limit in (FixedWindow(4, 10), SlidingWindow(4, 10), Bucket(4, 10, 4), AtWork(4)):
        assert NEVER == limit.earliest(0, 5)
