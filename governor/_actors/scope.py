"""Decisions of one scope: which calls get a permit, which wait, which are denied, and what outcomes change.

Everything here runs in steps of the scope's actor, and returns what others must do as effects.

Bound: a queue of `max_waiting` waiters denies the next call as `overloaded`.
"""

import math
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, final

from governor import instrumentation
from governor._actors.alarm import Alarm
from governor._actors.effects import BansMoved, BreakerMoved, Effect, Performer, Served, Signal, Surroundings
from governor._actors.leases.leasing import Leasing
from governor._actors.ledger import Ledger
from governor._actors.permit import HeldPermit, Permit
from governor._actors.queue import NO_WAITERS, Waiter, join
from governor._actors.retries import Retries
from governor._actors.standing import Standing
from governor._actors.stopped_loops import StoppedLoops
from governor._actors.waits import RECALL_INTERVAL, denial_of, recall_timeout, sooner, wait_fits, wait_of
from governor._exports import Later
from governor._units import AFTER_OUTCOME, NEVER, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Answered, Denied, Hinted, Outcome, PlaceFreed, Report, RetryGivenUp, Settled
from governor.policies.apart import only_the_cap_denies
from governor.policies.ban_guard import News
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import PLAIN, Request, Result
from governor.policies.mark import Mark
from governor.policies.pipeline import Pipeline
from governor.policies.queue_forecast import earliest_behind
from governor.policies.retry import Retry
from governor.policies.verdict import Verdict

if TYPE_CHECKING:
    from governor._actors import server_hints
else:
    server_hints = Later("governor._actors.server_hints")

#: By how many seconds timers may be late before a waiter whose deadline and turn coincide is denied instead of served.
_GRACE: Final = 0.001
#: What is asked for in a preview: one request.
_PREVIEW: Final = Acquire(PLAIN)


@final
class ScopeLogic:
    """The decisions of one scope. Belongs to the actors' thread.

    `alarm` rings when the queue is to be served again, and `time` reads its clock, in seconds. The `owner` performs each
    effect, before the next answer, and `steps` serve the queue when the scope is the first in the queue of a shared limit.
    """

    __slots__ = (
        "_alarm",
        "_effects",
        "_owner",
        "_random",
        "_status",
        "_surroundings",
        "_time",
        "ledger",
        "leasing",
        "max_waiting",
        "queue",
        "retries",
        "standing",
        "stopped",
    )

    def __init__(
        self,
        ledger: Ledger,
        *,
        owner: Performer,
        retry: Retry,
        random: Random,
        max_waiting: int,
        alarm: Alarm,
        time: Callable[[], float],
        surroundings: Surroundings,
        steps: Served,
    ) -> None:
        self.ledger = ledger
        self.stopped = StoppedLoops()
        self.leasing = Leasing(ledger, owner)
        self.queue = NO_WAITERS
        self.retries = Retries(ledger, retry, random)
        self._random = random
        self.max_waiting = max_waiting
        self._alarm = alarm
        self._owner = owner
        self._time = time
        self._surroundings = surroundings
        self._effects: tuple[Effect, ...] = ()
        self._status = ledger.pipeline.breaker.status
        self.standing = Standing(ledger, self.queue, surroundings=surroundings, steps=steps)

    # Effects.

    def settle(self) -> None:
        """Has the effects performed that there are. Called after each outcome, before each answer, and at the end of a step."""
        pipeline = self.ledger.pipeline
        if self.standing and not self.queue:
            self.standing.leave()
        if pipeline.breaker.status is not self._status:
            self._breaker_moved()
        if pipeline.cap.warns:
            self._effects = (*self._effects, Signal.HIGH_USE)
        if pipeline.guard.news is not News.NOTHING:
            self._effects = (*self._effects, BansMoved(pipeline.provider, pipeline.guard.news))
            pipeline.guard.news = News.NOTHING
        # An effect leaves the queue before it is performed: performing one may settle again.
        while self._effects:
            effect, *rest = self._effects
            self._effects = (*rest,)
            self._owner.perform(effect)

    def _breaker_moved(self) -> None:
        ledger, breaker = self.ledger, self.ledger.pipeline.breaker
        before, self._status = self._status, breaker.status
        if ledger.announcer.listening:
            cooling = breaker.status is BreakerStatus.OPEN
            probes_in = to_seconds(max(0, breaker.until - ledger.clock())) if cooling else 0.0
            ledger.announcer(instrumentation.BreakerChanged(ledger.scope, before, breaker.status, probes_in))
        self._effects = (*self._effects, BreakerMoved(before))

    def answer(self, waiter: Waiter | None, answer: Permit | Denied) -> None:
        """Answers a call that waits, after the effects that it must not overtake."""
        self.settle()
        if waiter is not None and not waiter.give(answer):
            self.leave(waiter)

    def dismiss(self, answer: Denied) -> None:
        """Denies every waiter."""
        for waiter in self.queue.take_all():
            self.answer(waiter, self.ledger.deny(answer))

    # Asks.

    def serve_before(self, now: Instant) -> None:
        """Serves the calls that wait, and may go before those that are decided on next."""
        self._serve_queue(now)
        if self.ledger.pipeline.shares:
            self.standing.serve_others()

    def decide(self, acquire: Acquire, waiter: Waiter | None, served_at: Instant | None = None) -> Permit | Denied | None:
        """A permit, a denial, or None: the waiter has joined the queue, served first unless it has been `served_at`."""
        ledger, request = self.ledger, acquire.request
        now = ledger.clock() if served_at is None else served_at
        self.retries.asks(now, acquire)
        if served_at is None:
            self.serve_before(now)
        ledger.named(request.units, acquire.caller)
        if (denied := ledger.over_budget(now, acquire)) is not None:
            return ledger.deny(denied)
        verdict = self._turn(now, acquire)
        if verdict.when > now and self._recall_for(now, request):
            verdict = self._turn(now, acquire)
        if verdict.when <= now:
            permit = self._grant(now, acquire)
            if self.queue and isinstance(permit, Permit):
                # It goes before all waiters, of which another one may be the first now.
                self.queue.overtaken_by(acquire)
                self._set_alarm(now)
            return permit
        timeout = acquire.timeout
        if self.leasing.holds_up(verdict) or isinstance(verdict.by, Mark):
            verdict, timeout = sooner(now, verdict), recall_timeout(timeout)
        if waiter is None or not wait_fits(now, verdict, timeout):
            if self._pauses_all(now, request, verdict):
                verdict = Verdict(self._turn(now, acquire).when, ledger.pipeline.cap)
            return ledger.deny(denial_of(ledger.scope, now, verdict))
        if not self.queue.has_room(acquire, self.max_waiting):
            return ledger.deny(Denied(ledger.scope, Reason.OVERLOADED, wait_of(now, verdict)))
        waiter.waits(now, ledger.pipeline.shared.number(), self._time(), timeout)
        self.queue = self.standing.queue = join(self.queue, waiter)
        self._set_alarm(now, joined=waiter)
        return None

    def _turn(self, now: Instant, acquire: Acquire) -> Verdict:
        """When a newcomer is granted: after all waiters that go before it, even if those wait for something else."""
        return earliest_behind(self.ledger.pipeline, now, acquire.request, self.queue.ahead_of(acquire), self.standing)

    def _pauses_all(self, now: Instant, request: Request, verdict: Verdict) -> bool:
        """Counts a denial that has no other reason than the global cap. True if degraded mode has begun with it."""
        pipeline = self.ledger.pipeline
        if verdict.by is not pipeline.cap or not only_the_cap_denies(pipeline, now, request):
            return False
        before = pipeline.degraded.until
        pipeline.degraded.deny(now, request, pipeline.provider)
        if pipeline.degraded.until == before:
            return False
        self._effects = (*self._effects, Signal.PAUSED)
        self.settle()
        return True

    def _grant(self, now: Instant, acquire: Acquire) -> Permit | Denied:
        """A permit for a request that the policies admit now, unless it is a retry that the budget does not allow."""
        unpaid = self.retries.pay(now, acquire)
        if unpaid is not None:
            return self.ledger.deny(unpaid)
        pipeline = self.ledger.pipeline
        grant = self.ledger.spend(now, acquire)
        free = pipeline.breaker.unrestricted and not pipeline.needs_outcome and not pipeline.guard.restricted
        make = Permit if free else HeldPermit
        return make(self._owner, grant.granted_at, grant.generation, grant, watched=acquire.watched)

    def denied(self, reason: Reason, retry_after: Duration | None) -> Denied:
        """A denial in this scope."""
        return Denied(self.ledger.scope, reason, None if retry_after is None else to_seconds(retry_after))

    def preview(self, now: Instant) -> Denied | None:
        """What a call for one request that cannot wait would be told; None if it would get a permit. Changes nothing."""
        verdict = self._turn(now, _PREVIEW)
        return None if verdict.when <= now or self.leasing.leases else denial_of(self.ledger.scope, now, verdict)

    def _recall_for(self, now: Instant, request: Request) -> bool:
        """Recalls what is granted ahead and stands in the way of a request. False if nothing does."""
        cap = self.ledger.pipeline.cap
        found = self.leasing.recall()
        found = self.standing.recall_for(now, request) or found
        if cap.leased and cap.earliest(now, request, self.queue.ahead()) > now:
            self._surroundings.recall_all()
            return True
        return found

    # The queue.

    @property
    def watched(self) -> bool:
        """Whether every ask takes a closer look: calls wait, or units are still looked at one by one."""
        return bool(self.queue) or self.ledger.units.watching

    def serve(self) -> bool:
        """Serves the queue, and then fills the lease if calls have found it empty. True if it was filled."""
        if not (self.queue or self.leasing.asked):
            return False
        now = self.ledger.clock()
        self._serve_queue(now)
        return self.leasing.serve(now, fill=not self.watched)

    def on_alarm(self, now: Instant) -> bool:
        """Looks after the lease, and serves. True if the lease is to be looked after again soon."""
        look = self.leasing.look(now, fill=not self.watched)
        self._serve_queue(now)
        return self.leasing.serve(now, fill=not self.watched) or look

    def _serve_queue(self, now: Instant) -> None:
        """Serves the head of the queue for as long as it can be served, and sets the alarm for the rest."""
        if not self.queue:
            return
        ledger = self.ledger
        while (waiter := self.queue.head()) is not None:
            request = waiter.acquire.request
            verdict = ledger.pipeline.verdict(now, request)
            if verdict.when > now and self._recall_for(now, request):
                verdict = ledger.pipeline.verdict(now, request)
            spent = ledger.over_budget(now, waiter.acquire)
            if spent is not None or verdict.when == NEVER:
                # A limit is smaller now than what it asks for; or its label, which must not hold up others, has spent a budget.
                self.queue.leave(waiter)
                self.answer(waiter, ledger.deny(spent or denial_of(ledger.scope, now, verdict)))
                continue
            if verdict.when > now or self.standing.is_behind(waiter):
                break
            permit = self._grant(now, waiter.acquire)
            if isinstance(permit, Denied):
                self.queue.leave(waiter)
                self.answer(waiter, permit)
                continue
            self.queue.serve(waiter)
            if self.standing:
                self.standing.leave()  # Before the next call is looked at, which has another place.
            self.answer(waiter, permit)
            if ledger.announcer.listening:
                ledger.announcer(instrumentation.Granted(ledger.scope, to_seconds(max(0, now - waiter.since))))
        self._set_alarm(now)

    def _set_alarm(self, now: Instant, *, joined: Waiter | None = None) -> None:
        """Sets the alarm for the head or the first deadline, and denies waiters whose turn comes after their deadline.

        Nothing if it has been set in this step for a head behind which another call has `joined`: to find the turn of the head
        costs more than the rest of that.
        """
        head = self.queue.head()
        if head is None or not (joined is None or joined is head or self.standing or joined.deadline < self._alarm.at):
            return
        verdict, wakes_at = self.standing.outlook(now, head)
        if self.leasing.holds_up(verdict):
            verdict = sooner(now, verdict)
            wakes_at = min(wakes_at, Instant(now + RECALL_INTERVAL))
        loop_now = self._time()
        # A microsecond more, because our clock counts whole ones: when the alarm rings, the instant has come.
        due = math.inf if verdict.when >= AFTER_OUTCOME else loop_now + to_seconds(verdict.when - now + 1)
        for waiter in self.queue.take_overdue(loop_now if verdict.sooner else due - _GRACE):
            pauses = self._pauses_all(now, waiter.acquire.request, verdict)
            self.answer(waiter, self.ledger.deny(denial_of(self.ledger.scope, now, verdict)))
            if pauses:
                self._set_alarm(now)  # For all others it is no longer the cap that decides.
                return
        if self.standing and self.queue.head() is not head:
            self._set_alarm(now)  # Another call takes over the place in the queues of shared limits.
            return
        if verdict.sooner:
            # An outcome may bring the turn forward, or never come: deadlines count.
            due = min(due, self.queue.next_deadline())
        if wakes_at < AFTER_OUTCOME:
            due = min(due, loop_now + to_seconds(wakes_at - now + 1))
        if self.queue:
            self._alarm.set(due)

    # Outcomes.

    def learn(self, message: Outcome) -> None:
        """The beginning of a response, what its server asks for, an outcome, or a grant that was never used."""
        ledger, degraded = self.ledger, self.ledger.pipeline.degraded
        if isinstance(message, Hinted):
            self._hear(message)
            self.settle()
            return
        if isinstance(message, RetryGivenUp):
            self.retries.release(ledger.clock())
            return
        if isinstance(message, Answered):
            message.at = now = ledger.clock()
            ledger.pipeline.answered(now, message.grant, message.status)
            ledger.judge(now, message)
            self.settle()
            return
        before = degraded.until
        if isinstance(message, Settled) or (isinstance(message, Report) and (message.result is Result.FAILURE or message.used)):
            # What is left may not be used any more, or there is less of it.
            self.leasing.recall_here()
        else:
            # The permit may come from the lease: it must not be given back before it is known to have been used.
            self.leasing.collect()
        # Read after what has been used is dated: a refund at an earlier instant would give back what has refilled by then.
        now = ledger.clock()
        if isinstance(message, Report):
            ledger.record(now, message)
            if degraded.due:
                degraded.decide(now, healthy=self._surroundings.is_any_healthy(now))
        elif isinstance(message, Settled):
            ledger.correct(now, message)
        elif isinstance(message, PlaceFreed):
            ledger.free_place(message)
        else:
            ledger.give_back(now, message)
        if degraded.until != before:
            self._effects = (*self._effects, Signal.PAUSED)
        self.leasing.recall_unless_free()
        self.standing.freed()
        self.settle()

    def _hear(self, message: Hinted) -> None:
        others = self._surroundings.sharing
        effects, changed = server_hints.hear(self.ledger, self.leasing, message, random=self._random, sharing=others)
        if changed:  # At once here: the next call may come before the loop goes on.
            self.go_on_with(others.pipeline(self.ledger))
        self._effects += (*effects,)

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits. A permit that it was given meanwhile is given back."""
        answer = waiter.answer
        if not self.queue.leave(waiter) and isinstance(answer, Permit) and not answer.reported:
            answer.reported = True
            self.learn(answer.grant())

    # Changes.

    def resumed(self) -> None:
        """The passive actor has been asked."""
        self._effects = (*self._effects, Signal.RESUMED)

    def set_breaker(self, open_for: Duration | None) -> None:
        """Opens the breaker by hand for `open_for`, or closes it (None)."""
        self.leasing.recall()
        now = self.ledger.clock()
        self.ledger.pipeline.force_breaker(now, None if open_for is None else Instant(now + open_for))

    def reset(self) -> None:
        """Forgets what the server has said and rejected, as an operator asks for, and what the provider has forgotten."""
        pipeline = self.ledger.pipeline
        pipeline.own_cooldown.reset()
        pipeline.own_server.reset()
        pipeline.guard.reset()
        self.go_on_with(self._surroundings.sharing.pipeline(self.ledger))

    def go_on_with(self, pipeline: Pipeline) -> None:
        """Grants by other policies from now on, which take over where those so far stand."""
        self.leasing.recall()
        self.standing.leave()
        before = self.ledger.pipeline
        pipeline.carry_over(self.ledger.clock(), before)
        self.ledger.use(pipeline)
        self.leasing.follow(before)
