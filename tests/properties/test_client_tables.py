"""Tables of strict windows and of requests in flight, one limit for each client, beside oracles with room for everybody."""

import sys
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from governor import Instant
from governor._units import AFTER_OUTCOME, HOUR, NEVER, SECOND, Duration
from governor.policies.clients import _slices
from governor.policies.clients.flights import ClientFlights
from governor.policies.clients.tables import build, change, sweeps
from governor.policies.clients.windows import SLOTS, ClientWindows
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.windows.parameters import StrictWindow

TABLES = ClientWindows.TABLES
ROOM = 100 * TABLES
START = 10**9

#: Several clients of one part of the table, and one of another.
KEYS = st.sampled_from([b"a\1", b"b\1", b"c\1", b"d\1", b"e\2"])
WINDOWS = st.builds(
    StrictWindow,
    st.sampled_from([1, 2, 3, 5, SLOTS, SLOTS + 1, 100, 1000]),
    st.sampled_from([1, 7, 64, 100, SECOND, 13 * SECOND]).map(Duration),
)


def gaps(window: StrictWindow) -> st.SearchStrategy[int]:
    """Clustered, at the borders of slots and of the window, and anything between."""
    per = window.per
    return st.one_of(st.just(0), st.integers(0, 2), st.integers(0, per // 8 + 1), st.integers(max(0, per - 2), per + 2))


@st.composite
def histories(draw: st.DrawFn) -> tuple[StrictWindow, list[tuple[int, bytes, int]]]:
    window = draw(WINDOWS)
    costs = st.sampled_from([1, 1, 1, min(2, window.amount), max(1, window.amount // 3), window.amount])
    return window, draw(st.lists(st.tuples(gaps(window), KEYS, costs), max_size=80))


def used(dates: list[tuple[int, int]], end: int, per: int) -> int:
    """Requests in the window that ends at `end`."""
    return sum(cost for dated, cost in dates if end - per < dated <= end)


@pytest.mark.promise("R21")
@given(histories(), st.sampled_from([1, 2 * TABLES, ROOM]))
def test_no_window_of_any_client_holds_more_than_its_limit(
    history: tuple[StrictWindow, list[tuple[int, bytes, int]]], most: int
) -> None:
    window, asks = history
    table, now = ClientWindows(window, most), START
    granted: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for gap, key, cost in asks:
        now += gap
        if table.earliest(Instant(now), key, cost) <= now:
            table.commit(Instant(now), key, cost)
            granted[key].append((now, cost))

    assert [] == [
        (key, dated) for key, dates in granted.items() for dated, _ in dates if used(dates, dated, window.per) > window.amount
    ]
    assert all(len(part) <= -(-most // TABLES) for part in table._tables)
    assert all(len(uses) <= 2 * (SLOTS + 2) for part in table._tables for uses in part.values())


@pytest.mark.promise("R21", "R22")
@given(histories())
def test_with_room_for_all_small_windows_are_exact_and_large_ones_late_by_a_slot_at_most(
    history: tuple[StrictWindow, list[tuple[int, bytes, int]]],
) -> None:
    window, asks = history
    table, now = ClientWindows(window, ROOM), START
    late = 0 if window.amount <= SLOTS else -(-window.per // SLOTS)
    granted: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for gap, key, cost in asks:
        now += gap
        named = table.earliest(Instant(now), key, cost)
        fits = used(granted[key], now, window.per) + cost <= window.amount
        fitted = used(granted[key], now, window.per + late) + cost <= window.amount
        assert fitted <= (named <= now) <= fits
        if named > now:
            assert table.earliest(Instant(named - 1), key, cost) == named
            now = named
        assert table.earliest(Instant(now), key, cost) == now
        table.commit(Instant(now), key, cost)
        granted[key].append((now, cost))


@pytest.mark.promise("R24")
@given(histories(), st.integers(1, 5))
def test_a_window_later_a_round_of_sweeps_leaves_nothing(
    history: tuple[StrictWindow, list[tuple[int, bytes, int]]], slice_of: int
) -> None:
    window, asks = history
    table, now = ClientWindows(window, ROOM), START
    for gap, key, cost in asks:
        now += gap
        if table.earliest(Instant(now), key, cost) <= now:
            table.commit(Instant(now), key, cost)
    before, last = len(table), {uses[-2] for part in table._tables for uses in part.values()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slices, "MAX_SLICE", slice_of)
        early = sum(table.sweep(Instant(now)) for _ in range(sweeps(table)))
        kept = {uses[-2] for part in table._tables for uses in part.values()}
        late = sum(table.sweep(Instant(now + window.per)) for _ in range(sweeps(table)))

    assert {dated for dated in last if dated > now - window.per} == kept
    assert (before, 0) == (early + late, len(table))
    assert {sys.getsizeof({})} == {sys.getsizeof(part) for part in table._tables}, "an empty table keeps its room"


@pytest.mark.promise("R24")
def test_a_large_window_keeps_a_bounded_number_of_dates() -> None:
    table = ClientWindows(StrictWindow(10_000, HOUR), ROOM)
    for number in range(10_000):
        table.commit(Instant(START + number * (HOUR // 10_000)), b"a\1")

    assert len(table._tables[1][b"a\1"]) <= 2 * (SLOTS + 2)


@pytest.mark.promise("R24")
def test_a_client_who_is_dropped_from_a_full_table_is_not_forgiven() -> None:
    window = StrictWindow(3, HOUR)
    table, now = ClientWindows(window, 8 * TABLES), Instant(START)
    blocked = b"blocked\1"
    table.commit(now, blocked, 3)
    for number in range(1000):
        newcomer = b"%d\1" % number
        if table.earliest(now, newcomer) <= now:
            table.commit(now, newcomer)

    assert (0, 0) == (table.available(now, blocked), table.available(Instant(now + HOUR - 1), blocked))
    assert 3 == table.available(Instant(now + HOUR), blocked)


@pytest.mark.promise("R24")
@pytest.mark.parametrize("amount", [2, 3, 10])
def test_a_flood_of_invented_names_costs_a_new_client_less_than_half_of_its_window(amount: int) -> None:
    table, now = ClientWindows(StrictWindow(amount, HOUR), 8 * TABLES), Instant(START)
    for number in range(5000):
        while table.earliest(now, b"%d\1" % number) <= now:
            table.commit(now, b"%d\1" % number)

    assert amount - (amount - 1) // 2 == table.available(now, b"new\1")
    assert [0] * 5000 == [table.available(now, b"%d\1" % number) for number in range(5000)]


def test_the_same_requests_count_under_a_changed_window() -> None:
    table, now = ClientWindows(StrictWindow(3, HOUR), ROOM), Instant(START)
    table.commit(now, b"a\1", 3)
    changed = change(now, table, StrictWindow(5, Duration(HOUR // 2)), ROOM)

    assert (2, 5) == (changed.available(now, b"a\1"), changed.available(Instant(now + HOUR // 2), b"a\1"))


@pytest.mark.parametrize("limit", [TokenBucket(5, HOUR, 5), StrictWindow(5, HOUR), InFlight(5)])
def test_what_costs_more_than_a_limit_can_hold_is_never_granted(limit: TokenBucket | StrictWindow | InFlight) -> None:
    table = build(limit, ROOM)

    assert [START, NEVER] == [table.earliest(Instant(START), b"a\1", cost) for cost in (5, 6)]
    table.commit(Instant(START), b"a\1", 5)
    assert [0, 5] == [table.available(Instant(START), key) for key in (b"a\1", b"b\1")]


def test_a_limit_of_another_kind_begins_with_nothing_spent() -> None:
    table = build(TokenBucket(5, HOUR, 5), ROOM)
    table.commit(Instant(START), b"a\1", 5)

    assert 5 == change(Instant(START), table, StrictWindow(5, HOUR), ROOM).available(Instant(START), b"a\1")


class Flights(RuleBasedStateMachine):
    """Requests of many clients begin and end, in any order, while the limit and the bound change."""

    @initialize(amount=st.integers(1, 4), most=st.integers(1, 4))
    def begin(self, amount: int, most: int) -> None:
        self.table = ClientFlights(InFlight(amount), most)
        #: Of each request the key, the cost and the table in which it has begun.
        self.flying: list[tuple[bytes, int, ClientFlights]] = []

    @rule(key=KEYS, cost=st.integers(1, 5))
    def ask(self, key: bytes, cost: int) -> None:
        now = Instant(START)
        mine = sum(other for client, other, _ in self.flying if client == key)
        clients = {client for client, _, _ in self.flying}
        named = self.table.earliest(now, key, cost)
        fits = mine + cost <= self.table.parameters.amount and (key in clients or len(clients) < self.table.max_clients)
        assert (NEVER if cost > self.table.parameters.amount else now if fits else AFTER_OUTCOME) == named
        if named <= now:
            self.table.commit(now, key, cost)
            self.flying.append((key, cost, self.table))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.flying:
            key, cost, table = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
            table.release(key, cost)

    @rule(amount=st.integers(1, 4), most=st.integers(1, 4))
    def change(self, amount: int, most: int) -> None:
        table = change(Instant(START), self.table, InFlight(amount), most)
        assert isinstance(table, ClientFlights)
        self.table = table

    @invariant()
    def as_many_are_counted_as_fly(self) -> None:
        counts: Counter[bytes] = Counter()
        for key, cost, _ in self.flying:
            counts[key] += cost

        assert counts == self.table._counts


TestFlights = pytest.mark.promise("R21")(Flights.TestCase)
