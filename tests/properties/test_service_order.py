"""Laws of the order in which waiting calls are served: priorities, fair shares, no starvation, and the place that is told."""

from collections import Counter
from copy import deepcopy
from itertools import permutations
from operator import itemgetter
from typing import Final

import pytest

from governor.policies.service_order import MAX_FINISHED, MAX_PASSED, PRIORITIES, Kind, Priority, ServiceOrder
from tests.support import tape as st
from tests.support.tape import given

KINDS: Final = st.tuples(st.sampled_from(PRIORITIES), st.sampled_from([None, "a", "b", "c"]))
MAX_COST: Final = 5
COSTS: Final = st.just([1]) | st.just([0, 1, 1, 1, 2, MAX_COST])
JOINS: Final = COSTS.flatmap(lambda costs: st.lists(st.tuples(KINDS, st.sampled_from(costs)), min_size=20, max_size=100))
#: What becomes of each call that comes: it joins, or is served if none goes before it; then one leaves, or some are served.
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(["join", "join", "newcomer", "leave", "serve"]), st.integers(0, 12)), min_size=5, max_size=20
)

Call = tuple[int, Kind, int]


def drained(order: ServiceOrder[Call]) -> list[Call]:
    """All calls in the order in which they are served."""
    served = list[Call]()
    while (call := order.first()) is not None:
        order.serve(call, call[1])
        served.append(call)
    return served


class Witness:
    """What is seen from outside: the calls that wait, and who has been served since when."""

    def __init__(self) -> None:
        self.waiting: list[Call] = []
        #: Interactive calls in a row while batch calls waited.
        self.passed = 0
        #: By how much the first kind of a pair has been served more than the second since both have been waiting.
        self.ahead: dict[tuple[Kind, Kind], int] = {}

    def waits(self, priority: Priority) -> bool:
        return any(kind[0] == priority for _, kind, _ in self.waiting)

    def served(self, kind: Kind, cost: int) -> None:
        if kind[0] == "batch":
            assert self.passed == MAX_PASSED or not self.waits("interactive"), "interactive calls go first"
        self.passed = self.passed + 1 if kind[0] == "interactive" and self.waits("batch") else 0
        assert self.passed <= MAX_PASSED, "batch calls are not starved"
        for one, other in self.ahead:
            if kind in (one, other):
                self.ahead[one, other] += max(1, cost) if kind == one else -max(1, cost)
                # Each of the two may be ahead by its most expensive call.
                assert abs(self.ahead[one, other]) <= 2 * MAX_COST, "labels share equally"

    def look(self) -> None:
        """The calls that wait have changed."""
        if not self.waits("batch"):
            self.passed = 0
        kinds = {kind for _, kind, _ in self.waiting}
        self.ahead = {pair: more for pair, more in self.ahead.items() if kinds.issuperset(pair)}
        for one, other in permutations(kinds, 2):
            if one[0] == other[0]:
                self.ahead.setdefault((one, other), 0)


def serve(order: ServiceOrder[Call], witness: Witness) -> None:
    call = order.first() or pytest.fail("a call waits, and none is next")
    assert call == min((one for one in witness.waiting if one[1] == call[1]), key=itemgetter(0)), "first come, first served"
    witness.served(call[1], call[2])
    order.serve(call, call[1])
    witness.waiting.remove(call)


@pytest.mark.promise("R04")
@given(JOINS, STEPS)
def test_interactive_goes_first_labels_share_equally_and_nothing_starves(
    joins: list[tuple[Kind, int]], steps: list[tuple[str, int]]
) -> None:
    order, witness = ServiceOrder[Call](), Witness()
    for number, (kind, cost) in enumerate(joins):
        what, place = steps[number % len(steps)]
        call = (number, kind, cost)
        before = order.before(kind)
        if what == "newcomer" and not before:
            witness.served(kind, cost)
            order.serve_newcomer(kind, cost)
        else:
            copy = deepcopy(order)
            copy.join(call, kind, cost)
            assert [*before, call] == drained(copy)[: len(before) + 1], "no place is told wrongly"
            assert len(before) == order.number_before(kind) or any(cost > 1 for _, _, cost in witness.waiting)
            order.join(call, kind, cost)
            witness.waiting.append(call)
        witness.look()
        if what == "leave" and place < len(witness.waiting):
            gone = witness.waiting.pop(place)
            order.leave(gone, gone[1])
        for _ in range(min(place, len(witness.waiting)) if what == "serve" else 0):
            serve(order, witness)
            witness.look()
        witness.look()
    while witness.waiting:
        serve(order, witness)
        witness.look()
    assert order.first() is None


def test_without_priorities_and_labels_the_first_to_come_is_served_first() -> None:
    order = ServiceOrder[Call]()
    calls: list[Call] = [(number, ("interactive", None), 1 + number % 3) for number in range(100)]
    for call in calls:
        order.join(call, call[1], call[2])

    assert calls == drained(order)


def test_a_caller_with_many_calls_takes_turns_with_one_that_has_few() -> None:
    order = ServiceOrder[Call]()
    many: list[Call] = [(number, ("interactive", "many"), 1) for number in range(100)]
    few: list[Call] = [(number, ("interactive", "few"), 1) for number in range(100, 103)]
    for call in (*many, *few):
        order.join(call, call[1])

    assert [many[0], few[0], many[1], few[1], many[2], few[2], *many[3:]] == drained(order)


def test_a_caller_that_comes_late_or_again_has_nothing_saved_up() -> None:
    order = ServiceOrder[Call]()
    many: list[Call] = [(number, ("interactive", "many"), 1) for number in range(100)]
    for call in many:
        order.join(call, call[1])
    for call in many[:50]:
        order.serve(call, call[1])
    late: list[Call] = [(number, ("interactive", "late"), 1) for number in range(100, 103)]
    order.join(late[0], late[0][1])
    order.join(late[1], late[1][1])
    for call in (late[0], many[50], late[1]):
        assert call == order.first()
        order.serve(call, call[1])

    # It has had its turn: it is behind the next call of the other one.
    order.join(late[2], late[2][1])
    assert [many[51], late[2], many[52]] == drained(order)[:3]


def test_of_ten_calls_one_is_a_batch_call_as_long_as_both_wait() -> None:
    order = ServiceOrder[Call]()
    for number in range(60):
        kind: Kind = ("batch" if number < 20 else "interactive", None)
        order.join((number, kind, 1), kind)
    served = [kind[0] for _, kind, _ in drained(order)]

    assert Counter(interactive=36, batch=4) == Counter(served[:40])
    assert [9, 19, 29, 39] == [place for place, kind in enumerate(served[:40]) if kind == "batch"]


def test_labels_that_come_once_are_forgotten() -> None:
    order = ServiceOrder[Call]()
    always: Kind = ("interactive", "always")
    for number in range(3 * MAX_FINISHED):
        order.join((number, always, 1), always)
        kind: Kind = ("interactive", f"agent-{number}")
        order.join((number, kind, 1000), kind, 1000)
        order.leave((number, kind, 1000), kind)
        order.serve_newcomer(kind, 1000)

    assert len(order._interactive._finished) <= MAX_FINISHED + 1
    assert len(order._interactive._first) <= 70
