"""Actor of a scope: the only writer of the scope's state, and the address at which calls reach it.

An ask on the actor's own loop is handed over directly: the handler runs at once, in place, and the answer is there before the
call could have been suspended. From other threads an ask is a message and an answer. When such asks are frequent and no call
waits, permits are granted ahead into a lease, from which threads take without asking.
"""

import math
from collections.abc import Callable
from functools import partial
from random import Random
from threading import get_ident
from typing import Final, Protocol

from governor._actors.alarm import Alarms
from governor._actors.counters import Counters
from governor._actors.effects import Effect, Surroundings
from governor._actors.failures import Failures
from governor._actors.granting import READY
from governor._actors.in_place import InPlace
from governor._actors.ledger import Ledger
from governor._actors.lifecycle import DOWN, IDLE, State
from governor._actors.loop_watch import LoopWatch
from governor._actors.mailbox import NOMINAL_WAIT
from governor._actors.permit import HeldPermit, Permit, Success
from governor._actors.portal import Portal
from governor._actors.stepped import Stepped
from governor._actors.steps import Steps
from governor._actors.units import UnitWatch
from governor._failures import DEFAULT, Classifier
from governor._units import NEVER, Instant
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import Acquire, Denied, Outcome, PlanRetry, RetryPlan
from governor.policies.contract import PLAIN
from governor.policies.degraded import DegradedPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.retry import Retry
from governor.statistics import CounterRecord

#: What a plain ask that does not wait comes to, when it needs a closer look.
_TRY: Final = Acquire(PLAIN)


class Parent(Surroundings, Protocol):
    """The supervisor, as its actors know it."""

    #: The actors with permits granted ahead that are outstanding.
    leasing: "set[ScopeActor]"
    alarms: Alarms

    def perform(self, actor: "ScopeActor", effect: Effect) -> None:
        """Does what a step of the actor asks for."""


class ScopeActor(InPlace, Stepped):
    """The address of one scope. `send`, `deliver`, `take` and `deposits` are for any thread, the rest for the actors'."""

    __slots__ = (
        "_parent",
        "acquire",
        "awaits_answers",
        "classifier",
        "deposits",
        "gathers",
        "logic",
        "watch",
    )

    #: Whether the beginning of a response would change anything.
    awaits_answers: bool
    #: Whether successes of permits that were granted ahead wait for the next look, which is due while there are any.
    gathers: bool
    counters: Counters
    degraded: DegradedPolicy
    pop_leased: Callable[[], Permit]
    successes: list[Success]

    def __init__(
        self,
        scope: str,
        pipeline: Pipeline,
        *,
        portal: Portal,
        failures: Failures,
        now: Callable[[], Instant],
        retry: Retry,
        random: Random,
        max_waiting: int,
        parent: Parent,
        announcer: Announcer,
        classifier: Classifier = DEFAULT,
        watch: LoopWatch | None = None,
    ) -> None:
        self.scope = scope
        #: The loop guard.
        self.watch = watch
        #: Where the actor may be called directly. It changes when the loop moves to another thread.
        self.thread = portal.thread
        self.classifier = classifier
        self.degraded = pipeline.degraded
        self.failures = failures
        self._parent = parent
        self._clock = now
        self.ledger = Ledger(scope, pipeline, clock=now, announcer=announcer)
        self._steps = steps = Steps(
            self.ledger,
            owner=self,
            portal=portal,
            alarms=parent.alarms,
            failures=failures,
            retry=retry,
            random=random,
            max_waiting=max_waiting,
            surroundings=parent,
            watch=watch,
        )
        # Bound once, to spare calls a function call each.
        self.life = steps.life
        self.logic = steps.logic
        self.lender = steps.logic.lender
        self.acquire = steps.acquire
        self.inbox, self.large, self.outcomes = steps.mailbox.inbox, steps.mailbox.large, steps.mailbox.outcomes
        holder = self.lender.holder
        self.pop_leased, self.successes, self.deposits = holder.take, holder.successes, holder.deposits
        self.copy()

    # The direct hand-off, for calls on the actor's own thread: see `Granting`.

    def try_acquire(self) -> Permit | Denied:
        """One request, now or not at all, decided in a step."""
        return self.acquire(_TRY, None) or self.logic.denied(Reason.OVERLOADED, NOMINAL_WAIT)

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        """Has an outcome read that lies in `outcomes`: at once on the actor's own thread, unless `later`, else soon."""
        if get_ident() != self.thread or later:
            self._steps.mailbox.deliver(outcome)
        elif not self.read_in_place(outcome):
            self._steps.read_soon()

    def plan_retry(self, message: PlanRetry) -> RetryPlan:
        """Plans the next attempt of an operation whose latest one has failed."""
        self.catch_up()
        return self.logic.retries.plan(message)

    def copy(self) -> None:
        """Copies what `grab`, `take` and permits read without asking. Every step ends with this, so nothing else has to."""
        ledger = self.ledger
        pipeline = ledger.pipeline
        breaker = pipeline.breaker
        pipeline.regate()
        self._watched = self.logic.watched
        self.gate = NEVER if self._watched or not self.life.live else pipeline.gate
        others_listen = breaker.listens or pipeline.guard.listens
        self.listens = pipeline.needs_outcome or others_listen
        self.gathers = pipeline.needs_outcome and self.lender.holder.outstanding > 0 and not others_listen
        self.awaits_answers = breaker.awaits_answers or pipeline.awaits_answers or pipeline.guard.listens
        self.counters = ledger.counters
        self._make = HeldPermit if pipeline.needs_outcome else Permit
        self._generation = breaker.generation
        self._limits = pipeline.all_limits
        self._shared = pipeline.gates
        self._spending = pipeline.plain_spending
        self._cap = pipeline.cap
        self.calm, self.looked = None, False
        if self.lender.outstanding:
            self._parent.leasing.add(self)
            self.pop_leased = self.lender.holder.take
        else:
            self._parent.leasing.discard(self)

    def perform(self, effect: Effect) -> None:
        """Has the supervisor do what a step asks for."""
        self._parent.perform(self, effect)

    # What the supervisor asks of it.

    def recall(self) -> None:
        """Recalls what is granted ahead."""
        self.within(self.lender.recall)

    def catch_up(self) -> None:
        """Reads what the holder of the lease has to report."""
        holder = self.lender.holder  # `Lender.unread`, for a status that looks at all scopes.
        if holder.outstanding or self.successes or self.deposits:
            self.within(self.lender.catch_up)

    def on_published(self) -> None:
        """Degraded mode, or what holds for the whole provider, has moved: recalls the lease, and lets the queue find out."""
        self.ledger.mark_successes()
        self.recall()
        if self.logic.queue:
            self._steps.read_soon()

    def reconfigure(self, pipeline: Pipeline, retry: Retry, max_waiting: int) -> bool:
        """Other settings from now on: `pipeline` takes over where the one so far stands.

        False, and nothing has changed, if a step runs: it must end under the settings with which it began.
        """
        if self.life.busy:
            return False
        self.logic.retries.parameters = retry
        self.logic.max_waiting = self._steps.mailbox.max_waiting = max_waiting
        self.change(partial(self.logic.go_on_with, pipeline))
        return True

    def reopen(self, pipeline: Pipeline) -> bool:
        """Lets a down actor decide again, by policies that stand where the old ones stood. False if it is not down."""
        if self.life.state is not State.DOWN:
            return False
        self._steps.reopen(pipeline)
        return True

    def is_idle(self) -> bool:
        """Whether it may be passivated: it is live, and no call waits."""
        return self.life.state is IDLE and not self.logic.queue

    def may_be_dropped(self) -> bool:
        """Whether it is passive, with nothing to answer, to read or to recall. All uses of its permits are known then."""
        if self.life.state is not State.PASSIVE:
            return False
        self.catch_up()
        return not (self.logic.queue or self.inbox or self.outcomes or self.lender.outstanding)

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
        self.within(partial(self.ledger.go_on_from, counters, units, limits_changed=limits_changed))

    def is_healthy(self, now: Instant) -> bool:
        """Whether its provider is known to be healthy: see `Ledger.is_healthy`."""
        return self.ledger.is_healthy(now, len(self.successes))

    def stuck(self) -> set[int]:
        """The threads that wait here for what no passage of time will give."""
        quiet = self._steps.alarm.at == math.inf and not self.inbox and not self.outcomes
        return self.logic.queue.threads() if quiet else set()

    def denial(self, now: Instant) -> Denied | None:
        """What a call for one request that cannot wait would be told; None if it would get a permit. Changes nothing."""
        if self.life.state >= DOWN:
            return self.life.answer(lambda: now)
        pipeline = self.ledger.pipeline
        if now < pipeline.gate or not pipeline.cap.left or pipeline.gates or pipeline.mark or self.logic.queue:
            return self.logic.preview(now)
        # As `grab` decides, in a tenth of the time that a verdict takes: a status asks every scope, most of which are calm.
        return None if max(map(READY, pipeline.limits), default=0) <= now else self.logic.preview(now)

    def __repr__(self) -> str:
        return f"<ScopeActor {self.scope}, {self.life.state.name.lower()}>"
