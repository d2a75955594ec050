"""The circuit breaker against a model that is written as one would tell it.

The spans of the model are a few microseconds: a window of time up to 4096 microseconds is exact, so that both must agree on
every step. What merging in longer windows may cost is a test of its own.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from governor._units import DAY, MINUTE, Duration, Instant
from governor.policies._sliding_log import SLOTS
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import PLAIN, Grant, Result

START: Final = 10 * DAY
RATES: Final = ["0.000001", "0.1", "0.25", "0.333333", "0.5", "0.6", "0.7", "0.9", "1"]
CALL: Final = st.tuples(st.integers(0, 3) | st.integers(0, 60_000_000), st.booleans())
SPANS: Final = st.integers(1, 12).map(Duration)
RESULTS: Final = st.sampled_from([Result.SUCCESS, *Result])

#: About as long as a span of the breaker, by name, give or take a microsecond; or no time at all.
Wait = tuple[str, int] | None
SPAN_NAMES: Final = st.sampled_from(["open_for", "probe_deadline", "slow_call", "window"])
WAITS: Final[st.SearchStrategy[Wait]] = st.none() | st.tuples(SPAN_NAMES, st.integers(-1, 1))


@st.composite
def breakers(draw: st.DrawFn) -> Breaker:
    by_rate = draw(st.sampled_from(["", "calls", "time"]))
    in_a_row = st.integers(1, 4)
    window_calls = draw(st.integers(1, 8)) if by_rate == "calls" else None
    probes = draw(st.integers(1, 4))
    return Breaker(
        failures=draw(in_a_row | st.none() if by_rate else in_a_row),
        failure_rate=float(draw(st.sampled_from(RATES))) if by_rate else None,
        window_calls=window_calls,
        window=draw(SPANS) if by_rate == "time" else None,
        minimum_calls=draw(st.integers(1, window_calls or 5)),
        slow_call=draw(st.none() | SPANS | SPANS),
        successes=draw(st.integers(1, probes)),
        open_for=draw(SPANS),
        max_open_for=draw(st.integers(1, 60).map(Duration)),
        probes=probes,
        probe_deadline=draw(SPANS),
        ramp_up=draw(st.booleans()),
    )


@dataclass
class Model:
    """A breaker as one would tell it, with everything that ever happened written down."""

    parameters: Breaker
    status: str = "closed"
    #: How often it has changed: an outcome counts only if this has not changed since its grant.
    age: int = 0
    until: int = 0
    forced: bool = False
    openings: int = 0
    #: For how long it was open, each time since it was last closed for good.
    spells: list[int] = field(default_factory=list)
    last_failure: int | None = None
    #: Calls that ended while closed, since it was last closed: when, and whether they failed.
    ended: list[tuple[int, bool]] = field(default_factory=list)
    #: Calls without an answer, while they are counted: when they were granted. Those that were given up are not among them.
    out: list[int] = field(default_factory=list)
    good_probes: int = 0
    #: How many of these were good before they were given up.
    good_in_place: int = 0
    #: How many calls may be without an answer; None when they are not counted.
    ramp: int | None = None
    #: How wide the ramp was when it was last used up, and successes since.
    used_up: int = 0
    good_since: int = 0

    def full(self) -> bool:
        if self.status == "half_open":
            return len(self.out) + self.good_in_place == self.parameters.probes
        return self.ramp is not None and len(self.out) == self.ramp

    def earliest(self, now: int) -> int:
        if self.status == "open":
            return max(now, self.until)
        return max(now, min(self.out) + self.parameters.probe_deadline) if self.full() else now

    def grant(self, now: int) -> None:
        if self.status == "open":
            self.change("half_open")
        if self.full():
            self.out.remove(min(self.out))
        if self.status == "half_open" or self.ramp is not None:
            self.out.append(now)
        if self.ramp is not None and self.full():
            self.used_up, self.good_since = self.ramp, 0

    def answer(self, now: int, grant: Grant, result: Result) -> None:
        """Its answer has begun, or it has ended without."""
        if grant.generation != self.age or (self.status == "closed" and self.ramp is None):
            return
        in_place = grant.granted_at in self.out
        if in_place:
            self.out.remove(grant.granted_at)
        good, bad = self.judge(now, grant, result)
        if self.status == "half_open":
            self.good_probes += good
            self.good_in_place += good and in_place
            if bad:
                self.last_failure = now
                self.open(now)
            elif self.good_probes == self.parameters.successes:
                self.change("closed")
                if self.parameters.ramp_up:
                    self.ramp = self.used_up = self.parameters.probes
                else:
                    self.spells.clear()
        elif self.ramp is not None and good:
            self.ramp += 1
            self.good_since += in_place
            if self.good_since == 2 * self.used_up:
                self.ramp = None
                self.spells.clear()
                self.out.clear()

    def end(self, now: int, grant: Grant, result: Result) -> None:
        was_half_open = self.status == "half_open"
        if grant.answered_at is None:
            self.answer(now, grant, result)
        if grant.generation != self.age or was_half_open or result is Result.NEUTRAL:
            return
        _, bad = self.judge(now if grant.answered_at is None else grant.answered_at, grant, result)
        self.last_failure = now if bad else self.last_failure
        self.ended.append((now, bad))
        if self.too_many_in_a_row() or self.too_high_a_share(now):
            self.open(now)

    def judge(self, now: int, grant: Grant, result: Result) -> tuple[bool, bool]:
        slow = self.parameters.slow_call
        good = result is Result.SUCCESS and not (slow is not None and now - grant.granted_at >= slow)
        return good, result is not Result.NEUTRAL and not good

    def too_many_in_a_row(self) -> bool:
        most = self.parameters.failures
        return most is not None and len(self.ended) >= most and all(bad for _, bad in self.ended[-most:])

    def too_high_a_share(self, now: int) -> bool:
        if self.parameters.failure_rate is None:
            return False
        seen = self.ended
        if self.parameters.window_calls is not None:
            seen = seen[-self.parameters.window_calls :]
        if self.parameters.window is not None:
            seen = [(at, bad) for at, bad in seen if at > now - self.parameters.window]
        share = Fraction(self.parameters.failure_rate).limit_denominator(10**6)
        return len(seen) >= self.parameters.minimum_calls and sum(bad for _, bad in seen) >= share * len(seen)

    def row(self) -> int:
        """Failures in a row up to now."""
        good = [place for place, (_, bad) in enumerate(self.ended) if not bad]
        return len(self.ended) - (good[-1] + 1 if good else 0)

    def open(self, now: int) -> None:
        self.change("open")
        longest = max(self.parameters.open_for, self.parameters.max_open_for)
        self.spells.append(min(int(self.parameters.open_for * Fraction(6, 5) ** len(self.spells)), longest))
        self.until = now + self.spells[-1]
        self.openings += 1

    def force_open(self, until: int) -> None:
        self.openings += self.status != "open"
        self.change("open")
        self.until = until
        self.forced = True

    def force_closed(self) -> None:
        self.spells.clear()
        if self.status != "closed":
            self.change("closed")
            self.forced = True
            if self.parameters.ramp_up:
                self.ramp = self.used_up = self.parameters.probes

    def change(self, status: str) -> None:
        self.status = status
        self.age += 1
        self.forced = False
        self.ended.clear()
        self.out.clear()
        self.good_probes = self.good_in_place = self.good_since = 0
        self.ramp = None


class BreakerMachine(RuleBasedStateMachine):
    """Whatever is asked and told, in any order, the breaker and the model stand at the same point."""

    grants: Bundle[Grant] = Bundle("grants")

    @initialize(parameters=breakers())
    def begin(self, parameters: Breaker) -> None:
        self.policy = BreakerPolicy(parameters)
        self.model = Model(parameters)
        self.now = Instant(START)

    def granted(self) -> Grant:
        self.policy.commit(self.now, PLAIN)
        self.model.grant(self.now)
        return Grant(self.now, self.policy.generation)

    def ended(self, grant: Grant, result: Result) -> None:
        self.policy.record(self.now, grant, result)
        self.model.end(self.now, grant, result)

    @rule(wait=WAITS)
    def time_passes(self, wait: Wait) -> None:
        if wait is not None:
            span, more = wait
            self.now = Instant(self.now + max(0, (getattr(self.policy.parameters, span) or 0) + more))

    @rule(target=grants)
    def ask(self) -> Grant:
        """Waits until it is granted, if need be; the microsecond before is too early."""
        named = self.policy.earliest(self.now, PLAIN)

        assert self.model.earliest(self.now) == named
        if named > self.now:
            assert self.policy.earliest(Instant(named - 1), PLAIN) == named
            self.now = named
        assert self.policy.earliest(self.now, PLAIN) == self.now
        return self.granted()

    @rule(target=grants, wait=WAITS)
    def ask_without_waiting(self, wait: Wait) -> Grant | MultipleResults[Grant]:
        self.time_passes(wait)
        before = self.policy.state()
        if self.policy.earliest(self.now, PLAIN) > self.now:
            assert before == self.policy.state()
            return multiple()
        return self.granted()

    @rule(target=grants, number=st.integers(2, 12))
    def many_ask(self, number: int) -> MultipleResults[Grant]:
        granted: list[Grant] = []
        while len(granted) < number and self.policy.earliest(self.now, PLAIN) <= self.now:
            granted.append(self.granted())
        return multiple(*granted)

    @rule(target=grants, grant=consumes(grants), result=st.sampled_from([Result.SUCCESS, Result.FAILURE]), wait=WAITS)
    def answer_begins(self, grant: Grant, result: Result, wait: Wait) -> Grant:
        if grant.answered_at is not None:
            return grant
        self.time_passes(wait)
        self.policy.answered(self.now, grant, result)
        self.model.answer(self.now, grant, result)
        return msgspec.structs.replace(grant, answered_at=self.now)

    @rule(grant=consumes(grants), result=RESULTS, wait=WAITS)
    def outcome(self, grant: Grant, result: Result, wait: Wait) -> None:
        self.time_passes(wait)
        self.ended(grant, result)

    @rule(grant=consumes(grants))
    def given_back(self, grant: Grant) -> None:
        if grant.answered_at is None:
            self.policy.refund(self.now, grant, None)
            self.model.end(self.now, grant, Result.NEUTRAL)

    @rule(calls=st.lists(st.tuples(WAITS, WAITS, RESULTS), min_size=1, max_size=5))
    def calls_one_after_another(self, calls: list[tuple[Wait, Wait, Result]]) -> None:
        for before, during, result in calls:
            self.time_passes(before)
            if self.policy.earliest(self.now, PLAIN) <= self.now:
                grant = self.granted()
                self.time_passes(during)
                self.ended(grant, result)
                self.they_agree()

    @rule(span=SPANS)
    def an_operator_opens_it(self, span: Duration) -> None:
        self.policy.force_open(self.now, Instant(self.now + span))
        self.model.force_open(self.now + span)

    @rule()
    def an_operator_closes_it(self) -> None:
        self.policy.force_closed()
        self.model.force_closed()

    @rule()
    def restart(self) -> None:
        successor = BreakerPolicy(self.policy.parameters)
        successor.restore(self.policy.state())
        assert successor.state() == self.policy.state()
        self.policy = successor

    @invariant()
    def they_agree(self) -> None:
        policy, model = self.policy, self.model
        row = model.row() if model.status == "closed" else 0

        assert (model.status, model.age, row) == (policy.status.value, policy.generation, policy.failures)
        assert (model.openings, model.last_failure, model.forced) == (policy.openings, policy.last_failure, policy.forced)
        assert (model.good_probes, model.ramp) == (policy.successes, policy.ramp)
        assert model.earliest(self.now) == policy.earliest(self.now, PLAIN)

    @invariant()
    def never_more_calls_are_without_an_answer_than_allowed(self) -> None:
        allowed = self.policy.parameters.probes if self.policy.ramp is None else self.policy.ramp
        assert len(self.policy.state().out) <= allowed

    @invariant()
    def who_does_not_listen_misses_nothing(self) -> None:
        if not self.policy.listens:
            before = self.policy.state()
            self.policy.record(self.now, Grant(self.now, self.policy.generation), Result.SUCCESS)
            assert before == self.policy.state()

    @invariant()
    def who_awaits_no_answers_misses_nothing(self) -> None:
        if not self.policy.awaits_answers:
            before = self.policy.state()
            self.policy.answered(self.now, Grant(self.now, self.policy.generation), Result.FAILURE)
            assert before == self.policy.state()


TestBreaker: Final = pytest.mark.promise("R06")(BreakerMachine.TestCase)
TestBreaker.settings = settings(stateful_step_count=30)


@pytest.mark.promise("R06")
@given(st.integers(1, 20), st.integers(1, 64))
def test_of_any_number_that_ask_at_once_exactly_the_probes_go_through(probes: int, asking: int) -> None:
    policy = BreakerPolicy(Breaker(failures=1, probes=probes, successes=1))
    policy.record(Instant(START), Grant(Instant(START), 0), Result.FAILURE)
    now = Instant(START + MINUTE)

    granted = 0
    for _ in range(asking):
        if policy.earliest(now, PLAIN) <= now:
            policy.commit(now, PLAIN)
            granted += 1

    assert min(probes, asking) == granted


@given(
    window=st.integers(1, 60).map(lambda seconds: Duration(seconds * 1_000_003)),
    calls=st.integers(0, 60).flatmap(lambda length: st.lists(CALL, min_size=length, max_size=length)),
    minimum=st.integers(1, 8),
    rate=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_in_a_long_window_calls_leave_late_by_a_slot_at_most(
    window: Duration, calls: list[tuple[int, bool]], minimum: int, rate: float
) -> None:
    policy = BreakerPolicy(Breaker(failures=None, failure_rate=rate, window=window, minimum_calls=minimum))
    slot, now = window // SLOTS + 1, START
    seen: list[tuple[int, bool]] = []
    for gap, bad in calls:
        now += gap
        seen.append((now, bad))
        policy.record(Instant(now), Grant(Instant(now), 0), Result.FAILURE if bad else Result.SUCCESS)
        inside = [failed for at, failed in seen if at > now - window]
        late = [failed for at, failed in seen if now - window - slot < at <= now - window]
        # The share is certain unless it depends on calls that are about to leave.
        if not late:
            reached = len(inside) >= minimum and sum(inside) >= rate * len(inside)
            assert reached == (policy.status is BreakerStatus.OPEN)
        if policy.status is BreakerStatus.OPEN:
            assert len(inside) + len(late) >= minimum
            assert sum(inside) + sum(late) >= rate * len(inside)
            return
