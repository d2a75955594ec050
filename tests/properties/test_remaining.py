"""Laws of remaining units: never more than a server has said is left, counted from the request whose answer says so."""

from heapq import heappop, heappush
from typing import Final

import msgspec
import pytest

from governor._units import SECOND, Duration, Instant
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.learning import _grant_log, remaining
from governor.policies.learning.remaining import RemainingPolicy, RemainingState
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R11")

#: A grant of so many units after a gap; the answer to a grant, with what remains and for how long; a grant that is given back.
Granted = tuple[int, int]
Answered = tuple[int, int, int]
Step = Granted | Answered | int

ANSWERS: Final = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 30))
REFUNDS: Final = st.integers(0, 8)


def steps(gaps: st.SearchStrategy[int]) -> st.SearchStrategy[list[Step]]:
    """Most runs are long, because faults show in long ones only."""
    step = st.one_of(st.tuples(gaps, st.integers(1, 3)), ANSWERS, ANSWERS, REFUNDS)
    return st.lists(step, min_size=4, max_size=40)


class Oracle:
    """All grants and all answers, each looked at for every decision."""

    def __init__(self) -> None:
        self.grants: list[Grant] = []
        self.back: set[int] = set()
        self.said: list[tuple[Instant, int, Instant]] = []

    def room(self, now: Instant) -> int:
        """Units that all answers leave at `now`. Units of the same instant as a request are taken to be sent with it."""
        rooms = [left - self._since(grant) for grant, left, until in self.said if until > now]
        return min(rooms, default=1_000)

    def _since(self, instant: Instant) -> int:
        return sum(
            grant.request.cost
            for index, grant in enumerate(self.grants)
            if grant.granted_at > instant and index not in self.back
        )


def play(policy: RemainingPolicy, oracle: Oracle, script: list[Step]) -> list[tuple[int, int]]:
    """Plays a script on both; the rooms before each step, as the oracle and as the policy see them."""
    now, seen = Instant(100), []
    answered: set[int] = set()
    for step in script:
        if isinstance(step, int):
            index = len(oracle.grants) - 1 - step
            if index >= 0 and index not in oracle.back and index not in answered:
                oracle.back.add(index)
                policy.refund(now, oracle.grants[index], None)
        elif len(step) == 2:
            now = Instant(now + step[0])
            request = PLAIN if step[1] == 1 else Request(step[1])
            if policy.earliest(now, request) <= now:
                policy.commit(now, request)
                oracle.grants.append(Grant(now, 0, request))
        else:
            back, left, span = step
            index = len(oracle.grants) - 1 - back
            if index >= 0 and index not in oracle.back and index not in answered:
                answered.add(index)
                policy.learn(now, oracle.grants[index], left, Instant(now + span))
                oracle.said.append((oracle.grants[index].granted_at, left, Instant(now + span)))
        seen.append((max(0, oracle.room(now)), min(1_000, policy.available(now))))
    return seen


@given(steps(st.integers(1, 10)))
def test_exactly_as_much_is_granted_as_all_answers_together_leave(script: list[Step]) -> None:
    rooms = play(RemainingPolicy(), Oracle(), script)

    # A request that was given back may have been sent with another one's answer: that can only tighten.
    exact = not any(isinstance(step, int) for step in script)
    assert all(ours == theirs if exact else ours <= theirs for theirs, ours in rooms)


@given(steps(st.sampled_from([0, 0, 1, 7])))
def test_with_calls_of_one_instant_and_bounds_and_entries_that_merge_never_more_is_granted(script: list[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remaining, "MAX_BOUNDS", 2)
        patch.setattr(_grant_log, "MAX_ENTRIES", 6)
        rooms = play(RemainingPolicy(), Oracle(), script)

    assert all(ours <= theirs for theirs, ours in rooms)


#: Of each permit the tenths of a second until its call arrives, and until its answer is read; how many permits are taken at
#: most in each tenth of a second, and whether they are granted ahead.
TRIPS: Final = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12)
DEMAND: Final = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=8)
TENTH: Final = SECOND // 10


@given(TRIPS, DEMAND, st.integers(3, 6), st.integers(20, 40), st.integers(0, 19))
def test_of_each_window_of_a_server_no_more_is_granted_than_it_says_although_answers_of_several_windows_mix(
    trips: list[tuple[int, int]], demand: list[tuple[int, bool]], amount: int, per: int, late: int
) -> None:
    """Of a window as the server states it, until its reset.

    The next one may have begun by then. Once an answer of that has said what is left, the server denies nothing.
    """
    policy, counted, taken = RemainingPolicy(), dict[int, int](), dict[int, int]()
    denied, renewed = set[int](), set[int]()
    arrivals, answers = list[tuple[int, int]](), list[tuple[int, int, int, int]]()
    for tenth in range(1, 300):
        now, window = Instant(tenth * TENTH), (tenth - late) // per
        while arrivals and arrivals[0][0] <= tenth:
            at, number = heappop(arrivals)
            counted[at // per] = counted.get(at // per, 0) + 1
            left = max(0, amount - counted[at // per])
            if counted[at // per] > amount:
                denied.add((number // 1000 - late) // per)
            heappush(answers, (at + trips[number % len(trips)][1], number // 1000, left, (at // per + 1) * per + late))
        while answers and answers[0][0] <= tenth:
            _, granted, left, until = heappop(answers)
            if (until - late) // per > window + 1:
                renewed.add(window)
            grant = Grant(Instant(granted * TENTH), 0)
            policy.learn(now, grant, left, Instant(until * TENTH), limit=amount, window=per * TENTH)
        wanted, ahead = demand[tenth % len(demand)]
        # Before the first answer the gentle rate holds calls back.
        room = policy.available(now) if policy.rests_at() else int(tenth == 1)
        for number in range(min(room, wanted)):
            if ahead:
                policy.lease(now, 1)
                policy.collect(now, 1)
            else:
                policy.commit(now, PLAIN)
            taken[window] = taken.get(window, 0) + 1
            heappush(arrivals, (tenth + trips[number % len(trips)][0], 1000 * tenth + number))

    assert all(count <= amount for window, count in taken.items() if window in denied or window not in renewed)


@given(steps(st.integers(0, 10)), st.integers(1, 12))
def test_the_instant_that_is_named_is_the_first_at_which_it_is_granted(script: list[Step], cost: int) -> None:
    policy = RemainingPolicy()
    play(policy, Oracle(), script)
    now, request = Instant(100 + 10 * len(script)), Request(cost)
    when = policy.earliest(now, request)

    assert when == now or policy.earliest(Instant(when - 1), request) >= when
    assert policy.earliest(when, request) == when
    assert policy.forecast(now).earliest(now, request) == when
    assert now + policy.max_hold(now, request, request) == when
    assert (policy.ready <= now) == (policy.earliest(now, PLAIN) <= now)


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=12),
    st.integers(0, 30),
)
def test_permits_granted_ahead_count_until_they_come_back_and_cost_nothing_then(
    leases: list[tuple[int, int]], left: int
) -> None:
    policy = RemainingPolicy()
    policy.commit(Instant(1), PLAIN)
    policy.learn(Instant(2), Grant(Instant(1), 0), left, Instant(10**9))
    used = 0
    for at, (wanted, taken) in enumerate(leases, 10):
        leased = min(wanted, policy.leasable(Instant(at)))
        policy.lease(Instant(at), leased)
        assert policy.available(Instant(at)) == left - used - leased
        taken = min(taken, leased)
        used += taken
        policy.collect(Instant(at), taken)
        policy.reclaim(Instant(at), leased - taken)
        # The server counts every use, and the answers to the uses of a lease come one after another.
        for number in range(taken):
            policy.learn(Instant(at), Grant(Instant(at), 0), left - used + taken - number - 1, Instant(10**9))

    assert policy.available(Instant(10**6)) == left - used >= 0


@given(steps(st.integers(0, 10)))
def test_it_goes_on_from_its_state(script: list[Step]) -> None:
    policy, later = RemainingPolicy(), RemainingPolicy()
    play(policy, Oracle(), script)
    later.restore(msgspec.json.decode(msgspec.json.encode(policy.state()), type=RemainingState))

    assert policy.state() == later.state()
    now = Instant(100 + 10 * len(script))
    assert policy.earliest(now, PLAIN) == later.earliest(now, PLAIN)


def test_units_granted_before_the_first_answer_that_says_what_remains_count_as_well() -> None:
    policy = RemainingPolicy(history=[(Instant(1), 1), (Instant(5), 3), (Instant(9), 2)])
    policy.learn(Instant(10), Grant(Instant(5), 0), 4, Instant(100))

    assert policy.available(Instant(10)) == 0
    assert policy.earliest(Instant(10), PLAIN) == 100
    assert policy.earliest(Instant(100), PLAIN) == 100


def test_only_its_own_unit_is_counted() -> None:
    policy = RemainingPolicy("tokens")
    large = Request(1, {"tokens": 50})
    policy.commit(Instant(1), large)
    policy.learn(Instant(2), Grant(Instant(1), 0, large), 60, Instant(100))

    assert policy.earliest(Instant(3), PLAIN) == 3
    policy.commit(Instant(3), large)
    assert policy.earliest(Instant(4), large) == 100
    policy.settle(Instant(4), Grant(Instant(3), 0, large), None, -45)
    assert policy.earliest(Instant(4), large) == 4


#: A call: how long after the one before, how long its request takes, and how long its answer takes.
Call = tuple[int, int, int]
CALLS: Final = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 9]), st.integers(1, 20), st.integers(1, 20)), min_size=4, max_size=40
)


@given(CALLS, st.integers(1, 30), st.integers(0, 5))
def test_once_all_answers_are_read_all_that_the_server_has_left_is_granted_however_requests_overtook_each_other(
    calls: list[Call], amount: int, others: int
) -> None:
    # The first call is alone: its answer says what the limit is. A move is an instant, an order, what, a grant, two numbers.
    policy, first, reset = RemainingPolicy(), Grant(Instant(0), 0), Instant(10**6)
    used = min(others + 1, amount)
    policy.commit(Instant(0), PLAIN)
    policy.learn(Instant(1), first, amount - used, reset, limit=amount)
    moves: list[tuple[int, int, str, Grant, tuple[int, int]]] = []
    now = 2
    for order, (gap, there, back) in enumerate(calls):
        now += gap
        heappush(moves, (now, order, "ask", Grant(Instant(now), 0), (there, back)))
    while moves:
        now, order, what, grant, (there, back) = heappop(moves)
        if what == "ask" and policy.earliest(Instant(now), PLAIN) <= now:
            policy.commit(Instant(now), PLAIN)
            heappush(moves, (now + there, order, "arrive", grant, (0, back)))
        elif what == "arrive":
            used += 1
            assert used <= amount
            heappush(moves, (now + back, order, "read", grant, (amount - used, 0)))
        elif what == "read":
            policy.learn(Instant(now), grant, there, reset, limit=amount)

    assert policy.available(Instant(now)) == amount - used
    assert policy.earliest(reset, PLAIN) == reset


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 20))
def test_what_a_strict_window_implies_sets_no_bound_and_what_others_have_used_does(
    gaps: list[int], others: int, rounding: int
) -> None:
    policy, amount, per = RemainingPolicy(), 60, Duration(60 * SECOND)
    now, news, left = Instant(100 * SECOND), True, amount
    begin = Instant(now - 10 * SECOND)
    reset = Instant(begin + per + rounding * SECOND // 20)
    for used, gap in enumerate(gaps, 1):
        now = Instant(now + gap * SECOND // 100)
        policy.commit(now, PLAIN)
        left = max(0, amount - used - others)
        news = policy.learn(Instant(now + SECOND // 2), Grant(now, 0), left, reset, limit=amount, implied_by=per)

    assert news == (others > 0)
    assert policy.available(now) >= 10**6 if not others else policy.available(now) == left
    # A window that is so short that the server's reset is beyond it implies nothing.
    short = Duration(SECOND)
    assert policy.learn(now, Grant(now, 0), 59 - len(gaps), reset, limit=amount, implied_by=short)


def test_the_spread_of_a_reset_is_drawn_once() -> None:
    policy, reset = RemainingPolicy(), Instant(60 * SECOND)
    for number, spread in enumerate((1, 3, 2)):
        policy.commit(Instant(number), PLAIN)
        said = Instant(reset + number * SECOND // 4)
        policy.learn(Instant(number), Grant(Instant(number), 0), 5 - number, said, limit=6, spread=spread * SECOND)

    # The resets differ by less than the seconds in which they are said. A later one has a spread of its own.
    assert reset + SECOND // 2 + SECOND == policy.rests_at()
    policy.learn(Instant(3), Grant(Instant(2), 0), 0, Instant(70 * SECOND), limit=6, spread=2 * SECOND)
    assert 72 * SECOND == policy.rests_at()


def test_the_window_after_a_reset_is_as_long_as_resets_were_away_but_for_their_rounding() -> None:
    policy, reset = RemainingPolicy(), Instant(3 * SECOND)
    policy.commit(Instant(0), PLAIN)
    policy.learn(Instant(0), Grant(Instant(0), 0), 0, reset, limit=3)
    for _ in range(3):
        policy.commit(reset, PLAIN)

    assert reset + 2 * SECOND == policy.earliest(reset, PLAIN)


def test_tokens_are_counted_in_the_order_of_grants_because_a_bucket_refills_between_answers() -> None:
    policy, large = RemainingPolicy("tokens"), Request(1, {"tokens": 50})
    for at in (1, 2):
        policy.commit(Instant(at), large)
    policy.learn(Instant(3), Grant(Instant(2), 0, large), 150, Instant(100), limit=200)
    policy.learn(Instant(4), Grant(Instant(1), 0, large), 100, Instant(100), limit=200)

    assert 50 == policy.available(Instant(5))


def test_units_that_overtook_and_were_not_all_used_do_not_loosen_a_bound() -> None:
    policy, large = RemainingPolicy(), Request(50)
    for at in (1, 2):
        policy.commit(Instant(at), large)
    first, second = (Grant(Instant(at), 0, large) for at in (1, 2))
    policy.learn(Instant(3), second, 150, Instant(100), limit=200)
    policy.learn(Instant(4), first, 100, Instant(100), limit=200)
    before = policy.available(Instant(5))
    policy.settle(Instant(5), second, None, -30)

    assert (100, 100) == (before, policy.available(Instant(5)))


def test_an_answer_about_another_limit_does_not_show_that_its_request_was_counted_first() -> None:
    policy = RemainingPolicy()
    for at in (1, 2):
        policy.commit(Instant(at), PLAIN)
    policy.learn(Instant(3), Grant(Instant(2), 0), 50, Instant(100), limit=60, name="other")
    policy.learn(Instant(4), Grant(Instant(1), 0), 5, Instant(100), limit=60, name="this")
    before = policy.available(Instant(5))
    policy.learn(Instant(5), Grant(Instant(2), 0), 50, Instant(100), limit=60, name="this")

    assert (4, 5) == (before, policy.available(Instant(5)))
