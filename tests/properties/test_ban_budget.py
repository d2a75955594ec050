"""Ban budgets and runs of rejections, against oracles that remember every call."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, settings

from governor._units import DAY, SECOND, Duration, Instant
from governor.policies._sliding_log import SLOTS
from governor.policies.ban_budget import MIN_UNCOUNTED, BanBudget, BanBudgetPolicy
from governor.policies.contract import PLAIN
from governor.policies.rejection_run import PROBE_DEADLINE, RejectionRunPolicy
from tests.support import tape as st
from tests.support.tape import given

pytestmark = pytest.mark.promise("R12")

START = 10 * DAY


@dataclass
class Provider:
    """A provider that bans: every rejection with its date, and the calls that it has not answered yet."""

    per: int
    rejected: list[int] = field(default_factory=list)
    under_way: list[int] = field(default_factory=list)
    #: The most that had been granted when calls under way began to be counted.
    carried: int = 0

    def answer(self, policy: BanBudgetPolicy, at: int, place: int, *, bad: bool) -> None:
        """Answers one of the calls under way, with a rejection if it is bad."""
        now, granted_at = Instant(at), Instant(self.under_way.pop(place))
        if bad:
            self.rejected.append(now)
            counts = not policy.counting and 2 * self.rejections(now) >= policy.parameters.threshold
            assert counts == policy.reject(now)
            if counts:
                policy.count(now, len(self.under_way) + 1)
                self.carried = max(self.carried, len(self.under_way) + self.rejections(now))
        waited, counted = policy.earliest(now, PLAIN) > now, policy.counting
        made_room = policy.answer(now, granted_at)
        # Of a large budget, calls under way are not counted while few are rejected.
        few = policy.parameters.threshold >= MIN_UNCOUNTED and 4 * self.rejections(now) < policy.parameters.threshold
        assert policy.counting == (counted and not few)
        assert made_room == (counted and (few or (waited and policy.earliest(now, PLAIN) <= now)))

    def rejections(self, now: int) -> int:
        return sum(at > now - self.per for at in self.rejected)

    def most(self) -> int:
        """The most rejections of any window."""
        return max((self.rejections(at) for at in self.rejected), default=0)


@st.composite
def runs(draw: st.DrawFn) -> tuple[BanBudget, list[tuple[int, int, bool]]]:
    """Steps: the time that passes, the call that is answered if there are so many (else one is made), and whether it is bad."""
    refusals = draw(st.integers(1, 12) | st.integers(2 * MIN_UNCOUNTED, 3 * MIN_UNCOUNTED))
    budget = BanBudget(refusals=refusals, per=Duration(SECOND), close_at=draw(st.sampled_from([0.1, 0.5, 0.9, 1.0])))
    gaps = st.sampled_from([0, 0, 0, 1, 1_000, 100_000, SECOND - 1, SECOND, SECOND + 1])
    return budget, draw(st.lists(st.tuples(gaps, st.integers(-2, 8), st.sampled_from([True, True, True, False])), max_size=150))


#: Four volleys are granted and two rejected, so that calls under way count; then those rejections leave the window.
LARGE = BanBudget(refusals=2 * MIN_UNCOUNTED, per=Duration(SECOND), close_at=0.5)
MANY = [(0, -1, True)] * 4 + [(0, 0, True)] * 2


@example((LARGE, [*MANY, (SECOND - 1, 0, True), (1, 0, False)]), 50)
@example((LARGE, [*MANY, (SECOND - 1, 0, True), (1, 0, False)]), 49)
@given(runs(), st.integers(1, 60))
def test_no_window_has_more_rejections_than_the_share_of_the_budget(
    run: tuple[BanBudget, list[tuple[int, int, bool]]], volley: int
) -> None:
    """Calls of a volley are granted at the same instant, and answered in any order, several at the same instant."""
    budget, steps = run
    policy, provider = BanBudgetPolicy(budget), Provider(budget.per)
    exact = policy.counting
    now = START
    for gap, answered, bad in steps:
        now += gap
        if 0 <= answered < len(provider.under_way):
            for _ in range(min(volley, len(provider.under_way) - answered)):
                provider.answer(policy, now, answered, bad=bad)
        else:
            for _ in range(volley):
                if policy.earliest(Instant(now), PLAIN) > now:
                    break
                policy.commit(Instant(now))
                provider.under_way.append(now)
        recent = sum(at > now - budget.per for at in provider.under_way)
        full = provider.rejections(now) + recent >= budget.threshold

        assert provider.rejections(now) == policy.rejections(Instant(now))
        if exact:
            assert full == (policy.earliest(Instant(now), PLAIN) > now)
        # A call that takes longer than a window, and is then rejected, comes in addition.
        late = sum(at <= now - budget.per for at in provider.under_way)
        if not late and not any(gap >= budget.per - 1 for gap, _, _ in steps):
            assert provider.most() <= max(budget.threshold, provider.carried)


@settings(max_examples=200)
@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from([0, 1, 1_000, SECOND]), st.booleans()), min_size=5, max_size=20))
def test_at_the_instant_that_is_named_there_is_room_and_not_before(threshold: int, steps: list[tuple[int, bool]]) -> None:
    policy = BanBudgetPolicy(BanBudget(refusals=threshold, per=Duration(SECOND), close_at=1.0))
    now = START
    for gap, bad in steps:
        now += gap
        policy.commit(Instant(now))
        if bad:
            policy.reject(Instant(now))
            policy.answer(Instant(now), Instant(now))
        named = policy.earliest(Instant(now), PLAIN)

        assert policy.earliest(named, PLAIN) == named
        if named > now:
            assert policy.earliest(Instant(named - 1), PLAIN) == named


def test_the_memory_of_a_ban_budget_is_bounded() -> None:
    policy = BanBudgetPolicy(BanBudget(refusals=10**9, per=Duration(DAY), close_at=1.0))
    now = START
    for _ in range(3):
        for number in range(SLOTS):
            policy.reject(Instant(now + number * (DAY // SLOTS // 2)))
        now += DAY // 2

    assert len(policy.state().rejected.slots) <= SLOTS + 1


@dataclass
class Bans:
    """The oracle of a run: the answers since the last good one, and the spells."""

    budget: BanBudget
    bad: list[str] = field(default_factory=list)
    spells: list[int] = field(default_factory=list)
    until: int = 0
    probe: int | None = None

    def close(self, now: int) -> None:
        longest = self.budget.max_closed_for
        self.spells.append(min(2 * self.spells[-1], longest) if self.spells else self.budget.closed_for)
        self.until, self.probe = now + self.spells[-1], None

    def rejected(self, now: int, scope: str, *, is_probe: bool, wide: bool) -> None:
        if not self.spells:
            self.bad.append(scope)
            enough = len(self.bad) >= (self.budget.in_a_row or 0) and (not wide or len(set(self.bad)) > 1)
            if enough:
                self.close(now)
        elif is_probe:
            self.close(now)

    def answered(self, *, is_probe: bool) -> None:
        if is_probe or not self.spells:
            self.bad.clear()
            self.spells.clear()

    def grants(self, now: int) -> bool:
        if not self.spells:
            return True
        return now >= self.until and (self.probe is None or now >= self.probe + PROBE_DEADLINE)


GAPS = st.sampled_from([0, 1, SECOND, 9 * SECOND, 61 * SECOND])
KINDS = st.sampled_from(["bad", "bad", "bad", "good", "lost"])


@settings(max_examples=200)
@given(
    in_a_row=st.integers(1, 5),
    closed_for=st.integers(1, 9).map(lambda seconds: Duration(seconds * SECOND)),
    longest=st.integers(9, 60).map(lambda seconds: Duration(seconds * SECOND)),
    wide=st.booleans(),
    steps=st.lists(st.tuples(GAPS, st.integers(0, 4), KINDS), min_size=10, max_size=80),
)
def test_a_run_of_rejections_closes_for_growing_spells_and_probes_one_call_at_a_time(
    in_a_row: int, closed_for: Duration, longest: Duration, wide: bool, steps: list[tuple[int, int, str]]
) -> None:
    budget = BanBudget(in_a_row=in_a_row, closed_for=closed_for, max_closed_for=longest)
    policy, oracle = RejectionRunPolicy(budget, wide=wide), Bans(budget)
    calls: list[tuple[int, str]] = []
    now = START
    for gap, number, kind in steps:
        now += gap
        allowed = policy.earliest(Instant(now)) <= now

        assert oracle.grants(now) == allowed
        assert policy.unrestricted == (not oracle.spells)
        if allowed and (number >= len(calls) or number == 0):
            policy.commit(Instant(now))
            if oracle.spells:
                oracle.probe = now
            calls.append((now, f"scope {number % 2}"))
            continue
        if number >= len(calls):
            continue
        granted_at, scope = calls.pop(number)
        is_probe = bool(oracle.spells) and granted_at == oracle.probe
        if kind == "bad":
            policy.reject(Instant(now), Instant(granted_at), scope)
            oracle.rejected(now, scope, is_probe=is_probe, wide=wide)
        elif kind == "good":
            policy.succeed(Instant(granted_at))
            oracle.answered(is_probe=is_probe)
        else:
            assert is_probe == policy.let_go(Instant(granted_at))
            oracle.probe = None if is_probe else oracle.probe


def test_a_spell_is_exact_to_the_microsecond_and_its_bound_holds() -> None:
    policy = RejectionRunPolicy(BanBudget(in_a_row=3))
    now = Instant(START)
    spells = []
    for _ in range(3):
        policy.reject(now, now, "github:get")
    for _ in range(9):
        end = policy.until
        spells.append((end - now) // SECOND // 60)
        assert (end, end) == (policy.earliest(Instant(end - 1)), policy.earliest(end))
        policy.commit(end)
        now = end
        policy.reject(now, now, "github:get")

    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == spells
