"""Who decides for one scope? Its actor: the only writer of the scope's state.

An ask on the actor's own loop is handed over directly: the handler runs at once, in place, and the answer is there before the
caller could have been suspended. Only a caller who must wait is: in one queue per scope, with one alarm for its head. At its
bound, `max_waiting`, the queue answers `overloaded`.

For callers elsewhere an ask is a message and an answer between threads. When they ask often, and nobody waits, permits are
granted ahead into a lease, from which they take without asking. The actor takes back what is left whenever somebody else needs
it, whenever nobody has used any of it for a while, and always before it reads that a call has failed.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import repeat, starmap
from random import Random
from typing import Final, final

import msgspec

from governor._actors.actor import NOMINAL_WAIT, Actor
from governor._actors.counters import CounterRecord, Counters
from governor._actors.lease import LOOK_INTERVAL, Demand, Lease
from governor._actors.permit import HeldPermit, Permit
from governor._actors.portal import Portal
from governor._actors.queue import Waiter, WaitQueue
from governor._actors.units import UnitWatch
from governor._failures import DEFAULT, Classifier
from governor._units import AFTER_OUTCOME, MINUTE, NEVER, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.instrumentation import Announcer, BreakerChanged, CallDenied, Granted, LeaseRevoked, Retried
from governor.messages import Acquire, Answered, Denied, PlanRetry, Report
from governor.policies.breaker import BreakerStatus
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.limits import LimitPolicy
from governor.policies.pipeline import Pipeline, Verdict
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.retry import Retry, RetryEnd, plan
from governor.policies.retry_budget import RetryBudgetPolicy
from governor.policies.turn import turn

_log: Final = logging.getLogger("governor")

#: A clock that stands still must not turn the alarm into a busy loop.
_STILL_CLOCK_NAP: Final = 0.01
#: By how many seconds timers may be late before a waiter whose deadline and turn coincide is refused instead of served.
_GRACE: Final = 0.001
#: The attempts that need nothing but a permit: the only one of a call, and the first of an operation.
_FROM_THE_LEASE: Final = (None, 1)
#: A scope in which no call has gone well for so long is not known to be healthy.
RECENT: Final = Duration(5 * MINUTE)
#: What a plain ask that does not wait comes to, when it needs a closer look.
_TRY: Final = Acquire(PLAIN)


@final
class ScopeActor(Actor):
    """The address and the behaviour of one scope. Everything but `send` and `take` belongs to the thread of `portal`.

    `start` gives the actor a task when it rises from rest; `publish` is called when degraded mode has moved, so that all
    scopes see it at once, and `recall` to have all scopes take back what they have granted ahead; an actor that has granted
    something ahead is one of `leasing`. `judge` decides whether a run of failures that is long enough begins degraded mode.
    `on_breaker` is told of each change of the breaker, and `on_high_use` when use of the global cap is high.
    """

    __slots__ = (
        "_budget",
        "_announcer",
        "_asks_from_elsewhere",
        "_cap",
        "_catching_up",
        "_demand",
        "_generation",
        "_lease",
        "_leasing",
        "_limits",
        "_queue",
        "_make",
        "_judge",
        "_on_breaker",
        "_on_high_use",
        "_publish",
        "_random",
        "_rang_at",
        "_recall_all",
        "_retry",
        "_start",
        "_status",
        "_units",
        "_succeeded",
        "_succeeded_by",
        "awaits_answers",
        "classifier",
        "counters",
        "degraded",
        "failures",
        "gate",
        "listens",
        "pipeline",
        "pop_leased",
        "successes",
    )

    #: No permit is granted before this instant without a closer look.
    gate: Instant
    #: Whether a success would change anything but the counters, and whether the beginning of an answer would.
    listens: bool
    awaits_answers: bool
    _cap: RequestCapPolicy
    _generation: int
    _limits: tuple[LimitPolicy, ...]
    _make: type[Permit]
    pop_leased: Callable[[], Permit]
    successes: deque[int | None]

    def __init__(
        self,
        scope: str,
        pipeline: Pipeline,
        *,
        portal: Portal,
        now: Callable[[], Instant],
        retry: Retry,
        budget: RetryBudgetPolicy,
        random: Random,
        max_waiting: int,
        start: Callable[["ScopeActor"], None],
        publish: Callable[[], None],
        recall_all: Callable[[], None],
        judge: Callable[[Instant], None],
        on_breaker: Callable[["ScopeActor", BreakerStatus], None],
        on_high_use: Callable[[Instant], None],
        announcer: Announcer,
        classifier: Classifier = DEFAULT,
        leasing: "set[ScopeActor] | None" = None,
    ) -> None:
        super().__init__(scope, portal=portal, now=now, max_waiting=max_waiting)
        self.pipeline = pipeline
        self.degraded = pipeline.degraded
        self.counters = Counters()
        self._units = UnitWatch(scope)
        self._limits = ()
        self._retry = retry
        self._budget = budget
        self._random = random
        self._start = start
        self._publish = publish
        self._recall_all = recall_all
        self._judge = judge
        self._on_breaker = on_breaker
        self._on_high_use = on_high_use
        self._leasing: set[ScopeActor] = set() if leasing is None else leasing
        self._announcer = announcer
        self.classifier = classifier
        self._status = pipeline.breaker.status
        self._queue = WaitQueue()
        self._lease = Lease()
        #: What `take` comes to while `inbox` is empty, for callers to whom a function call is much; raises IndexError.
        self.pop_leased = self._lease.take
        self.successes = self._lease.successes
        self.failures = portal.failures
        self._demand = Demand()
        self._asks_from_elsewhere = 0
        self._catching_up = False
        self._rang_at = Instant(-1)
        # How many calls had gone well, and when that number was first seen.
        self._succeeded = 0
        self._succeeded_by = Instant(0)
        self.regate()

    # The lease, for callers on other threads.

    def take(self) -> Permit | None:
        """One request out of the lease, on any thread; None if nothing is left, or if something is to be read first.

        Whoever has reported a failure, in whichever scope, finds nothing here before it has been read, and nobody gets ahead
        of those who have asked for more than one. Asks for one need no such care: they were sent because nothing was left.
        """
        if self.large or self.failures:
            return None
        try:
            return self.pop_leased()
        except IndexError:
            return None

    def take_first(self) -> Permit | None:
        """The same for the first attempt of an operation, which pays into the retry budget."""
        permit = self.take()
        if permit is not None:
            self._lease.deposits.append(None)
        return permit

    # The direct hand-off, for callers on the actor's own thread.

    def grab(self) -> Permit | None:
        """One request, at once; None if that takes a closer look, or is not possible."""
        clock = self._now  # Fetched and called in two steps: CPython 3.11 is slower with functions that are attributes.
        now = clock()
        if now < self.gate or self.inbox or self.failures or self._busy:
            return None
        policy: LimitPolicy | RequestCapPolicy = self._cap
        if now < policy.ready:
            return None
        self._busy = True
        try:
            for policy in self._limits:
                policy.commit(now, PLAIN)
                if policy.ready > now:
                    self.gate = max(self.gate, Instant(policy.ready))
            policy = self._cap
            policy.commit(now, PLAIN)
            self.counters.requests += 1
            make = self._make
            return make(self, now, self._generation)
        except Exception as error:
            self._undo(now, policy)
            self._crashed(error)
            return None
        finally:
            self._busy = False

    def try_acquire(self) -> Permit | Denied:
        """One request, now or not at all."""
        return self.grab() or self.acquire(_TRY, None) or self._denied(Reason.OVERLOADED, NOMINAL_WAIT)

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """Any ask. None means that the waiter has joined the queue and will be woken."""
        if self._busy:
            return self._denied(Reason.OVERLOADED, NOMINAL_WAIT)
        self._busy = True
        try:
            self._drain()
            self._hear_failures()
            return self._ask(acquire, waiter)
        except Exception as error:
            return self._crashed(error)
        finally:
            self._busy = False

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""
        self.tell_leave(waiter)

    def plan_retry(self, message: PlanRetry) -> float | None:
        """Seconds to wait before the next attempt, or None if there is to be none. A yes is paid for from the budget."""
        self.catch_up()
        now = self._now()
        deadline = None if message.remaining is None else Instant(now + message.remaining)
        delay = plan(
            self._retry,
            attempt=message.attempt,
            now=now,
            deadline=deadline,
            server_wait=message.server_wait,
            random=self._random,
        )
        if isinstance(delay, RetryEnd) or not self._budget.withdraw(now):
            return None
        return to_seconds(delay)

    # The life of the scope.

    def reconfigure(self, pipeline: Pipeline, retry: Retry, budget: RetryBudgetPolicy, max_waiting: int) -> bool:
        """Other settings from now on: a pipeline that goes on from where the one so far stands, and the rest.

        False, and nothing has changed, if a handler is at work: it must end under the settings with which it began.
        """
        if self._busy:
            return False
        self._retry = retry
        self._budget = budget
        self._max_waiting = max_waiting
        # By then whatever was reported has been read, for which the pipeline so far was made.
        self._run(partial(self._go_on_with, pipeline))
        return True

    def _go_on_with(self, pipeline: Pipeline) -> None:
        self.recall()
        pipeline.take_over(self._now(), self.pipeline)
        self.pipeline = pipeline
        self.regate()
        self._serve()

    def reopen(self, pipeline: Pipeline) -> None:
        """Sets up again after a crash, with policies that stand where the old ones stood."""
        self.pipeline = pipeline
        self._live_again()
        self.regate()

    def regate(self) -> None:
        """Takes note that the breaker or degraded mode may have moved: copies what `grab` and permits read."""
        pipeline = self.pipeline
        pipeline.regate()
        if self._limits is not pipeline.limits:
            self._units.follow(pipeline.limits, self.counters.requests)
        watched = self._queue or self._closed or self._passive or self._units.watching
        self.gate = NEVER if watched else pipeline.gate
        self.listens = pipeline.holds or pipeline.breaker.listens
        self.awaits_answers = pipeline.breaker.awaits_answers
        self._make = HeldPermit if pipeline.holds else Permit
        self._generation = pipeline.breaker.generation
        self._limits = pipeline.limits
        self._cap = pipeline.cap
        if pipeline.breaker.status is not self._status:
            self._breaker_changed()

    def on_published(self) -> None:
        """Degraded mode has moved: whoever waits may have to wait longer, or not at all."""
        self.recall()
        self.regate()
        if self._queue:
            self._run_soon()

    def is_healthy(self, now: Instant) -> bool:
        """Is its breaker closed, was its latest outcome no failure, and has a call gone well lately?

        Lately is within `RECENT`, as far as can be told from what was found when it was asked before.
        """
        counters, breaker = self.counters, self.pipeline.breaker
        succeeded = counters.answered_2xx + counters.answered_4xx + counters.others + len(self.successes)
        if succeeded != self._succeeded:
            self._succeeded, self._succeeded_by = succeeded, now
        well = breaker.status is BreakerStatus.CLOSED and not breaker.failures
        return well and succeeded > 0 and now - self._succeeded_by < RECENT

    def asks(self) -> int:
        """How often it was asked."""
        return self.counters.requests + sum(self.counters.denied.values())

    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._queue)

    def stuck(self) -> set[int]:
        """The threads that wait here for what no passage of time will give."""
        return self._queue.threads() if self._alarm == math.inf and not self.inbox and not self.outcomes else set()

    def refusal(self, now: Instant) -> Denied | None:
        """What a plain ask that does not wait would be told; None if it would get a permit. Asking this changes nothing."""
        if self._closed is not None:
            down = self._down_until
            return self._closed if down is None else self._denied(self._closed.reason, max(1, down - now))
        verdict = self._turn(now, PLAIN)
        return None if verdict.when <= now or self._lease.outstanding else self._denial(now, verdict)

    def unknown_units(self) -> tuple[str, ...]:
        """Units that calls have named and no limit counts."""
        return self._units.unknown()

    def uncharged_units(self) -> tuple[str, ...]:
        """Units that a limit counts and no call has named."""
        return self._units.uncharged()

    def may_be_dropped(self) -> bool:
        """Is it at rest, with nothing to answer, to read or to take back? All that is known of its permits has been learned."""
        if self._busy or not self._passive or self._closed is not None:
            return False
        self.catch_up()
        return not (self._queue or self.inbox or self.outcomes or self._lease.outstanding)

    def drop(self, late: Counters) -> None:
        """Ends, because the scope makes room. Outcomes that are still to come are counted in `late`.

        Somebody may hold its address still: two actors for one scope would grant twice as much.
        """
        self.close(Reason.OVERLOADED, NOMINAL_WAIT)
        self.counters = late
        # Outcomes are to come as messages, from whichever thread: what is only left for the actor is never read.
        self.pipeline.holds = True
        self.regate()

    @property
    def units(self) -> UnitWatch:
        """What is known of units without effect."""
        return self._units

    def go_on_from(self, counters: CounterRecord, units: UnitWatch, *, limits_changed: bool) -> None:
        """Takes over what was counted and seen before the scope was set aside."""
        self.counters.go_on_from(counters)
        self._units = units
        if limits_changed:
            units.follow(self.pipeline.limits, counters.requests)
        self.regate()

    def leased(self) -> int:
        """How many permits are granted ahead and, as far as it knows, not used."""
        return self._lease.outstanding

    def _halt(self) -> None:
        self.catch_up()
        self.recall()
        self.gate = NEVER

    def _resume(self) -> None:
        self._live_again()
        self.regate()
        self._start(self)

    def _dismiss(self, answer: Denied) -> None:
        for waiter in self._queue.take_all():
            self._answer(waiter, self._count(answer))

    def _count(self, denied: Denied) -> Denied:
        counts = self.counters.denied
        counts[denied.reason] = counts.get(denied.reason, 0) + 1
        if self._announcer.listening:
            self._announcer(CallDenied(denied.scope, denied.reason, denied.retry_after))
        return denied

    def _breaker_changed(self) -> None:
        breaker = self.pipeline.breaker
        before, self._status = self._status, breaker.status
        if self._announcer.listening:
            probes_in = to_seconds(max(0, breaker.until - self._now())) if breaker.status is BreakerStatus.OPEN else 0.0
            self._announcer(BreakerChanged(self.scope, before.value, breaker.status.value, probes_in))
        self._on_breaker(self, before)

    # Asks.

    def _decide(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        now = self._now()
        self._serve_queue()
        request = acquire.request
        if request.units:
            self._units.named(request.units)
        verdict = self._turn(now, request)
        if verdict.when > now and self._recall_for(now, request):
            verdict = self._turn(now, request)
        if verdict.when <= now:
            return self._grant(now, acquire)
        if waiter is None or not _wait_fits(now, verdict, acquire.timeout):
            if self._pauses_all(now, request, verdict):
                verdict = Verdict(self._turn(now, request).when, self._cap)
            return self._refuse(now, verdict)
        if len(self._queue) >= self._max_waiting:
            return self._count(self._denied(Reason.OVERLOADED, _wait(now, verdict)))
        if acquire.timeout is not None:
            waiter.deadline = self._portal.time() + acquire.timeout
        waiter.since = now
        self._queue.join(waiter)
        self.gate = NEVER
        self._set_alarm(now)
        return None

    def _turn(self, now: Instant, request: Request) -> Verdict:
        """When would it be a newcomer's turn? After everybody in the queue, even if those wait for something else."""
        return turn(self.pipeline, now, request, self._queue)

    def _pauses_all(self, now: Instant, request: Request, verdict: Verdict) -> bool:
        """Counts a denial that has no other reason than the global cap. Has degraded mode begun with it?"""
        if verdict.by is not self._cap or not self.pipeline.only_the_cap_refuses(now, request):
            return False
        before = self.degraded.until
        self.degraded.deny(now, request, self.pipeline.provider)
        if self.degraded.until == before:
            return False
        self._publish()
        return True

    def _grant(self, now: Instant, acquire: Acquire) -> Permit:
        if acquire.attempt == 1:
            self._budget.deposit(now)  # First, because a crash after the commit would lose what was spent.
        grant = self.pipeline.commit(now, acquire.request)
        self.counters.requests += 1
        self._units.granted(self.counters.requests)
        if acquire.attempt is not None and acquire.attempt > 1:
            self.counters.retries += 1
            if self._announcer.listening:
                self._announcer(Retried(self.scope, acquire.attempt))
        # Whatever the grant has spent must bar the way for the next `grab`.
        self.regate()
        counted = not self.pipeline.breaker.unrestricted
        make = HeldPermit if counted or self.pipeline.holds else Permit
        if self._cap.warns:
            self._on_high_use(now)
        return make(self, grant.granted_at, grant.generation, grant)

    def _refuse(self, now: Instant, verdict: Verdict) -> Denied:
        return self._count(self._denial(now, verdict))

    def _denial(self, now: Instant, verdict: Verdict) -> Denied:
        if verdict.when == NEVER:
            return self._denied(Reason.COST, None)
        reason = Reason.RATE_LIMIT if verdict.by is None else verdict.by.reason
        return self._denied(reason, _wait(now, verdict))

    def _undo(self, now: Instant, failed: LimitPolicy | RequestCapPolicy) -> None:
        """A policy failed to commit: those before it have, and must not have."""
        grant = Grant(now, self.pipeline.breaker.generation)
        for policy in self.pipeline.spending:
            if policy is failed:
                break
            policy.refund(now, grant, None)

    def _recall_for(self, now: Instant, request: Request) -> bool:
        """Whoever is refused comes before whoever might come: takes back what stands in the way. False if nothing did."""
        found = self.recall()
        if self._cap.lent and self._cap.earliest(now, request, self._queue.ahead()) > now:
            self._recall_all()
            return True
        return found

    # What is granted ahead.

    def recall(self) -> bool:
        """Takes back what is granted ahead: nobody may have it, or somebody needs it. False if nothing is out."""
        if not self._lease.outstanding:
            self._leasing.discard(self)
            return False
        back = self._reclaim()
        if back and self._announcer.listening:
            self._announcer(LeaseRevoked(self.scope, back))
        return True

    def _reclaim(self) -> int:
        now = self._now()
        self._leasing.discard(self)
        back = self._lease.recall()
        self._learn_used()
        self.pipeline.reclaim(now, back)
        self.regate()
        return back

    def catch_up(self) -> None:
        """Learns what callers elsewhere have done with what is granted ahead."""
        if self._catching_up:
            return  # Asked by a signal handler that came in between.
        self._catching_up = True
        try:
            # Successes first: a call is counted as made before it is counted as ended.
            successes = self._lease.learn_successes()
            self._learn_used()
            for status, times in successes.items():
                self.counters.ended(status, Result.SUCCESS, times)
            deposits = self._lease.learn_deposits()
            if deposits:
                now = self._now()
                for _ in range(deposits):
                    self._budget.deposit(now)
        finally:
            self._catching_up = False

    def _learn_used(self) -> None:
        """Spends what has been used. The clock is read after the count.

        Another thread may take a permit between the two: a use dated before it happened would be refilled too early.
        """
        used = self._lease.unseen()
        if used:
            now = self._now()
            self._lease.learn_used(used)
            self.pipeline.collect(now, used)
            self.counters.requests += used
            if self._cap.warns:
                self._on_high_use(now)

    def _drain(self) -> None:
        if self._lease.outstanding or self.successes or self._lease.deposits:
            self.catch_up()
        super()._drain()

    def _take_ask(self, acquire: Acquire, waiter: Waiter | None) -> None:
        super()._take_ask(acquire, waiter)
        if acquire.request is PLAIN and acquire.attempt in _FROM_THE_LEASE and not self._lease:
            self._asks_from_elsewhere += 1

    def _grant_ahead(self, now: Instant) -> None:
        """Fills the lease up to what the demand is worth, as far as there are permits to spare."""
        wanted = self._demand.size - len(self._lease)
        if wanted <= 0 or now < self.gate:
            return
        count = min(wanted, self.pipeline.lendable(now))
        if count < wanted:
            self._demand.given(len(self._lease) + count)
        if count:
            # Accounted for first: from the moment they are in the lease they may be used.
            self._leasing.add(self)
            self.pipeline.lend(now, count)
            self._lease.add(starmap(self._make, repeat((self, now, self._generation), count)), count)
            self.regate()
            self._look_again()

    def _look_after_lease(self, now: Instant) -> None:
        """Learns at what pace permits are used, and takes back what nobody uses."""
        lease = self._lease
        if lease.outstanding or lease.used:
            self._demand.looked(now, lease.used)
            lease.used = 0
            self._grant_ahead(now)
            if not self._demand.size:
                self._reclaim()
            elif lease.outstanding:
                self._look_again()

    def _look_again(self) -> None:
        self._ring_at(min(self._alarm, self._portal.time() + to_seconds(LOOK_INTERVAL)))

    # The line.

    def _serve(self) -> None:
        self._serve_queue()
        if self._asks_from_elsewhere and not self._queue:
            now = self._now()
            self._demand.short(now, self._asks_from_elsewhere)
            self._grant_ahead(now)
        self._asks_from_elsewhere = 0

    def _serve_queue(self) -> None:
        """Serves the head of the queue for as long as it can be served, and sets the alarm for the rest."""
        if not self._queue:
            return
        now = self._now()
        while (waiter := self._queue.head()) is not None:
            request = waiter.acquire.request
            verdict = self.pipeline.verdict(now, request)
            if verdict.when > now and self._recall_for(now, request):
                verdict = self.pipeline.verdict(now, request)
            if verdict.when == NEVER:
                # A limit has become smaller than what it asks for.
                self._queue.leave(waiter)
                self._answer(waiter, self._refuse(now, verdict))
                continue
            if verdict.when > now:
                break
            permit = self._grant(now, waiter.acquire)
            self._queue.leave(waiter)
            self._answer(waiter, permit)
            if self._announcer.listening:
                self._announcer(Granted(self.scope, to_seconds(max(0, now - waiter.since))))
        if self._queue:
            self._set_alarm(now)
        else:
            self.regate()

    def _on_alarm(self) -> None:
        now = self._now()
        still = now == self._rang_at
        self._rang_at = now
        self._look_after_lease(now)
        self._serve()
        if still:
            self._alarm = max(self._alarm, self._portal.time() + _STILL_CLOCK_NAP)

    def _set_alarm(self, now: Instant) -> None:
        """The head's instant, or the first deadline. Whoever would be served only after their deadline is refused at once."""
        head = self._queue.head()
        if head is None:
            return
        verdict = self.pipeline.verdict(now, head.acquire.request)
        loop_now = self._portal.time()
        # A microsecond more, because our clock counts whole ones: when the alarm rings, the instant has come.
        due = math.inf if verdict.when >= AFTER_OUTCOME else loop_now + to_seconds(verdict.when - now + 1)
        for waiter in self._queue.take_overdue(loop_now if verdict.sooner else due - _GRACE):
            pauses = self._pauses_all(now, waiter.acquire.request, verdict)
            self._answer(waiter, self._refuse(now, verdict))
            if pauses:
                self._set_alarm(now)  # For all others it is no longer the cap that decides.
                return
        if not self._queue:
            self.regate()
            return
        if verdict.sooner:
            # It may be anybody's turn before then, or nobody's: deadlines count.
            due = min(due, self._queue.next_deadline())
        self._ring_at(due)

    # Outcomes.

    def _learn(self, message: Answered | Report | Grant) -> None:
        if isinstance(message, Answered):
            message.at = now = self._now()
            self.pipeline.answered(now, message.grant, message.status)
            self.regate()
            return
        before = self.degraded.until
        if isinstance(message, Report) and (message.result is Result.FAILURE or message.used):
            # Nobody may have what is left, perhaps, or there is less of it.
            self.recall()
        else:
            # What it is about has been used before: it must not be given back before it is known to have been.
            self._learn_used()
        # Read after what has been used is dated: a refund at an earlier instant would give back what has refilled by then.
        now = self._now()
        if isinstance(message, Report):
            self.counters.ended(message.status, message.result)
            if message.used:
                self._units.named(message.used)
            self.pipeline.record(now, _answered(message), message.result, message.used)
            if self.pipeline.dropped:
                self._count_dropped(self.pipeline)
            if self.degraded.due:
                self._judge(now)
        else:
            self.counters.neutral += 1
            self.pipeline.refund(now, message)
        self.regate()
        if self.degraded.until != before:
            self._publish()

    def _count_dropped(self, pipeline: Pipeline) -> None:
        """Counts what was used beyond the debt that a limit may be in; the first time for each unit it is warned of."""
        counted = self.counters.dropped
        for unit, amount in pipeline.dropped.items():
            if unit not in counted:
                _log.warning(
                    "%s: a call has used more %s than max_debt = %g lets it owe; %d of them are dropped.",
                    self.scope,
                    unit,
                    pipeline.max_debt,
                    amount,
                )
            counted[unit] = counted.get(unit, 0) + amount
        pipeline.dropped.clear()

    def _leave(self, waiter: Waiter) -> None:
        if not self._queue.leave(waiter) and isinstance(waiter.answer, Permit) and not waiter.answer.reported:
            # Granted in the moment of leaving: nobody will ever use it.
            waiter.answer.reported = True
            self._learn(waiter.answer.grant())


def _answered(report: Report) -> Grant:
    """The grant of an outcome, with the instant at which its answer began, if it was read."""
    answered = report.answered
    if answered is None or answered.at is None:
        return report.grant
    return msgspec.structs.replace(report.grant, answered_at=answered.at)


def _wait_fits(now: Instant, verdict: Verdict, timeout: float | None) -> bool:
    if verdict.when == NEVER:
        return False
    due = verdict.not_before if verdict.sooner else verdict.when
    return timeout is None or (timeout > 0 and to_seconds(due - now) <= timeout)


def _wait(now: Instant, verdict: Verdict) -> Duration:
    """From now until then, and at least a microsecond: nobody is told to come back at once.

    An outcome may come at any moment from the first on at which it helps.
    """
    if not verdict.sooner:
        return Duration(max(1, verdict.when - now))
    certain = max(0, verdict.not_before - now)
    return Duration(max(1, certain + min(verdict.when - now - certain, NOMINAL_WAIT)))
