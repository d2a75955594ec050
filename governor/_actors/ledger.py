"""Ledger of a scope: its policies, counters and units, and what grants and outcomes change in them."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from governor import instrumentation
from governor._actors.counters import Counters, LastFailure
from governor._actors.permit import Success
from governor._actors.units import ONLY_REQUESTS, UnitWatch
from governor._fields import stored_directly
from governor._lazy import NOTHING, always
from governor._units import MINUTE, NEVER, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.instrumentation import Announcer
from governor.messages import Acquire, Answered, Denied, PlaceFreed, Report, Settled
from governor.policies.arrivals import Ending
from governor.policies.ban_guard import Rejection
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import PLAIN, REQUESTS, Grant, Request, Result
from governor.policies.leased import ended, follow, free_places
from governor.policies.pipeline import Pipeline
from governor.policies.pipeline_state import NOTHING_DROPPED
from governor.policies.retry_budget import RetryBudgetPolicy
from governor.statistics import CounterRecord

_log: Final = logging.getLogger("governor")

#: A scope without a success for so long is not known to be healthy.
HEALTHY_INTERVAL: Final = Duration(5 * MINUTE)

#: Grants with a cost of their own that are kept of one scope. If more are under way when an answer says for the first time what
#: remains, the oldest of them are not counted.
MAX_COSTLY: Final = 512


@stored_directly
class Ledger(msgspec.Struct, eq=False, gc=False):
    """The accounts of one scope. Belongs to the actors' thread; `clock` reads the governor's clock. Then `follow_units`.

    A record that refers to nothing which refers back, so that the garbage collector need not look at it. The announcer has no
    hooks any more once the governor is closed.
    """

    scope: str
    pipeline: Pipeline
    #: The retry budget of the provider.
    budget: RetryBudgetPolicy
    clock: Callable[[], Instant]
    announcer: Announcer
    counters: Counters = msgspec.field(default_factory=Counters)
    units: UnitWatch = msgspec.field(default_factory=always(ONLY_REQUESTS))
    #: The latest grants with a cost of their own, and the requests that all of them took beyond one each.
    costly: deque[tuple[Instant, Request]] = NOTHING
    further_units: int = 0
    # The number of successes, and when that number was first seen.
    _succeeded: int = 0
    _succeeded_at: Instant = Instant(0)
    #: Answers with a status of 2xx, and requests granted, when the provider last began to pause.
    _answered: int = 0
    _requested: int = 0

    def use(self, pipeline: Pipeline) -> None:
        """Grants by these policies from now on."""
        self.pipeline = pipeline
        self.budget = pipeline.shared.budget
        self.follow_units(self.counters.requests)

    def go_on_from(self, counters: CounterRecord, units: UnitWatch, *, limits_changed: bool) -> None:
        """Takes over what was counted before the scope was set aside."""
        self.counters.go_on_from(counters)
        self.units = units
        if limits_changed:
            self.follow_units(counters.requests)

    def follow_units(self, requests: int = 0) -> None:
        """Looks at the units that limits count, after so many requests."""
        limits = self.pipeline.all_limits
        for limit in limits:
            if limit.parameters.unit != REQUESTS:
                break
        else:
            if limits and self.units is ONLY_REQUESTS:
                return  # As most scopes: they share it until a call names another unit.
        self._own_units().follow(limits, requests)

    def _own_units(self) -> UnitWatch:
        if self.units is ONLY_REQUESTS:
            self.units = UnitWatch(self.scope, _limited=True)
        return self.units

    def spend(self, now: Instant, acquire: Acquire) -> Grant:
        """Grants a request that the policies admit now."""
        counters = self.counters
        if acquire.attempt == 1:
            self.budget.deposit(now)  # First, because a crash after the commit would lose what was spent.
        grant = self.pipeline.commit(now, acquire.request)
        if acquire.caller is not None and self.pipeline.budgets.commit(now, acquire.caller, acquire.request):
            grant = msgspec.structs.replace(grant, caller=acquire.caller)
        counters.requests += 1
        if acquire.request is not PLAIN:
            if self.costly is NOTHING:
                self.costly = deque(maxlen=MAX_COSTLY)
            self.costly.append((now, acquire.request))
            self.further_units += acquire.request.cost - 1
        self.units.granted(counters.requests)
        if acquire.attempt is not None and acquire.is_retry:
            counters.retries += 1
            if self.announcer.listening:
                self.announcer(instrumentation.Retried(self.scope, acquire.attempt))
        return grant

    def collect(self, used: int, leased_at: Instant | None) -> None:
        """So many permits granted ahead have been used: of those leased at that instant, if limits wait for outcomes.

        Reads the clock anew, after the caller has counted them: a thread may take a permit between a reading and the count, and
        a use dated before it happened would be refilled too early.
        """
        if used:
            now = self.clock()
            self.pipeline.collect(now, used)
            self.counters.requests += used
            if leased_at is not None:
                follow(self.pipeline, now, leased_at, used)

    def ended(self, successes: Counter[Success]) -> Counter[int | None]:
        """Has the limits learn of successes that they wait for, after the uses of their permits. Returns all by status."""
        now = self.clock()
        found: Counter[int | None] = Counter()
        for success, times in successes.items():
            if isinstance(success, tuple):
                filled_at, generation, status = success
                ended(self.pipeline, now, filled_at, generation, times)
                found[status] += times
            else:
                found[success] += times
        return found

    def settle(self, successes: Counter[int | None], deposits: int) -> None:
        """So many calls with permits granted ahead have succeeded, by status, and so many operations have begun."""
        for status, times in successes.items():
            self.counters.ended(status, Result.SUCCESS, times)
        if deposits:
            self.budget.deposit(self.clock(), deposits)

    def record(self, now: Instant, report: Report) -> None:
        """Counts an outcome, and has the policies learn from it."""
        self.counters.ended(report.status, report.result)
        if report.result is Result.FAILURE:
            self.counters.last_failure = LastFailure(now, report.status, report.error)
        if report.used:
            self._used(now, report.grant, report.used)
        self.pipeline.record(now, grant_of(report), report.result, report.used)
        answered = report.answered
        if answered is None or answered.at is None:
            rejection = None if report.result is not Result.SUCCESS else _rejection(report.status, answered)
            self.pipeline.guard.learn(now, report.grant.granted_at, rejection)
        if answered is None or not answered.freed:
            self.pipeline.guard.free(now, report.grant.granted_at)
        if self.pipeline.dropped:
            self._count_dropped()

    def correct(self, now: Instant, settled: Settled) -> None:
        """What a call has really used."""
        self._used(now, settled.grant, settled.used)
        self.pipeline.settle(now, grant_of(settled), settled.used)
        if self.pipeline.dropped:
            self._count_dropped()

    def give_back(self, now: Instant, grant: Grant) -> None:
        """The grant was never used."""
        self.counters.neutral += 1
        self.pipeline.refund(now, grant)
        self.pipeline.guard.learn(now, grant.granted_at, None)
        self.pipeline.guard.free(now, grant.granted_at)
        if grant.caller is not None:
            self.pipeline.budgets.refund(now, grant.granted_at, grant.caller, grant.request)

    def free_place(self, freed: PlaceFreed) -> None:
        """No call has used the place, which was leased."""
        free_places(self.pipeline, freed.generation)

    def judge(self, now: Instant, answered: Answered) -> None:
        """The answer to a call has begun: counts it if it brings the client closer to a ban."""
        guard, granted_at = self.pipeline.guard, answered.grant.granted_at
        guard.learn(now, granted_at, _rejection(answered.status, answered))
        answered.freed = guard.free(now, granted_at)

    def under_way(self) -> int:
        """The calls whose outcome is not known, as far as their permits are not granted ahead. It may be too many."""
        counters = self.counters
        answers = counters.answered_2xx + counters.answered_4xx + counters.answered_5xx + counters.others
        return max(0, counters.requests - answers - counters.failures - counters.neutral)

    def named(self, units: Mapping[str, int] | None, caller: str | None) -> None:
        """A call has named these units, if any. Those that budgets count are known, whatever the limits of the scope."""
        if not units:
            return
        others = self.pipeline.budgets.units if caller is not None else ()
        self._own_units().named([unit for unit in units if unit not in others] if others else units)

    def _used(self, now: Instant, grant: Grant, used: Mapping[str, int]) -> None:
        self.named(used, grant.caller)
        if grant.caller is not None:
            self.pipeline.budgets.settle(now, grant.granted_at, grant.caller, grant.request, used)

    def over_budget(self, now: Instant, acquire: Acquire) -> Denied | None:
        """The denial of a call whose label has spent a budget; None if no budget is in its way."""
        if acquire.caller is None:
            return None
        when = self.pipeline.budgets.earliest(now, acquire.caller, acquire.request)
        if when <= now:
            return None
        return (
            Denied(self.scope, Reason.BUDGET, to_seconds(when - now)) if when < NEVER else Denied(self.scope, Reason.COST, None)
        )

    def deny(self, denied: Denied) -> Denied:
        """Counts a denial."""
        counts = self.counters.denied or self.counters.some_denied()
        counts[denied.reason] = counts.get(denied.reason, 0) + 1
        if self.announcer.listening:
            self.announcer(instrumentation.CallDenied(denied.scope, denied.reason, denied.retry_after))
        return denied

    def has_succeeded(self) -> bool:
        """Whether a call has succeeded since `mark_successes`, which is called when the provider begins to pause.

        Asked after a denial. If no call but the denied one was granted since, those that have succeeded were granted before.
        """
        counters = self.counters
        return counters.answered_2xx != self._answered and counters.requests > self._requested + 1

    def mark_successes(self) -> None:
        """Successes count anew."""
        self._answered, self._requested = self.counters.answered_2xx, self.counters.requests

    def asks(self) -> int:
        """How often the scope was asked."""
        return self.counters.requests + sum(self.counters.denied.values())

    def is_healthy(self, now: Instant, unread: int) -> bool:
        """Whether the breaker is closed, the latest outcome was no failure, and a call has succeeded lately.

        Lately is within `HEALTHY_INTERVAL`, as far as calls of this method have seen. The holder has `unread` successes.
        """
        counters, breaker = self.counters, self.pipeline.breaker
        succeeded = counters.answered_2xx + counters.answered_4xx + counters.others + unread
        if succeeded != self._succeeded:
            self._succeeded, self._succeeded_at = succeeded, now
        well = breaker.status is BreakerStatus.CLOSED and not breaker.failures
        return well and succeeded > 0 and now - self._succeeded_at < HEALTHY_INTERVAL

    def _count_dropped(self) -> None:
        counted, pipeline = self.counters.dropped or self.counters.some_dropped(), self.pipeline
        for unit, amount in pipeline.dropped.items():
            if unit not in counted:
                _log.warning(
                    "%s: a call has used more %s than max_debt = %g lets the scope owe; %d of them are dropped.",
                    self.scope,
                    unit,
                    pipeline.max_debt,
                    amount,
                )
            counted[unit] = counted.get(unit, 0) + amount
        pipeline.dropped = NOTHING_DROPPED


def _rejection(status: int | None, answered: Answered | None) -> Rejection | None:
    """What an answer says about a ban: what was read in it, else what its status says."""
    if answered is not None and answered.rejection is not None:
        return answered.rejection
    return Rejection.NONE if status is None else Rejection.of(status)


def grant_of(report: Report | Settled) -> Grant:
    """The grant of an outcome, with how it ended, and with the instant at which its response began if that was read."""
    answered = report.answered
    began = None if answered is None else answered.at
    ending = report.ending if isinstance(report, Report) else Ending.ANSWERED
    if began is None and ending is Ending.ANSWERED:
        return report.grant
    return msgspec.structs.replace(report.grant, answered_at=began, ending=ending)
