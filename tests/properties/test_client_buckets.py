"""Laws of the table of clients, against oracles in exact fractions that remember every client."""

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Final

import pytest
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from governor._units import DAY, HOUR, MINUTE, SECOND, Duration, Instant
from governor.policies.clients import _bloom, _slices
from governor.policies.clients._bloom import BloomFilter
from governor.policies.clients.buckets import ClientBuckets
from governor.policies.clients.tables import change as change_any
from governor.policies.clients.tables import sweeps
from governor.policies.gcra import TokenBucket
from tests.support import tape as st
from tests.support.tape import given

START: Final = 10 * DAY
TABLES: Final = ClientBuckets.TABLES
#: More clients than any history has: none is ever dropped.
ROOM_FOR_ALL: Final = 100 * TABLES

PARAMETERS: Final = st.builds(
    TokenBucket,
    amount=st.integers(1, 10) | st.sampled_from([60, 833, 90_001]),
    per=(st.integers(1, 20) | st.sampled_from([SECOND, 7 * SECOND, MINUTE, HOUR])).map(Duration),
    burst=st.integers(1, 12) | st.sampled_from([100, 1000]),
)
#: Keys in three tables, and enough of them in the first to fill it.
KEYS: Final = st.builds(lambda name, table: bytes((name, table)), st.integers(0, 11), st.sampled_from([0, 0, 0, 7, 255]))


def change_table(now: Instant, table: ClientBuckets, limit: TokenBucket, max_clients: int) -> ClientBuckets:
    changed = change_any(now, table, limit, max_clients)
    assert isinstance(changed, ClientBuckets)
    return changed


def rate(parameters: TokenBucket) -> Fraction:
    """Tokens in a microsecond."""
    return Fraction(parameters.amount, parameters.per)


def gaps(parameters: TokenBucket) -> st.SearchStrategy[int]:
    """Nothing, a microsecond, about a token, about a full bucket."""
    token = -(-parameters.per // parameters.amount)
    full = token * parameters.burst
    return st.one_of(
        st.just(0),
        st.integers(0, 3),
        st.integers(max(0, token - 1), token + 1),
        st.integers(0, 2 * full),
        st.integers(max(0, full - 1), full + 1),
    )


def admitted(policy: ClientBuckets, now: int, key: bytes) -> bool:
    """Asks, and spends if the answer is yes."""
    if policy.earliest(Instant(now), key) > now:
        return False
    policy.commit(Instant(now), key)
    return True


def sweep_all(policy: ClientBuckets, now: int, slice_of: int) -> int:
    """A round of sweeps, in slices of so many keys. How many clients it dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_slices, "MAX_SLICE", slice_of)
        return sum(policy.sweep(Instant(now)) for _ in range(sweeps(policy)))


@dataclass
class Exact:
    """A limiter with room for every client: so many tokens for each, refilled as time goes by, up to the burst."""

    parameters: TokenBucket
    tokens: dict[bytes, Fraction] = field(default_factory=dict)
    filled_at: int = START

    def pass_time(self, now: int) -> None:
        earned = rate(self.parameters) * max(0, now - self.filled_at)
        self.filled_at = max(now, self.filled_at)
        self.tokens = {key: min(Fraction(self.parameters.burst), left + earned) for key, left in self.tokens.items()}

    def left(self, key: bytes) -> Fraction:
        return self.tokens.get(key, Fraction(self.parameters.burst))

    def take(self, key: bytes) -> None:
        self.tokens[key] = self.left(key) - 1

    def change(self, parameters: TokenBucket) -> None:
        """As large a part of the burst is left."""
        factor = Fraction(parameters.burst, self.parameters.burst)
        self.tokens = {key: left * factor for key, left in self.tokens.items()}
        self.parameters = parameters


@st.composite
def histories(draw: st.DrawFn) -> tuple[TokenBucket, list[tuple[int, bytes]]]:
    parameters = draw(PARAMETERS)
    length = draw(st.integers(0, 60) | st.just(60))
    return parameters, draw(st.lists(st.tuples(gaps(parameters), KEYS), min_size=length, max_size=length))


@pytest.mark.promise("R21", "R24")
@given(histories(), st.sampled_from([1, 5 * TABLES, ROOM_FOR_ALL]))
def test_in_every_window_each_caller_has_the_burst_and_the_rate_at_most(
    history: tuple[TokenBucket, list[tuple[int, bytes]]], most: int
) -> None:
    parameters, asks = history
    policy, now = ClientBuckets(parameters, most), START
    granted: dict[bytes, list[int]] = defaultdict(list)
    for gap, key in asks:
        now += gap
        if admitted(policy, now, key):
            granted[key].append(now)

    assert [] == [window for times in granted.values() for window in over_the_law(times, [(START, parameters)])]


def over_the_law(times: list[int], eras: list[tuple[int, TokenBucket]]) -> list[tuple[int, int]]:
    """The windows that hold more than the largest burst that was in force in them, and what each rate gave in its time."""
    return [
        (times[first], times[last])
        for first in range(len(times))
        for last in range(first, len(times))
        if last - first + 1 > allowance(times[first], times[last], eras)
    ]


def allowance(begin: int, end: int, eras: list[tuple[int, TokenBucket]]) -> Fraction:
    until = [since for since, _ in eras[1:]] + [end + 1]
    spans = [
        (parameters, max(0, min(end, stop) - max(begin, since)))
        for (since, parameters), stop in zip(eras, until, strict=True)
        if since <= end and stop >= begin
    ]
    return max(parameters.burst for parameters, _ in spans) + sum(
        (rate(parameters) * span for parameters, span in spans), Fraction()
    )


@pytest.mark.promise("R21")
@given(histories(), st.lists(st.integers(0, 3_000_000), min_size=60, max_size=60))
def test_a_clock_that_goes_back_never_admits_more(
    history: tuple[TokenBucket, list[tuple[int, bytes]]], steps_back: list[int]
) -> None:
    parameters, asks = history
    policy, now = ClientBuckets(parameters, ROOM_FOR_ALL), 2 * START
    granted: dict[bytes, list[int]] = defaultdict(list)
    for (gap, key), back in zip(asks, steps_back, strict=False):
        now += gap - back
        if admitted(policy, now, key):
            granted[key].append(max([now, *granted[key]]))

    assert [] == [window for times in granted.values() for window in over_the_law(times, [(START, parameters)])]


@pytest.mark.promise("R21")
@given(histories())
def test_with_room_for_all_it_agrees_exactly_with_buckets_of_fractions(
    history: tuple[TokenBucket, list[tuple[int, bytes]]],
) -> None:
    parameters, asks = history
    policy, exact, now = ClientBuckets(parameters, ROOM_FOR_ALL), Exact(parameters), START
    for gap, key in asks:
        now += gap
        exact.pass_time(now)

        assert int(exact.left(key)) == policy.available(Instant(now), key)
        assert (exact.left(key) >= 1) == admitted(policy, now, key)
        if exact.left(key) >= 1:
            exact.take(key)


@pytest.mark.promise("R22")
@given(histories(), st.sampled_from([1, 5 * TABLES, ROOM_FOR_ALL]))
def test_it_is_granted_at_the_instant_that_was_named_and_not_a_microsecond_before(
    history: tuple[TokenBucket, list[tuple[int, bytes]]], most: int
) -> None:
    parameters, asks = history
    policy, now = ClientBuckets(parameters, most), START
    for gap, key in asks:
        now += gap
        named = policy.earliest(Instant(now), key)
        if named > now:
            assert named == policy.earliest(Instant(named - 1), key)
            now = named
        assert now == policy.earliest(Instant(now), key)
        policy.commit(Instant(now), key)


@pytest.mark.promise("R24")
@given(histories(), st.sampled_from([1, 3 * TABLES, ROOM_FOR_ALL]), st.integers(1, 12))
def test_when_all_buckets_are_full_again_a_round_of_sweeps_leaves_the_table_empty(
    history: tuple[TokenBucket, list[tuple[int, bytes]]], most: int, slice_of: int
) -> None:
    parameters, asks = history
    policy, now = ClientBuckets(parameters, most), START
    for gap, key in asks:
        now += gap
        admitted(policy, now, key)
    sweep_all(policy, now + -(-parameters.burst * parameters.per // parameters.amount), slice_of)

    assert 0 == len(policy)
    assert {sys.getsizeof({})} == {sys.getsizeof(table) for table in policy._tables}, "an empty table keeps its room"


@given(histories(), st.integers(1, 12))
def test_a_sweep_drops_no_client_that_has_something_to_get_back(
    history: tuple[TokenBucket, list[tuple[int, bytes]]], slice_of: int
) -> None:
    parameters, asks = history
    policy, exact, now = ClientBuckets(parameters, ROOM_FOR_ALL), Exact(parameters), START
    for gap, key in asks:
        now += gap
        exact.pass_time(now)
        if admitted(policy, now, key):
            exact.take(key)
    before = len(policy)
    swept = sweep_all(policy, now, slice_of)

    assert [key for key, left in exact.tokens.items() if left < parameters.burst] == sorted(
        (key for table in policy._tables for key in table), key=list(exact.tokens).index
    )
    assert before == swept + len(policy)


@st.composite
def changes(draw: st.DrawFn) -> tuple[TokenBucket, TokenBucket, list[int], list[int]]:
    before, after = draw(PARAMETERS), draw(PARAMETERS)
    return before, after, draw(st.lists(gaps(before), max_size=30)), draw(st.lists(gaps(after), max_size=30))


@pytest.mark.promise("R21")
@given(changes())
def test_when_the_limit_changes_as_large_a_part_of_the_burst_is_left_within_a_token_and_never_more(
    change: tuple[TokenBucket, TokenBucket, list[int], list[int]],
) -> None:
    before, after, pauses, _ = change
    policy, exact, now, key = ClientBuckets(before, ROOM_FOR_ALL), Exact(before), START, b"\7"
    for gap in pauses:
        now += gap
        exact.pass_time(now)
        if admitted(policy, now, key):
            exact.take(key)
    changed = change_table(Instant(now), policy, after, ROOM_FOR_ALL)
    exact.change(after)

    assert exact.left(key) - 2 < changed.available(Instant(now), key) <= exact.left(key)


@pytest.mark.promise("R21")
@given(changes())
def test_across_a_change_no_client_has_more_than_the_larger_burst_and_what_each_rate_gave_in_its_time(
    change: tuple[TokenBucket, TokenBucket, list[int], list[int]],
) -> None:
    before, after, pauses, later = change
    policy, now, key = ClientBuckets(before, ROOM_FOR_ALL), START, b"\7"
    granted = []
    for gap in pauses:
        now += gap
        granted += [now] if admitted(policy, now, key) else []
    changed_at = now
    policy = change_table(Instant(now), policy, after, ROOM_FOR_ALL)
    for gap in later:
        now += gap
        granted += [now] if admitted(policy, now, key) else []

    assert [] == over_the_law(granted, [(START, before), (changed_at, after)])
    assert [] == over_the_law(granted[len([at for at in granted if at <= changed_at]) :], [(changed_at, after)])


class CallersMachine(RuleBasedStateMachine):
    """Many clients, few places, and a limit that changes: none is better off than with `Exact`."""

    @initialize(parameters=PARAMETERS.drawn(), places=strategies.integers(1, 6))
    def begin(self, parameters: TokenBucket, places: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.policy = ClientBuckets(parameters, places * TABLES)
        self.exact = Exact(parameters)
        self.now = START

    @rule(key=KEYS.drawn())
    def ask(self, key: bytes) -> None:
        if admitted(self.policy, self.now, key):
            assert self.exact.left(key) >= 1, "a client was admitted whose bucket is empty"
            self.exact.take(key)
        elif self.exact.left(key) >= 1:
            assert self.policy._floors[key[-1]] > 0, "a client was denied without need, and below the bound"

    @rule(key=KEYS.drawn(), times=strategies.integers(2, 12))
    def flood(self, key: bytes, times: int) -> None:
        for _ in range(times):
            self.ask(key)

    @rule(data=strategies.data())
    def pass_time(self, data: strategies.DataObject) -> None:
        self.now += data.draw(gaps(self.policy.parameters).drawn())
        self.exact.pass_time(self.now)

    @rule(slice_of=strategies.integers(1, 3))
    def sweep(self, slice_of: int) -> None:
        self.patch.setattr(_slices, "MAX_SLICE", slice_of)
        self.policy.sweep(Instant(self.now))

    @rule(slice_of=strategies.integers(1, 12))
    def sweep_all(self, slice_of: int) -> None:
        sweep_all(self.policy, self.now, slice_of)

    @rule(parameters=PARAMETERS.drawn(), places=strategies.integers(1, 6))
    def change(self, parameters: TokenBucket, places: int) -> None:
        self.policy = change_table(Instant(self.now), self.policy, parameters, places * TABLES)
        self.exact.change(parameters)

    def teardown(self) -> None:
        self.patch.undo()

    @invariant()
    def no_bucket_is_fuller_than_it_should_be(self) -> None:
        for key, left in self.exact.tokens.items():
            assert self.policy.available(Instant(self.now), key) <= left

    @invariant()
    def no_table_is_larger_than_allowed(self) -> None:
        sizes = [len(table) for table in self.policy._tables]

        assert max(sizes) <= self.policy.max_clients // TABLES
        assert sum(sizes) == len(self.policy)


TestCallers = pytest.mark.promise("R21", "R24")(CallersMachine.TestCase)


class FloodMachine(RuleBasedStateMachine):
    """A filter that is soon full: what is forgiven when it is emptied, and to whom."""

    @initialize(parameters=PARAMETERS.drawn(), places=strategies.integers(1, 3))
    def begin(self, parameters: TokenBucket, places: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(_bloom, "MIN_CAPACITY", 3)
        self.patch.setattr(_bloom, "CAPACITY_PER_ENTRY", 1)
        self.policy = ClientBuckets(parameters, places * TABLES)
        self.exact = Exact(parameters)
        self.now = START
        #: Those that the filter has, by a set that makes no mistakes.
        self.dropped: set[bytes] = set()

    def teardown(self) -> None:
        self.patch.undo()

    def left(self, key: bytes) -> int:
        return self.policy.available(Instant(self.now), key)

    @rule(name=strategies.integers(0, 15), times=strategies.integers(1, 12))
    def ask(self, name: int, times: int) -> None:
        key = bytes((name, 0))
        for _ in range(times):
            before = set(self.policy._tables[0])
            filled = self.policy._dropped[0]
            if admitted(self.policy, self.now, key):
                assert self.exact.left(key) >= 1, "a client was admitted whose bucket is empty"
                self.exact.take(key)
            self.follow(before, filled)

    @rule(data=strategies.data())
    def pass_time(self, data: strategies.DataObject) -> None:
        self.now += data.draw(gaps(self.policy.parameters).drawn())
        self.exact.pass_time(self.now)

    @rule()
    def sweep(self) -> None:
        before = set(self.policy._tables[0])
        filled = self.policy._dropped[0]
        sweep_all(self.policy, self.now, 12)
        self.follow(before, filled)

    def follow(self, before: set[bytes], filled: BloomFilter | None) -> None:
        """Notes who was dropped, and what those are forgiven whom an emptied filter held."""
        burst = self.exact.parameters.burst
        if self.policy._dropped[0] is not filled and filled is not None:
            for key in self.dropped - before - set(self.policy._tables[0]):
                left = self.exact.left(key)

                assert left >= 1, "a blocked client was forgotten"
                self.exact.tokens[key] = max(left, Fraction(burst - (burst - 1) // 2))
                assert self.exact.left(key) - left <= burst // 2
            self.dropped.clear()
        self.dropped |= {key for key in before if key not in self.policy._tables[0] and self.exact.left(key) < burst}

    @invariant()
    def no_bucket_is_fuller_than_was_forgiven(self) -> None:
        for key, left in self.exact.tokens.items():
            assert self.left(key) <= left

    @invariant()
    def a_new_client_finds_more_than_half_of_its_burst(self) -> None:
        burst = self.policy.parameters.burst
        new = b"new\0"
        dropped = self.policy._dropped[0]

        assert self.left(new) > burst / 2 or (dropped is not None and new in dropped)


TestFlood = pytest.mark.promise("R21", "R24")(FloodMachine.TestCase)


def keys(random: Random, count: int, table: int | None = None) -> Iterable[bytes]:
    """Distinct, as digests are."""
    for _ in range(count):
        yield random.randbytes(15) + bytes((random.randrange(TABLES) if table is None else table,))


@pytest.mark.promise("R24")
def test_fifty_times_as_many_invented_clients_neither_pass_the_bound_nor_win_a_blocked_one_a_request() -> None:
    most = 4 * TABLES
    policy, now = ClientBuckets(TokenBucket(1, HOUR, 3), most), Instant(START)
    blocked = list(keys(Random(1), most // 8))
    for key in blocked * 3:
        policy.commit(now, key)
    largest = 0
    for number, key in enumerate(keys(Random(2), 50 * most)):
        if policy.earliest(now, key) <= now:
            policy.commit(now, key)
        if number % 500 == 0:
            largest = max(largest, len(policy))
    before_due = Instant(now + HOUR - 1)

    assert largest <= most
    assert 0 == sum(policy.available(before_due, key) for key in blocked)


def left_to_newcomers(policy: ClientBuckets, now: Instant, count: int = 2000) -> list[int]:
    """What so many new clients find, the worst first."""
    return sorted(policy.available(now, key) for key in keys(Random(99), count))


@pytest.mark.promise("R24")
@pytest.mark.parametrize(("burst", "finds"), [(1, 1), (3, 2), (99, 50)])
def test_no_flood_of_names_costs_a_new_client_half_of_its_burst(burst: int, finds: int) -> None:
    policy, now = ClientBuckets(TokenBucket(1, DAY, burst), 4 * TABLES), Instant(START)
    least = []
    for number, key in enumerate(keys(Random(1), 60 * 4 * TABLES)):
        if policy.earliest(now, key) <= now:
            policy.commit(now, key)
        if number % (15 * 4 * TABLES) == 0:
            found = left_to_newcomers(policy, now)
            least.append(found[len(found) // 50])  # One in fifty is taken for a dropped one at most.

    assert finds <= min(least)
    assert len(policy) <= 4 * TABLES


@pytest.mark.promise("R24")
def test_nor_does_one_of_names_that_each_spend_all_they_have_while_the_filter_has_room() -> None:
    policy, now = ClientBuckets(TokenBucket(1, DAY, 4), 4 * TABLES), Instant(START)
    names = list(keys(Random(1), 300 * TABLES))
    for key in names:
        while policy.earliest(now, key) <= now:
            policy.commit(now, key)
    found = left_to_newcomers(policy, now)

    assert 0 == sum(policy.available(now, key) for key in names)
    assert 3 <= found[len(found) // 50]


@pytest.mark.promise("R24")
def test_and_where_it_has_none_left_a_new_client_waits_for_one_token_at_most_and_no_client_is_forgiven() -> None:
    policy, now = ClientBuckets(TokenBucket(1, HOUR, 2), TABLES), Instant(START)
    blocked = set()
    for key in keys(Random(1), 6000, table=7):
        while policy.earliest(now, key) <= now:
            policy.commit(now, key)
            blocked.add(key)
    forgiven = sum(policy.available(now, key) for key in blocked)
    waits = [policy.earliest(now, key) - now for key in keys(Random(2), 1000, table=7)]
    later = Instant(now + HOUR)
    policy.commit(later, next(iter(keys(Random(3), 1, table=7))))

    assert len(blocked) > 1024
    assert 0 == forgiven
    assert 0 < max(waits) <= HOUR
    assert [2] * 990 == sorted(policy.available(later, key) for key in keys(Random(4), 1000, table=7))[10:]


@pytest.mark.promise("R24")
def test_a_client_that_could_choose_keys_would_fill_one_table_and_hurt_only_those_in_it() -> None:
    policy, now = ClientBuckets(TokenBucket(1, HOUR, 3), 20_000), Instant(START)
    blocked = bytes(15) + b"\7"
    for key in [blocked, *keys(Random(1), 20_000, table=7), blocked, blocked]:
        if policy.earliest(now, key) <= now:
            policy.commit(now, key)

    assert -(-20_000 // TABLES) >= len(policy)
    assert 0 == policy.available(now, blocked)
    assert [3] * 255 == [policy.available(now, bytes((place,))) for place in range(TABLES) if place != 7]


@pytest.mark.promise("R24")
@pytest.mark.parametrize("most", [1, 255, 256, 257, 1000])
def test_the_bound_is_rounded_up_to_as_many_as_fill_all_tables_evenly(most: int) -> None:
    policy = ClientBuckets(TokenBucket(1, HOUR, 1), most)
    sizes = []
    for key in keys(Random(1), 20 * TABLES):
        policy.commit(Instant(START), key)
        sizes.append(len(policy))

    assert max(sizes) <= -(-most // TABLES) * TABLES


@pytest.mark.promise("R24")
def test_at_the_bound_an_eighth_is_dropped_and_those_with_the_emptiest_buckets_stay() -> None:
    policy, now = ClientBuckets(TokenBucket(1, HOUR, 99), 16 * TABLES), Instant(START)
    callers = [bytes((number, 7)) for number in range(16)]
    for spent, key in enumerate(callers, 1):
        for _ in range(spent):
            policy.commit(now, key)
    policy.commit(now, b"new\7")

    assert 16 - 3 + 1 == len(policy)
    assert [96] * 3 + [99 - spent for spent in range(4, 17)] == [policy.available(now, key) for key in callers]
    assert [98, 96] == [policy.available(now, key) for key in (b"new\7", b"other\7")]


def test_a_client_with_a_full_bucket_again_is_not_taken_along_into_a_change() -> None:
    policy = ClientBuckets(TokenBucket(1, SECOND, 3), 20_000)
    policy.commit(Instant(START), b"\7")

    assert 0 == len(change_table(Instant(START + SECOND), policy, TokenBucket(1, HOUR, 3), 20_000))


def test_the_same_limits_change_nothing() -> None:
    policy = ClientBuckets(TokenBucket(1, HOUR, 3), 20_000)

    assert policy is change_table(Instant(START), policy, TokenBucket(1, HOUR, 3), 20_000)


@pytest.mark.promise("R24")
def test_a_smaller_bound_holds_at_once_and_forgives_no_client() -> None:
    policy, now = ClientBuckets(TokenBucket(1, HOUR, 3), 50 * TABLES), Instant(START)
    everybody = list(keys(Random(1), 5_000))
    for key in everybody * 3:
        policy.commit(now, key)
    smaller = change_table(now, policy, policy.parameters, TABLES)

    assert len(smaller) <= TABLES
    assert 0 == sum(smaller.available(now, key) for key in everybody)


@pytest.mark.promise("R24")
@pytest.mark.parametrize(
    "parameters",
    [
        TokenBucket(1, Duration(366 * DAY), 1),
        TokenBucket(10**12, Duration(1), 10**12),
        TokenBucket(1, Duration(366 * DAY), 10**12),
        TokenBucket(10**12, Duration(366 * DAY), 1),
    ],
)
def test_extreme_limits_are_kept_exactly(parameters: TokenBucket) -> None:
    policy, exact, now, key = ClientBuckets(parameters, 1), Exact(parameters), START, b"\7"
    for gap in [0, 0, 1, 31, 32, 366 * DAY, 0, 366 * DAY - 1, 1]:
        now += gap
        exact.pass_time(now)

        assert (exact.left(key) >= 1) == admitted(policy, now, key)
        if exact.left(key) >= 1:
            exact.take(key)
