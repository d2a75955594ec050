"""Laws of budgets, against a naive account of the same calls."""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

from governor._units import NEVER, Duration, Instant
from governor.policies import budget as module
from governor.policies.budget import Budget, BudgetLimit, BudgetPolicy, Budgets
from governor.policies.contract import Request
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R18")

PER = 2560
GRAIN = PER // module.SLOTS
LABELS = ("agent-1", "agent-2", "job")


@dataclass
class Call:
    """A granted call as a naive account keeps it: amounts by the instants at which they became known."""

    label: str
    at: int
    estimate: int
    dated: list[tuple[int, int]] = field(default_factory=list)

    def used(self, since: int) -> int:
        """What of it was used after this instant."""
        return sum(amount for at, amount in self.dated if at > since)


STEP = st.tuples(
    st.integers(0, PER // 2),  # time that passes
    st.sampled_from(LABELS),
    st.integers(0, 12),  # estimate
    st.none() | st.integers(0, 15),  # what a call on the way has used; None: the call was never made
    st.integers(0, 5),  # which one
)


@given(steps=st.lists(STEP, max_size=40), each=st.booleans())
@settings(max_examples=200)
def test_an_account_holds_at_most_its_amount_and_what_calls_on_the_way_have_used_beyond_their_estimates(
    steps: list[tuple[int, str, int, int | None, int]], each: bool
) -> None:
    budgets = Budgets({"b": Budget(("agent-*",), (BudgetLimit("tokens", 20, Duration(PER)),), each=each)})
    now, calls, open_calls = 0, list[Call](), list[Call]()
    for passed, label, estimate, used, index in steps:
        now += passed
        if open_calls and index < len(open_calls):
            call = open_calls.pop(index)
            request = Request(1, {"tokens": call.estimate})
            if used is None:
                budgets.refund(Instant(now), Instant(call.at), call.label, request)
                call.dated.clear()
            else:
                budgets.settle(Instant(now), Instant(call.at), call.label, request, {"tokens": used})
                call.dated = [(call.at, min(used, call.estimate)), (now, max(0, used - call.estimate))]
        request = Request(1, {"tokens": estimate})
        earliest = budgets.earliest(Instant(now), label, request)
        if label == "job":
            assert now == earliest
            continue
        mine = [call for call in calls if not each or call.label == label]

        def has_room(at: int, mine: list[Call] = mine, needed: int = max(1, estimate)) -> bool:
            return sum(call.used(at - PER) for call in mine) + needed <= 20

        if earliest <= now:
            assert has_room(now)
            budgets.commit(Instant(now), label, request)
            calls.append(Call(label, now, estimate, [(now, estimate)]))
            open_calls.append(calls[-1])
        else:
            # True: there is room then, and at most one slot before there was none.
            assert earliest < NEVER
            assert has_room(earliest)
            assert not has_room(earliest - 2 * GRAIN) or earliest - 2 * GRAIN < now
            assert earliest == deepcopy(budgets).earliest(earliest, label, request)


def test_a_request_above_the_budget_never_fits_and_all_budgets_of_a_label_must_have_room() -> None:
    budgets = Budgets(
        {
            "agents": Budget(("agent-*",), (BudgetLimit("tokens", 100, Duration(PER)), BudgetLimit("usd", 5, Duration(PER)))),
            "all": Budget(("*",), (BudgetLimit("requests", 2, Duration(10 * PER)),), each=False),
        }
    )
    request = Request(1, {"tokens": 60})

    assert NEVER == budgets.earliest(Instant(0), "agent-1", Request(1, {"tokens": 101}))
    budgets.commit(Instant(0), "agent-1", request)
    assert PER == budgets.earliest(Instant(0), "agent-1", request)
    assert 0 == budgets.earliest(Instant(0), "agent-2", request)
    budgets.commit(Instant(0), "job", request)
    assert 10 * PER == budgets.earliest(Instant(0), "agent-2", request)


def test_labels_beyond_the_bound_share_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LABELS", 2)
    budgets = Budgets({"b": Budget(("*",), (BudgetLimit("requests", 1, Duration(PER)),))})
    for number in range(3):
        assert 0 == budgets.earliest(Instant(0), f"l{number}", Request())
        budgets.commit(Instant(0), f"l{number}", Request())

    assert PER == budgets.earliest(Instant(0), "l3", Request())
    # Their uses have left: each label has an account again.
    later = Instant(10**9)
    for number in range(2):
        assert later == budgets.earliest(later, f"n{number}", Request())
        budgets.commit(later, f"n{number}", Request())


def test_a_use_counts_to_the_last_tick_of_its_window_and_is_refunded_as_far_as_it_is_still_in_it() -> None:
    budgets = Budgets({"b": Budget(("a",), (BudgetLimit("tokens", 10, Duration(PER)),))})
    request = Request(1, {"tokens": 10})
    budgets.commit(Instant(GRAIN), "a", request)
    assert GRAIN + PER == budgets.earliest(Instant(GRAIN + PER - 1), "a", request)
    later = Instant(GRAIN + PER)
    assert later == budgets.earliest(later, "a", request)
    budgets.refund(later, Instant(GRAIN), "a", request)
    budgets.commit(later, "a", request)
    assert later + PER == budgets.earliest(later, "a", request)


def test_a_call_from_before_a_budget_neither_spends_it_nor_gives_it_anything_back() -> None:
    limit, request = BudgetLimit("tokens", 10, Duration(PER)), Request(1, {"tokens": 4})
    budgets = Budgets({"old": Budget(("*",), (limit,))})
    budgets.commit(Instant(0), "a", request)
    budgets.reconfigure({"old": Budget(("*",), (limit,)), "new": Budget(("*",), (limit, BudgetLimit("usd", 9, limit.per)))}, 1)
    budgets.commit(Instant(1), "a", request)
    budgets.settle(Instant(2), Instant(0), "a", request, {"tokens": 9, "usd": 7})
    budgets.refund(Instant(2), Instant(0), "a", request)
    old, new = (policy.used(Instant(2)) for _, policy in budgets.policies())

    assert ({"a": (9,)}, {"a": (4, 0)}) == (old, new)
    # Nor does it open the account that labels share for want of their own, on whose account another label would wait.
    assert 2 == budgets.earliest(Instant(2), "b", Request(1, {"tokens": 10}))


def test_a_label_that_shares_an_account_does_not_begin_anew_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LABELS", 1)
    day = 86_400_000_000
    budgets = Budgets({"b": Budget(("*",), (BudgetLimit("requests", 1, Duration(day)),))})
    budgets.commit(Instant(0), "first", Request())
    budgets.commit(Instant(day // 2), "second", Request())

    assert day // 2 + day == budgets.earliest(Instant(day), "second", Request())


@pytest.mark.parametrize(("each", "account"), [(True, "a"), (False, "")])
def test_other_settings_keep_what_was_used_of_the_same_unit_and_a_budget_that_is_used_up_holds_its_amount(
    each: bool, account: str
) -> None:
    limits = (BudgetLimit("tokens", 100, Duration(PER)),)
    budgets = Budgets({"b": Budget(("a",), limits, each), "gone": Budget(("a",), limits, each)})
    budgets.commit(Instant(0), "a", Request(1, {"tokens": 60}))
    budgets.reconfigure(
        {"b": Budget(("a", "z"), (BudgetLimit("usd", 9, Duration(PER)), BudgetLimit("tokens", 70, Duration(PER))), each)}
    )
    kept = [policy.used(Instant(1)) for _, policy in budgets.policies()]
    full = list[dict[str, tuple[int, ...]]]()
    for at in (Instant(1), Instant(1), Instant(3 * PER)):  # Nothing is left, and at last all uses have left.
        budgets.use_up(at)
        full += [dict(policy.used(at)) for _, policy in budgets.policies()]

    assert [{account: (0, 60)}] == kept
    assert [{account: (9, 70)}] * 3 == full
    assert [{}] == [policy.used(Instant(9 * PER)) for _, policy in budgets.policies()]
    budgets.reconfigure({"b": Budget(("a",), limits, not each)})
    assert [{}] == [policy.used(Instant(3 * PER)) for _, policy in budgets.policies()]


@pytest.mark.parametrize(("each", "account"), [(True, "a"), (False, "")])
def test_what_a_dead_process_may_have_used_counts_for_every_account_and_in_the_next_life(each: bool, account: str) -> None:
    budget = Budget(("*",), (BudgetLimit("tokens", 100, Duration(PER)), BudgetLimit("usd", 9, Duration(PER))), each)
    policy, other = BudgetPolicy(budget), BudgetPolicy(budget)
    policy.abandoned(Instant(0), lambda limit: 7 if limit.unit == "tokens" else 1)
    restored = BudgetPolicy.restored(policy.state())
    other.carry_over(restored)

    for one in (policy, restored, other):
        one.commit(Instant(0), "a", Request(1, {"tokens": 60}))
        assert {account: (67, 1)} == one.used(Instant(0))


def test_what_becomes_known_before_a_later_use_leaves_the_window_with_that() -> None:
    budgets = Budgets({"b": Budget(("*",), (BudgetLimit("tokens", 10, Duration(PER)),))})
    budgets.commit(Instant(0), "agent", Request(1, {"tokens": 4}))
    budgets.use_up(Instant(100 * GRAIN))
    budgets.settle(Instant(10), Instant(0), "agent", Request(1, {"tokens": 4}), {"tokens": 9})
    full_until = PER + 100 * GRAIN

    assert full_until == budgets.earliest(Instant(PER + 50 * GRAIN), "agent", Request(1, {"tokens": 6}))
    assert full_until == budgets.earliest(Instant(0), "other", Request(1, {"tokens": 1}))
