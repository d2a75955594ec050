"""Two scopes that grant ahead, step by step, against everything that they must never do.

The actors are real; what stands around them is a clock that moves by hand, an event loop that turns by hand, and callers
elsewhere, each of whose actions is a step of its own: looking into the lease, sending a message, reporting. Only what happens
within such an action is left out; `tests/interleaving` takes that apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from random import Random
from threading import get_ident
from typing import Final

import pytest
from hypothesis import settings
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

from governor import Denied, Permit, Reason
from governor._actors.actor import ScopeActor
from governor._actors.alarm import Alarms
from governor._actors.common import Common
from governor._actors.effects import Effect, Signal
from governor._actors.failures import Failures
from governor._actors.ledger import Ledger
from governor._actors.queue import Waiter
from governor._units import DAY, MINUTE, SECOND, Duration, Instant
from governor.instrumentation import Announcer
from governor.messages import Acquire
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.composition import compose
from governor.policies.contract import PLAIN, Request
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight, InFlightPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderPolicies
from governor.policies.request_cap import WINDOW, RequestCap, RequestCapPolicy
from governor.policies.retry import Retry
from governor.policies.shared_limit import LimitQueue
from governor.policies.windows.parameters import StrictWindow
from tests.support.portals import StillPortal

START: Final = 10 * DAY
ELSEWHERE: Final = -1
BUCKETS: Final = st.builds(
    TokenBucket,
    amount=st.integers(1, 50),
    per=st.sampled_from([SECOND, MINUTE]).map(Duration),
    burst=st.integers(8, 200) | st.just(100),
)
#: Several limits lease each by itself, and what counts another unit takes no part.
WINDOWS: Final = st.builds(StrictWindow, st.integers(8, 200), st.sampled_from([SECOND, MINUTE]).map(Duration))
FLIGHTS: Final = st.builds(InFlight, st.integers(1, 20))
LIMITS: Final = st.lists(BUCKETS | WINDOWS | FLIGHTS | st.just(TokenBucket(1, SECOND, 1, "tokens")), min_size=1, max_size=3)
GAPS: Final = st.one_of(
    st.integers(0, 3),
    st.integers(0, 2 * SECOND),
    st.sampled_from([10_000, 20_000, SECOND, MINUTE - 1, MINUTE, MINUTE + 1, 10 * MINUTE]),
)
WHICH: Final = st.integers(0, 1)


Limited = TokenBucket | StrictWindow | InFlight


@dataclass
class Scope:
    """An actor, and what its callers have seen."""

    actor: ScopeActor
    limits: list[Limited]
    admitted: list[int] = field(default_factory=list)
    answers: list[Permit | Denied] = field(default_factory=list)
    waiting: list[Waiter] = field(default_factory=list)
    #: Somebody elsewhere has reported a failure that the actor has not read yet.
    failure_under_way: bool = False
    given_back: int = 0
    in_flight: int = 0


#: A permit in somebody's hand, the number of its scope, and when it was taken.
Held = tuple[Permit, int, int]


class NoSharing:
    """No limit is shared."""

    def recall(self, provider: ProviderPolicies) -> bool:
        raise AssertionError

    def part(self, provider: ProviderPolicies) -> float:
        raise AssertionError("nothing is learned here")

    def ledgers(self, provider: ProviderPolicies) -> list[Ledger]:
        raise AssertionError

    def pipeline(self, ledger: Ledger) -> Pipeline:
        raise AssertionError

    def serve(self, queues: Iterable[LimitQueue]) -> None:
        raise AssertionError


class LeaseMachine(RuleBasedStateMachine):
    """Every rule is something that one thread does at a time."""

    sharing: Final = NoSharing()
    held: Bundle[Held] = Bundle("held")

    @initialize(
        limits=st.tuples(LIMITS, LIMITS),
        cap=st.sampled_from([8, 20, 60, 100, 1000]),
        failures=st.integers(1, 4),
        degraded=st.integers(2, 6),
    )
    def begin(self, limits: tuple[list[Limited], list[Limited]], cap: int, failures: int, degraded: int) -> None:
        self.now = START
        self.failures = Failures()
        self.leasing: set[ScopeActor] = set()
        self.portal = StillPortal(lambda: self.now / SECOND)
        self.alarms = Alarms(self.portal)
        self.cap = RequestCapPolicy(RequestCap(cap))
        self.degraded = DegradedPolicy(Degraded(failures=degraded, providers=1))
        self.all_admitted: list[int] = []
        self.scopes = [self._scope(f"scope{number}", own, failures) for number, own in enumerate(limits)]

    def _scope(self, name: str, limits: list[Limited], failures: int) -> Scope:
        actor = ScopeActor(
            name,
            compose(Breaker(failures=failures), limits, cap=self.cap, degraded=self.degraded),
            common=Common(
                portal=self.portal,
                failures=self.failures,
                clock=lambda: Instant(self.now),
                random=Random(0),
                parent=self,
                announcer=Announcer(lambda: 0.0),
                max_waiting=100,
            ),
            retry=Retry(),
        )
        actor.ledger.units.watching = False  # As after the first calls.
        actor.within(lambda: None)
        return Scope(actor, [limit for limit in limits if limit.unit == "requests"])

    # What the actors know of the supervisor.

    def is_any_healthy(self, now: Instant) -> bool:
        return False

    def perform(self, actor: ScopeActor, effect: Effect) -> None:
        if effect is Signal.PAUSED:
            for scope in self.scopes:
                scope.actor.on_published()

    def recall_all(self) -> None:
        for scope in self.scopes:
            scope.actor.recall()

    def _admit(self, scope: Scope, cost: int = 1) -> None:
        scope.admitted += [self.now] * cost
        scope.in_flight += cost
        self.all_admitted += [self.now] * cost

        assert self.now >= self.degraded.until
        for bucket in scope.limits:
            if isinstance(bucket, InFlight):
                assert scope.in_flight <= bucket.amount
                continue
            if isinstance(bucket, StrictWindow):
                assert sum(at > self.now - bucket.per for at in scope.admitted) <= bucket.amount
                continue
            law = Fraction(bucket.amount, bucket.per)
            for place, first in enumerate(scope.admitted):
                assert len(scope.admitted) - place <= bucket.burst + law * (self.now - first)
        assert sum(at > self.now - WINDOW for at in self.all_admitted) <= self.cap.parameters.most

    @rule(gap=GAPS)
    def pass_time(self, gap: int) -> None:
        self.now += gap

    @rule(target=held, which=WHICH, most=st.integers(1, 100))
    def take(self, which: int, most: int) -> MultipleResults[Held]:
        """A caller elsewhere takes what is there."""
        return self._take(which, most)

    def _take(self, which: int, most: int) -> MultipleResults[Held]:
        scope = self.scopes[which]
        taken: list[Held] = []
        while len(taken) < most and (permit := scope.actor.take()) is not None:
            assert not scope.failure_under_way
            self._admit(scope)
            taken.append((permit, which, self.now))
        return multiple(*taken)

    @rule(which=WHICH, count=st.integers(1, 8), timeout=st.sampled_from([0.0, 1.0, None]))
    def ask_elsewhere(self, which: int, count: int, timeout: float | None) -> None:
        """Callers elsewhere have found nothing, and ask."""
        scope = self.scopes[which]
        for _ in range(count):
            waiter = Waiter(Acquire(PLAIN, timeout), lambda: None)
            waiter.wake = partial(self._answered, scope, waiter)
            scope.waiting.append(waiter)
            scope.actor.send(waiter.acquire, waiter)

    def _answered(self, scope: Scope, waiter: Waiter) -> None:
        assert waiter.answer is not None
        scope.waiting.remove(waiter)
        scope.answers.append(waiter.answer)
        if isinstance(waiter.answer, Permit):
            self._admit(scope)

    @rule(which=WHICH, count=st.integers(2, 12))
    def rush(self, which: int, count: int) -> None:
        """Many ask at a time, and are answered: from now on permits are granted ahead."""
        self.ask_elsewhere(which, count, 0.0)
        self.turn_the_loop()

    @rule(target=held, which=WHICH)
    def empty(self, which: int) -> MultipleResults[Held]:
        """Whatever is there is taken, by whoever it is."""
        return self._take(which, 1000)

    @rule(which=WHICH, cost=st.integers(1, 12) | st.integers(1, 200))
    def ask_here(self, which: int, cost: int) -> None:
        """Somebody on the actor's own loop asks for several at once, or for one."""
        scope = self.scopes[which]
        if cost == 1:
            expected = scope.actor.denial(Instant(self.now))
            answer: Permit | Denied | None = scope.actor.grab(True)
            assert not isinstance(answer, Denied) or answer == expected
            answer = answer or scope.actor.try_acquire()
        else:
            answer = scope.actor.acquire(Acquire(Request(cost)), None)
        if isinstance(answer, Permit):
            self._admit(scope, cost)
            scope.answers.append(answer)
        else:
            assert answer is not None
            self._nothing_was_left(answer, scope)

    def _nothing_was_left(self, refusal: Denied, scope: Scope) -> None:
        if refusal.reason in {Reason.RATE_LIMIT, Reason.CONCURRENCY}:
            assert 0 == scope.actor.leasing.outstanding
        if refusal.reason is Reason.REQUEST_CAP:
            assert 0 == self.cap.leased

    @rule(one=consumes(held), status=st.sampled_from([200, 200, 404, 500, 503]))
    def report_elsewhere(self, one: Held, status: int) -> None:
        permit, which, _ = one
        scope = self.scopes[which]
        scope.in_flight -= 1
        scope.actor.thread = ELSEWHERE
        permit.record(status=status)
        scope.actor.thread = get_ident()
        scope.failure_under_way |= status >= 500

    @rule(one=consumes(held))
    def give_back_elsewhere(self, one: Held) -> None:
        """It was never used, so it was never let out."""
        permit, which, at = one
        scope = self.scopes[which]
        scope.in_flight -= 1
        scope.actor.thread = ELSEWHERE
        permit.give_back()
        scope.actor.thread = get_ident()
        scope.admitted.remove(at)
        self.all_admitted.remove(at)
        scope.given_back += 1

    @rule(which=WHICH, status=st.sampled_from([200, 500]))
    def report_here(self, which: int, status: int) -> None:
        """Somebody on the loop reports: the news is read at once."""
        scope = self.scopes[which]
        for answer in scope.answers:
            if isinstance(answer, Permit) and not answer.reported:
                scope.in_flight -= answer.grant().request.cost
                answer.record(status=status)
                self._read(scope)
                return

    @rule()
    def turn_the_loop(self) -> None:
        self.portal.turn()
        for scope in self.scopes:
            assert not scope.actor.inbox
            assert not scope.actor.outcomes
            self._read(scope)

    def _read(self, scope: Scope) -> None:
        scope.failure_under_way = scope.failure_under_way and bool(scope.actor.outcomes)

    @rule(which=WHICH)
    def ring_the_alarm(self, which: int) -> None:
        alarm = self.scopes[which].actor.steps().alarm
        if alarm.at <= self.portal.time():
            alarm.ring()
            self._read(self.scopes[which])

    @rule(which=WHICH)
    def count(self, which: int) -> None:
        scope = self.scopes[which]
        scope.actor.catch_up()

        assert len(scope.admitted) == self._requests(scope)

    def _requests(self, scope: Scope) -> int:
        """What the counters say; they count permits, some of which cost more than one, and some of which were given back."""
        costs = sum(answer.grant().request.cost - 1 for answer in scope.answers if isinstance(answer, Permit))
        return scope.actor.counters.requests + costs - scope.given_back

    @invariant()
    def nothing_is_granted_ahead_while_a_call_waits_or_the_breaker_is_not_closed(self) -> None:
        for scope in self.scopes:
            closed = scope.actor.ledger.pipeline.breaker.status is BreakerStatus.CLOSED
            if scope.actor.logic.queue or not closed or self.now < self.degraded.until:
                assert 0 == scope.actor.leasing.outstanding

    def teardown(self) -> None:
        if hasattr(self, "scopes"):
            self.portal.turn()
            for scope in self.scopes:
                scope.actor.close()

                assert [] == scope.waiting
                assert scope.actor.take() is None
                scope.actor.catch_up()
                assert len(scope.admitted) == self._requests(scope)
                for limit in scope.actor.ledger.pipeline.limits:
                    if isinstance(limit, InFlightPolicy):
                        assert limit.capacity() == limit.available(Instant(self.now)) + scope.in_flight


TestLease: Final = pytest.mark.promise("R02", "R06", "R07", "R08")(LeaseMachine.TestCase)
TestLease.settings = settings(stateful_step_count=60)
