"""Does the waiting line keep the order, the count and the deadlines?"""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from governor._actors.line import Line, Waiter
from governor.messages import Acquire
from governor.policies.contract import Request


def waiter(cost: int = 1, units: dict[str, int] | None = None, deadline: float = math.inf) -> Waiter:
    made = Waiter(Acquire(Request(cost, units)), lambda: None)
    made.deadline = deadline
    return made


def test_nobody_waits_at_first() -> None:
    line = Line()

    assert (0, None, None, math.inf) == (len(line), line.head(), line.ahead(), line.next_deadline())


def test_whoever_came_first_is_first() -> None:
    line, first, second = Line(), waiter(), waiter()
    line.join(first)
    line.join(second)

    assert first is line.head()
    assert [first, second] == list(line.take_all())


def test_whoever_leaves_from_the_middle_leaves_the_others_in_order() -> None:
    line, waiters = Line(), [waiter() for _ in range(5)]
    for one in waiters:
        line.join(one)
    left = [line.leave(waiters[1]), line.leave(waiters[3]), line.leave(waiters[3])]

    assert [True, True, False] == left
    assert [waiters[0], waiters[2], waiters[4]] == list(line.take_all())


def test_what_is_ahead_is_the_sum_of_what_all_ask_for() -> None:
    line, some = Line(), waiter(2, {"tokens": 30})
    line.join(some)
    line.join(waiter(1))
    line.join(waiter(1, {"tokens": 5, "pages": 1}))
    before = line.ahead()
    line.leave(some)

    assert before is not None
    assert (4, 35, 1) == (before.cost, before.amount("tokens"), before.amount("pages"))
    after = line.ahead()
    assert after is not None
    assert (2, 5, 1) == (after.cost, after.amount("tokens"), after.amount("pages"))


def test_a_deadline_that_has_come_is_over() -> None:
    line, early, exact, late = Line(), waiter(deadline=1.0), waiter(deadline=2.0), waiter(deadline=2.5)
    for one in (late, exact, early):
        line.join(one)

    assert [early, exact] == list(line.take_overdue(2.0))
    assert (1, 2.5) == (len(line), line.next_deadline())


def test_who_has_left_has_no_deadline_any_more() -> None:
    line, gone, waiting = Line(), waiter(deadline=1.0), waiter(deadline=2.0)
    line.join(gone)
    line.join(waiting)
    line.leave(gone)

    assert 2.0 == line.next_deadline()
    assert [waiting] == list(line.take_overdue(5.0))


def test_deadlines_of_those_who_have_left_do_not_pile_up() -> None:
    line = Line()
    line.join(waiter(deadline=1e9))
    for deadline in range(10_000):
        short = waiter(deadline=1e6 + deadline)
        line.join(short)
        line.leave(short)

    assert len(line._deadlines) < 100


class LineMachine(RuleBasedStateMachine):
    """The line against a plain list of (waiter, deadline)."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.model: list[Waiter] = []

    @rule(
        cost=st.integers(1, 5),
        tokens=st.none() | st.integers(0, 9),
        deadline=st.sampled_from([math.inf, *(float(d) for d in range(20))]),
    )
    def join(self, cost: int, tokens: int | None, deadline: float) -> None:
        one = waiter(cost, None if tokens is None else {"tokens": tokens}, deadline)
        self.line.join(one)
        self.model.append(one)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.model:
            one = data.draw(st.sampled_from(self.model))
            self.model.remove(one)
            assert self.line.leave(one)
            assert not self.line.leave(one)

    @rule(until=st.floats(0, 20))
    def take_overdue(self, until: float) -> None:
        taken = list(self.line.take_overdue(until))

        assert {one for one in self.model if one.deadline <= until} == set(taken)
        assert sorted(one.deadline for one in taken) == [one.deadline for one in taken]
        self.model = [one for one in self.model if one.deadline > until]

    @invariant()
    def the_line_is_the_list(self) -> None:
        assert self.model == list(self.line._waiters)
        assert (self.model[0] if self.model else None) is self.line.head()
        assert min((one.deadline for one in self.model), default=math.inf) == self.line.next_deadline()

    @invariant()
    def ahead_is_the_sum(self) -> None:
        ahead = self.line.ahead()
        assert sum(one.acquire.request.cost for one in self.model) == (0 if ahead is None else ahead.cost)
        assert sum(one.acquire.request.amount("tokens") for one in self.model) == (
            0 if ahead is None else ahead.amount("tokens")
        )


TestLine = LineMachine.TestCase
