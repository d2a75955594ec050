"""The wait queue keeps the order, the count and the deadlines."""

import math
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from governor._actors.queue import Ahead, Waiter, WaitQueue
from governor.messages import Acquire
from governor.policies.contract import PLAIN, Request


def waiter(cost: int = 1, units: dict[str, int] | None = None, deadline: float = math.inf) -> Waiter:
    made = Waiter(Acquire(Request(cost, units) if units or cost > 1 else PLAIN), lambda: None)
    made.deadline = deadline
    return made


def test_it_is_empty_at_first() -> None:
    queue = WaitQueue()

    assert (0, None, None, math.inf) == (len(queue), queue.head(), queue.ahead(), queue.next_deadline())


def test_the_first_to_join_is_first() -> None:
    queue, first, second = WaitQueue(), waiter(), waiter()
    queue.join(first)
    queue.join(second)

    assert first is queue.head()
    assert [first, second] == list(queue.take_all())


def test_one_that_leaves_from_the_middle_leaves_the_others_in_order() -> None:
    queue, waiters = WaitQueue(), [waiter() for _ in range(5)]
    for one in waiters:
        queue.join(one)
    left = [queue.leave(waiters[1]), queue.leave(waiters[3]), queue.leave(waiters[3])]

    assert [True, True, False] == left
    assert [waiters[0], waiters[2], waiters[4]] == list(queue.take_all())


def test_what_is_ahead_is_the_sum_of_what_all_ask_for() -> None:
    queue, some = WaitQueue(), waiter(2, {"tokens": 30})
    queue.join(some)
    queue.join(waiter(1))
    queue.join(waiter(1, {"tokens": 5, "pages": 1}))
    before = queue.ahead()
    queue.leave(some)

    assert before is not None
    assert (4, 35, 1) == (before.cost, before.amount("tokens"), before.amount("pages"))
    after = queue.ahead()
    assert after is not None
    assert (2, 5, 1) == (after.cost, after.amount("tokens"), after.amount("pages"))


def test_a_deadline_that_has_come_is_over() -> None:
    queue, early, exact, late = WaitQueue(), waiter(deadline=1.0), waiter(deadline=2.0), waiter(deadline=2.5)
    for one in (late, exact, early):
        queue.join(one)

    assert [early, exact] == list(queue.take_overdue(2.0))
    assert (1, 2.5) == (len(queue), queue.next_deadline())
    queue.join(waiter())  # It has none.
    assert [late] == list(queue.take_overdue(math.inf))


def test_who_has_left_has_no_deadline_any_more() -> None:
    queue, gone, waiting = WaitQueue(), waiter(deadline=1.0), waiter(deadline=2.0)
    queue.join(gone)
    queue.join(waiting)
    queue.leave(gone)

    assert 2.0 == queue.next_deadline()
    assert [waiting] == list(queue.take_overdue(5.0))


def test_deadlines_of_those_who_have_left_do_not_pile_up() -> None:
    queue = WaitQueue()
    queue.join(waiter(deadline=1e9))
    for deadline in range(10_000):
        short = waiter(deadline=1e6 + deadline)
        queue.join(short)
        queue.leave(short)

    assert len(queue._deadlines) < 100


class QueueMachine(RuleBasedStateMachine):
    """The queue against a plain list of (waiter, deadline)."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = WaitQueue()
        self.model: list[Waiter] = []

    @rule(
        cost=st.integers(1, 5),
        tokens=st.none() | st.integers(0, 9),
        deadline=st.sampled_from([math.inf, *(float(d) for d in range(20))]),
    )
    def join(self, cost: int, tokens: int | None, deadline: float) -> None:
        one = waiter(cost, None if tokens is None else {"tokens": tokens}, deadline)
        self.queue.join(one)
        self.model.append(one)

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        if self.model:
            one = data.draw(st.sampled_from(self.model))
            self.model.remove(one)
            assert self.queue.leave(one)
            assert not self.queue.leave(one)

    @rule(until=st.floats(0, 20))
    def take_overdue(self, until: float) -> None:
        taken = list(self.queue.take_overdue(until))

        assert {one for one in self.model if one.deadline <= until} == set(taken)
        assert sorted(one.deadline for one in taken) == [one.deadline for one in taken]
        self.model = [one for one in self.model if one.deadline > until]

    @invariant()
    def the_queue_is_the_list(self) -> None:
        assert self.model == list(self.queue._waiters)
        assert (self.model[0] if self.model else None) is self.queue.head()
        assert min((one.deadline for one in self.model), default=math.inf) == self.queue.next_deadline()

    @invariant()
    def nothing_is_left_of_those_who_have_gone(self) -> None:
        assert dict(Counter((one.acquire.priority, one.acquire.caller) for one in self.model)) == self.queue._kinds
        assert all(one.acquire.request is PLAIN for one in self.model) == self.queue.plain
        assert self.model or self.queue.largest() == PLAIN

    @invariant()
    def what_is_ahead_is_the_sum_and_no_request_is_larger_than_the_largest(self) -> None:
        costs = [one.acquire.request.cost for one in self.model]
        tokens = [one.acquire.request.amount("tokens") for one in self.model]
        for queue in (self.queue, Ahead(self.model)):
            ahead, largest = queue.ahead(), queue.largest()
            assert (sum(costs), sum(tokens)) == ((0, 0) if ahead is None else (ahead.cost, ahead.amount("tokens")))
            assert max(costs, default=1) <= largest.cost
            assert max(tokens, default=0) <= largest.amount("tokens")


TestQueue = QueueMachine.TestCase
