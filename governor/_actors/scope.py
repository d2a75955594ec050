"""Who decides for one scope? Its actor: the only writer of the scope's state.

An ask on the actor's own loop is handed over directly: the handler runs at once, in place, and the answer is there before
the caller could have been suspended. Handlers are synchronous and run to the end, so it is still one message at a time.
Asks from other threads come through the inbox. The actor's task sleeps until the one alarm of its waiting line.

At its bounds: a full inbox or a full line answers `overloaded`. Outcomes are always taken; there is at most one for each
permit.
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Final, final

import anyio

from governor._actors.counters import Counters
from governor._actors.home import Home
from governor._actors.line import Line, Waiter
from governor._actors.permit import HeldPermit, Permit
from governor._units import AFTER_OUTCOME, NEVER, SECOND, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Denied, Leave, PlanRetry, Report
from governor.policies.breaker import BreakerStatus
from governor.policies.contract import PLAIN, Grant, Request
from governor.policies.limits import LimitPolicy
from governor.policies.pipeline import Pipeline, Verdict
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.retry import Retry, RetryEnd, plan
from governor.policies.retry_budget import RetryBudgetPolicy

#: How long to wait before asking again when only somebody else's outcome can make room, and nobody knows when it comes.
_NOMINAL_WAIT: Final = SECOND
#: A clock that stands still must not turn the alarm into a busy loop.
_STILL_CLOCK_NAP: Final = 0.01

#: By how many seconds timers may be late before a waiter whose deadline and turn coincide is refused instead of served.
_GRACE: Final = 0.001
#: What a plain ask that does not wait comes to, when it needs a closer look.
_TRY: Final = Acquire(PLAIN)

Message = Acquire | Leave | Report | Grant


@final
class ScopeActor:
    """The address and the behaviour of one scope. Everything but `send` belongs to the thread of `home`.

    `start` gives the actor a task when it rises from rest; `publish` is called when degraded mode has moved, so that all
    scopes see it at once.
    """

    __slots__ = (
        "_alarm",
        "_budget",
        "_busy",
        "_closed",
        "_cap",
        "_crash",
        "_down_until",
        "_generation",
        "_home",
        "_inbox",
        "_knocked",
        "_line",
        "_limits",
        "_make",
        "_max_waiting",
        "_now",
        "_publish",
        "_random",
        "_rang_at",
        "_resting",
        "_retry",
        "_start",
        "_timer",
        "_wake",
        "counters",
        "degraded",
        "gate",
        "listens",
        "pipeline",
        "scope",
        "thread",
    )

    def __init__(
        self,
        scope: str,
        pipeline: Pipeline,
        *,
        home: Home,
        now: Callable[[], Instant],
        retry: Retry,
        budget: RetryBudgetPolicy,
        random: Random,
        max_waiting: int,
        start: Callable[["ScopeActor"], None],
        publish: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.pipeline = pipeline
        self.counters = Counters()
        self.thread = home.thread
        #: No permit is granted before this instant without a closer look.
        self.gate = Instant(0)
        self.degraded = pipeline.degraded
        self._home = home
        self._now = now
        self._retry = retry
        self._budget = budget
        self._random = random
        self._max_waiting = max_waiting
        self._start = start
        self._publish = publish
        self._resting = False
        self._line = Line()
        self._inbox: deque[tuple[Message, Waiter | None]] = deque()
        self._knocked = False
        self._busy = False
        self._closed: Denied | None = None
        self._down_until: Instant | None = None
        self._crash: Exception | None = None
        self._wake = anyio.Event()
        self._timer: anyio.CancelScope | None = None
        self._alarm = math.inf
        self._rang_at = Instant(-1)
        self.listens = True
        # Copies of what `grab` reads, kept true by `regate`.
        self._make: type[Permit] = Permit
        self._generation = 0
        self._limits = pipeline.limits
        self._cap = pipeline.cap
        self.regate()

    # The direct hand-off, for callers on the actor's own thread.

    def grab(self) -> Permit | None:
        """One request, at once; None if that takes a closer look, or is not possible."""
        clock = self._now  # Fetched and called in two steps: CPython 3.11 is slower with functions that are attributes.
        now = clock()
        if now < self.gate or self._inbox or self._busy:
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
            self._take_back(now, policy)
            self._crashed(error)
            return None
        finally:
            self._busy = False

    def try_acquire(self) -> Permit | Denied:
        """One request, now or not at all."""
        return self.grab() or self.acquire(_TRY, None) or self._denied(Reason.OVERLOADED, _NOMINAL_WAIT)

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """Any ask. None means that the waiter has joined the line and will be woken."""
        if self._busy:
            return self._denied(Reason.OVERLOADED, _NOMINAL_WAIT)
        self._busy = True
        try:
            self._drain()
            return self._acquire(acquire, waiter)
        except Exception as error:
            return self._crashed(error)
        finally:
            self._busy = False

    def report(self, report: Report) -> None:
        """Any outcome."""
        self._tell(report)

    def give_back(self, grant: Grant) -> None:
        """A permit that was never used."""
        self._tell(grant)

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits."""
        self._tell(Leave(), waiter)

    def plan_retry(self, message: PlanRetry) -> float | None:
        """Seconds to wait before the next attempt, or None if there is to be none. A yes is paid for from the budget."""
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

    # The mailbox, for everybody else.

    def send(self, message: Message, waiter: Waiter | None = None) -> None:
        """Leaves a message, from any thread. An ask that cannot be taken is answered here and now."""
        if isinstance(message, Acquire) and len(self._inbox) >= self._max_waiting:
            self._answer(waiter, self._denied(Reason.OVERLOADED, _NOMINAL_WAIT))
            return
        self._inbox.append((message, waiter))
        if not self._knocked:
            self._knocked = True
            if not self._home.knock(self._on_knock):
                self._knocked = False
                self._close_inbox(self._denied(Reason.SHUTTING_DOWN, None))
        # The actor may have closed its inbox between the look and the append: whoever comes last empties it.
        if self._closed is not None and self._closed.reason is Reason.SHUTTING_DOWN:
            self._close_inbox(self._closed)

    def _on_knock(self) -> None:
        # Before draining: a message that arrives from here on knocks again, so none is left lying.
        self._knocked = False
        self._run(self._pump)

    # The task.

    async def run(self) -> None:
        """Sleeps until the alarm, and serves the line when it rings.

        Ends when the actor rests or is closed; raises what made it crash.
        """
        wake = self._wake  # A later life of this actor has an event of its own.
        while not wake.is_set():
            with anyio.CancelScope(deadline=self._alarm) as timer:
                self._timer = timer
                await wake.wait()
            if self._timer is timer:
                self._timer = None
            if not wake.is_set():
                self._alarm = math.inf
                self._run(self._on_alarm)
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash

    def rest(self) -> None:
        """Ends the task of an actor that nobody has asked for a while. The next ask wakes it up as it was."""
        self._resting = True
        self.gate = NEVER
        self._wake.set()

    def close(self, reason: Reason, retry_after: Duration | None, *, until: Instant | None = None) -> None:
        """Tears down: says why, closes the mailbox, answers whoever is left, in this order.

        Who asks later is told the same, or, with `until`, what is left of the time until then.
        """
        self._closed = self._denied(reason, retry_after)
        self._down_until = until
        self.gate = NEVER
        self._wake.set()
        self._close_inbox(self._closed)
        for waiter in self._line.take_all():
            self._answer(waiter, self._closed)

    def reopen(self, pipeline: Pipeline) -> None:
        """Sets up again after a crash, with policies that stand where the old ones stood."""
        self.pipeline = pipeline
        self._closed = None
        self._down_until = None
        self._crash = None
        self._resting = False
        self._wake = anyio.Event()
        self._alarm = math.inf
        self.regate()

    def regate(self) -> None:
        """Takes note that the breaker or degraded mode may have moved."""
        pipeline = self.pipeline
        pipeline.regate()
        self.gate = NEVER if self._line or self._closed or self._resting else pipeline.gate
        self.listens = pipeline.holds or pipeline.breaker.listens
        self._make = HeldPermit if pipeline.holds else Permit
        self._generation = pipeline.breaker.generation
        self._limits = pipeline.limits

    def on_published(self) -> None:
        """Degraded mode has moved: whoever waits may have to wait longer, or not at all."""
        self.regate()
        if self._line:
            self._run(self._pump)

    def asks(self) -> int:
        """How often it was asked."""
        return self.counters.requests + sum(self.counters.refused.values())

    def waiting(self) -> int:
        """How many are in the line."""
        return len(self._line)

    # One message at a time.

    def _run(self, step: Callable[[], object]) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            self._drain()
            step()
        except Exception as error:
            self._crashed(error)
        finally:
            self._busy = False

    def _tell(self, message: Leave | Report | Grant, waiter: Waiter | None = None) -> None:
        self._inbox.append((message, waiter))
        if self._busy:
            # Told from inside a handler (a finalizer, a signal handler): the knock makes sure that it is read.
            self._home.knock(self._on_knock)
        else:
            self._run(self._pump)

    def _drain(self) -> None:
        while self._inbox:
            try:
                message, waiter = self._inbox.popleft()
            except IndexError:
                return  # Another thread has found the mailbox closed, and emptied it.
            match message:
                case Acquire():
                    self._take_ask(message, waiter)
                case Leave():
                    self._leave(waiter)
                case Report():
                    self._report(message)
                case Grant():
                    self._refund(message)

    def _take_ask(self, acquire: Acquire, waiter: Waiter | None) -> None:
        try:
            answer = self._acquire(acquire, waiter)
        except Exception:
            # It has left the inbox, and whoever is in the line will be answered there: nobody must be forgotten in between.
            if waiter is not None and waiter not in self._line:
                self._answer(waiter, self._count(self._denied(Reason.OVERLOADED, _NOMINAL_WAIT)))
            raise
        if answer is not None:
            self._answer(waiter, answer)

    def _acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        now = self._now()
        if self._closed is not None:
            if self._down_until is not None:
                self._closed = self._denied(self._closed.reason, _wait(now, self._down_until))
            return self._count(self._closed)
        if self._resting:
            self._rise()
        self._pump()
        request = acquire.request
        verdict = self._turn(now, request)
        if verdict.when <= now:
            return self._grant(now, acquire)
        if self._at_the_cap(now, request):
            verdict = Verdict(self._turn(now, request).when, self.pipeline.cap)
        if waiter is None or verdict.when == NEVER or not self._wait_fits(now, verdict.when, acquire.timeout):
            return self._refuse_at(now, verdict)
        if len(self._line) >= self._max_waiting:
            return self._count(self._denied(Reason.OVERLOADED, _wait(now, verdict.when)))
        if acquire.timeout is not None:
            waiter.deadline = self._home.time() + acquire.timeout
        self._line.join(waiter)
        self.gate = NEVER
        self._set_alarm(now)
        return None

    def _turn(self, now: Instant, request: Request) -> Verdict:
        """When would it be a newcomer's turn? After everybody in the line, even if those wait for something else."""
        verdict = self.pipeline.verdict(now, request, self._line.ahead())
        head = self._line.head()
        first = verdict if head is None else self.pipeline.verdict(now, head.acquire.request)
        return first if first.when > verdict.when else verdict

    def _at_the_cap(self, now: Instant, request: Request) -> bool:
        """Has this request met the global cap and nothing else? Then degraded mode begins."""
        if not self.pipeline.only_the_cap_refuses(now, request):
            return False
        before = self.degraded.until
        self.degraded.enter(now)
        if self.degraded.until != before:
            self._publish()
        return True

    def _rise(self) -> None:
        self._resting = False
        self._wake = anyio.Event()
        self._alarm = math.inf
        self.regate()
        self._start(self)

    def _wait_fits(self, now: Instant, when: Instant, timeout: float | None) -> bool:
        if timeout is None:
            return True
        return timeout > 0 and (when == AFTER_OUTCOME or to_seconds(when - now) <= timeout)

    def _grant(self, now: Instant, acquire: Acquire) -> Permit:
        if acquire.attempt == 1:
            self._budget.deposit(now)  # First, because a crash after the commit would lose what was spent.
        grant = self.pipeline.commit(now, acquire.request)
        self.counters.requests += 1
        if acquire.attempt is not None and acquire.attempt > 1:
            self.counters.retries += 1
        # Whatever the grant has spent must bar the way for the next `grab`.
        self.regate()
        probe = self.pipeline.breaker.status is not BreakerStatus.CLOSED
        make = HeldPermit if probe or self.pipeline.holds else Permit
        return make(self, grant.granted_at, grant.generation, grant)

    def _refuse_at(self, now: Instant, verdict: Verdict) -> Denied:
        if verdict.when == NEVER:
            return self._count(self._denied(Reason.COST, None))
        reason = Reason.RATE_LIMIT if verdict.by is None else verdict.by.reason
        return self._count(self._denied(reason, _wait(now, verdict.when)))

    def _pump(self) -> None:
        """Serves the head of the line for as long as it can be served, and sets the alarm for the rest."""
        if not self._line:
            return
        now = self._now()
        while (waiter := self._line.head()) is not None:
            request = waiter.acquire.request
            if self.pipeline.verdict(now, request).when > now:
                self._at_the_cap(now, request)
                break
            permit = self._grant(now, waiter.acquire)
            self._line.leave(waiter)
            self._answer(waiter, permit)
        if self._line:
            self._set_alarm(now)
        else:
            self.regate()

    def _on_alarm(self) -> None:
        now = self._now()
        still = now == self._rang_at
        self._rang_at = now
        self._pump()
        if still:
            self._alarm = max(self._alarm, self._home.time() + _STILL_CLOCK_NAP)

    def _set_alarm(self, now: Instant) -> None:
        """The head's instant, or the first deadline. Whoever would be served only after their deadline is refused at once."""
        head = self._line.head()
        if head is None:
            return
        verdict = self.pipeline.verdict(now, head.acquire.request)
        loop_now = self._home.time()
        if verdict.when >= AFTER_OUTCOME:
            due, too_late = math.inf, loop_now
        else:
            # A microsecond more, because our clock counts whole ones: when the alarm rings, the instant has come.
            due = loop_now + to_seconds(verdict.when - now + 1)
            too_late = due - _GRACE
        for waiter in self._line.take_overdue(too_late):
            self._answer(waiter, self._refuse_at(now, verdict))
        if not self._line:
            self.regate()
            return
        # Deadlines that are left come after the head's turn, or hardly before it. They matter if nobody knows that turn.
        self._alarm = due if due < math.inf else self._line.next_deadline()
        if verdict.by is self._cap:
            # Looked at as soon as nothing but the cap is in the way: degraded mode begins then.
            alone = self.pipeline.without_cap(now, head.acquire.request)
            if alone > now:
                self._alarm = min(self._alarm, loop_now + to_seconds(alone - now + 1))
        if self._timer is not None:
            self._timer.deadline = self._alarm

    def _report(self, report: Report) -> None:
        self.counters.ended(report.status, report.result)
        now = self._now()
        before = self.degraded.until
        self.pipeline.record(now, report.grant, report.result, report.used)
        self.regate()
        if self.degraded.until != before:
            self._publish()

    def _refund(self, grant: Grant) -> None:
        self.counters.neutral += 1
        self.pipeline.refund(self._now(), grant)
        self.regate()

    def _leave(self, waiter: Waiter | None) -> None:
        if waiter is None:
            return
        if not self._line.leave(waiter) and isinstance(waiter.answer, Permit) and not waiter.answer.reported:
            # Granted in the moment of leaving: nobody will ever use it.
            waiter.answer.reported = True
            self._refund(waiter.answer.grant())

    def _take_back(self, now: Instant, failed: LimitPolicy | RequestCapPolicy) -> None:
        """A policy failed to commit: those before it have, and must not have."""
        grant = Grant(now, self.pipeline.breaker.generation)
        for policy in self.pipeline.spending:
            if policy is failed:
                break
            policy.refund(now, grant, None)

    # Answers.

    def _answer(self, waiter: Waiter | None, answer: Permit | Denied) -> None:
        if waiter is None:
            return
        waiter.answer = answer
        try:
            waiter.wake()
        except RuntimeError:
            # The loop of a foreign caller has ended: nobody is there to take it.
            self._leave(waiter)

    def _denied(self, reason: Reason, retry_after: int | None) -> Denied:
        return Denied(self.scope, reason, None if retry_after is None else to_seconds(retry_after))

    def _count(self, denied: Denied) -> Denied:
        refused = self.counters.refused
        refused[denied.reason] = refused.get(denied.reason, 0) + 1
        return denied

    def _crashed(self, error: Exception) -> Denied:
        """A handler raised: whoever is waiting is answered now, and the task ends with the error for the supervisor to see."""
        if self._closed is not None:
            # Down already, or closed for good: what has been said of that stands.
            return self._count(self._closed)
        if self._resting:
            self._rise()
        self._crash = error
        self.close(Reason.OVERLOADED, _NOMINAL_WAIT)
        return self._count(self._denied(Reason.OVERLOADED, _NOMINAL_WAIT))

    def _close_inbox(self, answer: Denied) -> None:
        """Answers the asks that are left. Outcomes are kept for a restart."""
        kept: list[tuple[Message, Waiter | None]] = []
        with suppress(IndexError):
            while True:
                message, waiter = self._inbox.popleft()
                if isinstance(message, Acquire):
                    self._answer(waiter, answer)
                else:
                    kept.append((message, waiter))
        if answer.reason is not Reason.SHUTTING_DOWN:
            self._inbox.extend(kept)


def _wait(now: Instant, when: Instant) -> Duration:
    """From now until then, and at least a microsecond: nobody is told to come back at once."""
    return _NOMINAL_WAIT if when == AFTER_OUTCOME else Duration(max(1, when - now))
