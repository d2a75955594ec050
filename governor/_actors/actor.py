"""Actor of a scope: the only writer of the scope's state, and the address at which calls reach it.

An ask on the actor's own loop is handed over directly: the handler runs at once, in place, and the answer is there before the
call could have been suspended. From other threads an ask is a message and an answer. When such asks are frequent and no call
waits, permits are granted ahead into a lease, from which threads take without asking.
"""

import math
from collections.abc import Iterator
from functools import partial
from threading import get_ident
from typing import Final

from governor._actors.common import Common
from governor._actors.counters import Counters
from governor._actors.effects import Effect
from governor._actors.granting import READY
from governor._actors.leases.permits_ahead import NO_PERMITS
from governor._actors.ledger import Ledger
from governor._actors.lifecycle import BUSY, DOWN, IDLE, Lifecycle, State
from governor._actors.loop_watch import LoopWatch
from governor._actors.mailbox import NOMINAL_WAIT
from governor._actors.permit import HeldPermit, Permit, Success
from governor._actors.queue import NO_WAITERS
from governor._actors.stepped import Stepped
from governor._actors.units import UnitWatch
from governor._actors.waits import denial_of
from governor._failures import Classifier
from governor._lazy import NOTHING
from governor._units import NEVER, Instant
from governor.errors import Reason
from governor.messages import Acquire, Denied, Outcome, PlanRetry, RetryPlan
from governor.policies.contract import PLAIN
from governor.policies.degraded import DegradedPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.loops import Loops
from governor.policies.pipeline import Pipeline
from governor.policies.queue_forecast import earliest_behind
from governor.policies.retry import Retry
from governor.statistics import CounterRecord

#: What a plain ask that does not wait comes to, when it needs a closer look.
_TRY: Final = Acquire(PLAIN)
#: Until the settings say otherwise. One for all scopes: to check another one takes as long as to make the rest of a scope.
_LOOPS: Final = Loops()


class ScopeActor(Stepped):
    """The address of one scope. `send`, `deliver`, `take` and `deposits` are for any thread, the rest for the actors'."""

    __slots__ = ("awaits_answers",)

    #: Whether the beginning of a response would change anything.
    awaits_answers: bool
    counters: Counters
    degraded: DegradedPolicy
    leased: Iterator[Permit]
    successes: list[Success]

    def __init__(
        self,
        scope: str,
        pipeline: Pipeline,
        *,
        common: Common,
        retry: Retry,
        loops: Loops = _LOOPS,
    ) -> None:
        self.scope = scope
        self._common = common
        self.retry = retry
        self.loops = loops
        #: Where the actor may be called directly. It changes when the loop moves to another thread.
        self.thread = common.portal.thread
        self.degraded = pipeline.degraded
        self.failures = common.failures
        self._clock = common.clock
        self._spending = None
        self.ledger = Ledger(scope, pipeline, pipeline.shared.budget, common.clock, common.announcer)
        self.ledger.follow_units()
        self.life = Lifecycle()
        # Until the first step, which makes all of these.
        self._steps = self._leasing = None
        self.inbox = self.large = self.unread = self.deposits = self.successes = NOTHING
        self.answered, self.leased = None, NO_PERMITS
        self._follow_policies()

    @property
    def classifier(self) -> Classifier:
        """What an exception says about the provider."""
        return self._common.classifier

    @property
    def watch(self) -> LoopWatch | None:
        """The loop guard."""
        return self._common.watch

    # The direct hand-off, for calls on the actor's own thread: see `Granting`.

    def try_acquire(self) -> Permit | Denied:
        """One request, now or not at all, decided in a step."""
        return self.acquire(_TRY, None) or self._denied(Reason.OVERLOADED, NOMINAL_WAIT)

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        """Has an outcome read that lies in `outcomes`: at once on the actor's own thread, unless `later`, else soon."""
        if get_ident() != self.thread or later:
            self.steps().mailbox.deliver(outcome)
        elif not self.read_in_place(outcome):
            self.steps().read_soon()

    def plan_retry(self, message: PlanRetry) -> RetryPlan:
        """Plans the next attempt of an operation whose latest one has failed."""
        self.catch_up()
        return self.logic.retries.plan(message)

    def copy(self) -> None:
        """Copies what `grab`, `take` and permits read without asking. Every step ends with this, so nothing else has to."""
        self.ledger.pipeline.regate()
        self._follow_policies()

    def _follow_policies(self) -> None:
        ledger = self.ledger
        pipeline = ledger.pipeline
        breaker = pipeline.breaker
        leasing, steps = self._leasing, self._steps
        self._watched = ledger.units.watching if steps is None else steps.logic.watched
        self.gate = NEVER if self._watched or self.life.state > BUSY else pipeline.gate
        self._reason = None
        # Not asked where it is shared by many scopes, as it has seen no failure in any: every new scope comes by here.
        others_listen = pipeline.guard.listens or (not breaker.shared and breaker.listens)
        self.listens = pipeline.needs_outcome or others_listen
        self.gathers = pipeline.needs_outcome and leasing is not None and leasing.leases and not others_listen
        breaker_awaits = not breaker.shared and breaker.awaits_answers
        self.awaits_answers = breaker_awaits or pipeline.awaits_answers or pipeline.guard.listens
        self.counters = ledger.counters
        self._make = HeldPermit if pipeline.needs_outcome else Permit
        self._generation = breaker.generation
        self._shared = pipeline.gates
        limits = pipeline.all_limits
        # Of the very class: a subclass may spend in another way.
        self._bucket = limits[0] if len(limits) == 1 and type(limits[0]) is TokenBucketPolicy else None
        if self._spending is not None and self._spending.limits is not limits:
            self._spending = None
        self._cap = pipeline.cap
        self._mark = pipeline.mark
        self._extra = bool(self._shared) or self._mark is not None
        self.calm, self.looked = None, False
        if leasing is None:
            return
        if leasing.leases:
            self._common.parent.leasing.add(self)
            self.leased = leasing.holder.leased
        else:
            self._common.parent.leasing.discard(self)

    def perform(self, effect: Effect) -> None:
        """Has the supervisor do what a step asks for."""
        self._common.parent.perform(self, effect)

    # What the supervisor asks of it.

    def recall(self) -> None:
        """Recalls what is granted ahead."""
        if self._leasing is None:
            self.copy()
        else:
            self.within(self._leasing.recall)

    def catch_up(self) -> None:
        """Reads what the holder of the lease has to report."""
        leasing = self._leasing
        if self.successes or (leasing is not None and leasing.unread):
            self.within(self.leasing.catch_up)

    def on_published(self) -> None:
        """Degraded mode, or what holds for the whole provider, has moved: recalls the lease, and lets the queue find out."""
        self.ledger.mark_successes()
        self.recall()
        if self.waiting:
            self.steps().read_soon()

    def reconfigure(self, pipeline: Pipeline, retry: Retry, max_waiting: int) -> bool:
        """Other settings from now on: `pipeline` takes over where the one so far stands.

        False, and nothing has changed, if a step runs: it must end under the settings with which it began.
        """
        if self.life.busy:
            return False
        self.retry = self.logic.retries.parameters = retry
        self.logic.max_waiting = self.steps().mailbox.max_waiting = max_waiting
        self.change(partial(self.logic.go_on_with, pipeline))
        return True

    def reopen(self, pipeline: Pipeline) -> bool:
        """Lets a down actor decide again, by policies that stand where the old ones stood. False if it is not down."""
        if self.life.state is not State.DOWN:
            return False
        self.steps().reopen(pipeline)
        return True

    def is_idle(self) -> bool:
        """Whether it may be passivated: it is live, and no call waits."""
        return self.life.state is IDLE and not self.waiting

    def may_be_dropped(self) -> bool:
        """Whether it is passive, with nothing to answer, to read or to recall. All uses of its permits are known then."""
        if self.life.state is not State.PASSIVE:
            return False
        self.catch_up()
        return not (self.waiting or self.inbox or self.unread or self.outstanding)

    def drop(self, late: Counters) -> None:
        """Takes it down, because the scope makes room. Outcomes that are still to come are counted in `late`.

        A caller may hold its address still: two actors for one scope would grant twice as much.
        """
        self.stop(Reason.OVERLOADED, NOMINAL_WAIT)
        self.ledger.counters = late
        # Outcomes are to come as messages, from any thread: what is only left for the actor is never read.
        self.ledger.pipeline.needs_outcome = True
        self.copy()

    def go_on_from(self, counters: CounterRecord, units: UnitWatch, *, limits_changed: bool) -> None:
        """Takes over what was counted before the scope was set aside."""
        self.ledger.go_on_from(counters, units, limits_changed=limits_changed)
        self.copy()

    def is_healthy(self, now: Instant) -> bool:
        """Whether its provider is known to be healthy: see `Ledger.is_healthy`."""
        leasing = self._leasing
        return self.ledger.is_healthy(now, len(self.successes) if leasing is None else leasing.holder.unread)

    def stuck(self) -> set[int]:
        """The threads that wait here for what no passage of time will give."""
        steps = self._steps
        quiet = steps is not None and steps.alarm.at == math.inf and not self.inbox and not self.unread
        return self.logic.queue.threads() if quiet else set()

    def denial(self, now: Instant) -> Denied | None:
        """What a call for one request that cannot wait would be told; None if it would get a permit. Changes nothing."""
        state, pipeline = self.life.state, self.ledger.pipeline
        if state is IDLE and self.gate <= now and pipeline.cap.left and not self._shared and pipeline.mark is None:
            return None  # As `grab` decides: a status asks every scope, most of which are calm.
        if state >= DOWN:
            return self.life.answer(lambda: now)
        if now < pipeline.gate or not pipeline.cap.left or pipeline.gates or pipeline.mark or self.waiting:
            return self._preview(now)
        # The same for one that is passive.
        return None if max(map(READY, pipeline.limits), default=0) <= now else self._preview(now)

    def _preview(self, now: Instant) -> Denied | None:
        if self._steps is not None:
            return self._steps.logic.preview(now)
        verdict = earliest_behind(self.ledger.pipeline, now, PLAIN, NO_WAITERS)
        return None if verdict.when <= now else denial_of(self.scope, now, verdict)

    def __repr__(self) -> str:
        return f"<ScopeActor {self.scope}, {self.life.state.name.lower()}>"
