"""The policies of one scope together: all grant, or nothing is spent.

The instant at which all policies grant is the latest of their earliest instants, and the policy that names it is the reason of
a denial. Policies are asked in the order pauses, degraded mode, breaker, limits, cap; of two with the same instant the first
counts.

Everything that the scope itself decides is folded into one instant, `gate`: from it on a plain request is granted, unless the
global cap or a limit that it shares with other scopes denies it. The gate moves only on events, so most requests are decided by
comparing it with the clock.

A scope whose limits all lease, and whose breaker ignores successes, can grant plain requests ahead. Each limit that a plain
request takes units of leases, counts and recalls on its own; the one with the least to spare decides how many are granted.
Places in flight are leased apart from them, because a call that succeeds gives its place to the next one.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from governor._fields import stored_directly
from governor._lazy import always
from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.policies.arrivals import Arrivals
from governor.policies.ban_guard import BanGuard
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import BreakerStatus
from governor.policies.budget import Budgets
from governor.policies.contract import PLAIN, REQUESTS, Grant, Leasable, Limit, LimitPolicy, Policy, Request, Result
from governor.policies.cooldown import NO_COOLDOWN, CooldownPolicy
from governor.policies.copy_on_write import CopyOnWrite
from governor.policies.degraded import DegradedPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.leasing import leases_elsewhere, leasing, places
from governor.policies.limits import AWAITS_ANSWERS, NEEDS_OUTCOME, predecessors
from governor.policies.mark import Mark, excess
from governor.policies.pipeline_state import NOTHING_DROPPED, PipelineState, born_first
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.shared_limit import LimitQueue, Share, gates
from governor.policies.verdict import Verdict

#: At most one in this many of the available permits is granted ahead, so that most of them stay available to all.
_LEASABLE: Final = 8

#: Breaker, limits, whether the scope is exempt from degraded mode, the largest debt of its limits, and what they assume.
PipelineSettings = tuple[Breaker, tuple[Limit, ...], bool, float, Arrivals]


@stored_directly
class Pipeline(CopyOnWrite, eq=False, gc=False, kw_only=True):
    """The policies of one scope, as `compose` and `alike` make them.

    All scopes share the cap and degraded mode, which does not pause an exempt scope; the scopes of a provider share `shared`,
    and `own_cooldown` and `own_server` are of this scope alone.
    A record that refers to nothing which refers back, so that the garbage collector need not look at it.
    """

    #: The name of the provider.
    provider: str
    #: Closes the scope before the server bans the client.
    guard: BanGuard
    limits: tuple[LimitPolicy, ...]
    #: Those that the scope shares with others included.
    all_limits: tuple[LimitPolicy, ...]
    cap: RequestCapPolicy
    degraded: DegradedPolicy
    #: The budgets of caller labels, which all scopes share.
    budgets: Budgets
    max_debt: float
    arrivals: Arrivals
    exempt: bool
    #: Whether permits may be granted ahead, and to other processes; and the limits that lease then, with the cap.
    leases: bool
    leases_elsewhere: bool
    leasing: tuple[Leasable, ...]
    #: The limits whose places are leased.
    places: tuple[InFlightPolicy, ...]
    #: Whether a limit waits for outcomes, so that a grant must not get lost.
    needs_outcome: bool
    #: Whether it matters to a limit when an answer begins.
    awaits_answers: bool
    #: The generation of the breaker from which on each limit, and the receipts as a whole, know of grants.
    born: tuple[int, ...]
    _receipts_born: int = 0
    #: The limits that the scope shares with others: of its provider, and of its key. Those of its server are treated alike.
    shares: tuple[Share, ...] = ()
    #: Of these, the ones that a plain request takes units of: the queues, and the limits.
    gates: tuple[LimitQueue | LimitPolicy, ...] = ()
    #: How much may be granted before it is written down; None without a store.
    mark: Mark | None = None
    #: Amounts beyond the largest debt of a limit, by unit; they were dropped and not charged.
    dropped: Mapping[str, int] = msgspec.field(default_factory=always(NOTHING_DROPPED))
    #: From this instant on all policies but the cap and the shares grant a `PLAIN` request; before it, call `verdict`.
    #: From `leases_from` on permits may be granted ahead: all places may be leased then.
    gate: Instant = Instant(0)
    leases_from: Instant = Instant(0)

    def share(self, sharing: tuple[Share, ...]) -> None:
        """Takes these limits, which it shares with other scopes, beside its own. Before anything is granted; then `regate`."""
        policies = tuple([share.policy for share in sharing])
        self.shares, self.gates = sharing, gates(sharing)
        self.all_limits = together = (*self.limits, *policies)
        self.needs_outcome = self.needs_outcome or any(map(NEEDS_OUTCOME, policies))
        self.awaits_answers = self.awaits_answers or any(map(AWAITS_ANSWERS, policies))
        found = leasing(self.limits, sharing, together) if self.leases else None
        self.leases, self.leasing = found is not None, found or ()
        self.leases_elsewhere = self.leases and leases_elsewhere(self.limits, sharing)
        self.places = places(together) if self.needs_outcome and self.leases else ()
        self.born = born_first(len(together))

    @property
    def spending(self) -> tuple[LimitPolicy | RequestCapPolicy, ...]:
        """All that a request is spent in."""
        return (*self.all_limits, self.cap)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies but the pauses, in the order in which they are asked."""
        return (self.breaker, *self.spending) if self.exempt else (self.degraded, self.breaker, *self.spending)

    def regate(self) -> None:
        """Recomputes the gate. Call it after anything that may have changed the breaker, degraded mode or cooldown."""
        self.guard.look()
        if not (self.breaker.shared or self.breaker.unrestricted) or self.guard.restricted:
            self.gate = self.leases_from = NEVER
            return
        gate: int = 0 if self.exempt else self.degraded.until
        if self.own_cooldown.until > gate:
            gate = self.own_cooldown.until
        for pause in self.shared.pauses:
            if pause.until > gate:
                gate = pause.until
        open_from = gate
        for limit in self.limits:
            if limit.ready > gate:
                gate = limit.ready
        self.gate = Instant(gate)
        self.leases_from = Instant(open_from) if self.places else self.gate

    def verdict(self, now: Instant, request: Request, ahead: Request | None = None) -> Verdict:  # noqa: C901 - written out
        """When all policies grant the request, and which of them is the last to."""
        when, not_before = now, now
        by: Policy | BanGuard | Mark | None = None
        pause: CooldownPolicy | DegradedPolicy
        for pause in (*self.shared.pauses, self.own_cooldown, *(() if self.exempt else (self.degraded,))):
            if pause.until > when:  # Its `earliest`, without a call: this is what a denial costs.
                when, by, not_before = pause.until, pause, pause.until
        hangs = False
        if self.guard.restricted:
            earliest, waits_for_answer = self.guard.earliest(now, request)
            if earliest > when:
                when, by, hangs = earliest, self.guard, waits_for_answer
                not_before = not_before if hangs else earliest
        breaker = self.breaker
        counting = breaker.status is not BreakerStatus.OPEN
        earliest = breaker.earliest(now, request, ahead)
        if earliest > when:
            when, by, hangs = earliest, breaker, counting
        if not_before < earliest < AFTER_OUTCOME and not counting:
            not_before = earliest
        # What has room for a plain request is not asked, unless calls of other scopes may go before it.
        plain = request is PLAIN and ahead is None and not self.shares
        spending: tuple[LimitPolicy | RequestCapPolicy, ...] = (*self.all_limits, self.cap)  # Without a call, as below.
        for policy in spending:
            if plain and policy.ready <= now:
                continue
            earliest = policy.earliest(now, request, ahead)
            if earliest > when:
                when, by, hangs = earliest, policy, False
            if not_before < earliest < AFTER_OUTCOME:
                not_before = earliest
        if when == AFTER_OUTCOME or hangs:
            return Verdict(when, by, sooner=True, not_before=not_before)
        if when <= now and self.mark is not None and self.mark.short(now, request):
            # For so long as a record is being written. Last, so that nothing is written for a call that is denied anyway.
            return Verdict(AFTER_OUTCOME, self.mark, sooner=True, not_before=now)
        return Verdict(when, by)

    def wakes_at(self, now: Instant) -> Instant:
        """When to look again although the verdict is `AFTER_OUTCOME`; `NEVER` if time alone changes nothing."""
        return min((limit.wakes_at(now) for limit in self.all_limits), default=NEVER)

    def commit(self, now: Instant, request: Request) -> Grant:
        """Spends the request in every policy; if one of them fails, in none."""
        self.breaker.commit(now, request)
        grant = Grant(now, self.breaker.generation, request)
        spending: tuple[LimitPolicy | RequestCapPolicy, ...] = (*self.all_limits, self.cap)
        receipts, done = [0] * len(spending), 0
        try:
            for done, policy in enumerate(spending):
                receipts[done] = policy.commit(now, request)
            if self.guard.restricted:
                self.guard.commit(now)
            if self.mark is not None:
                self.mark.commit(now, request)
        except BaseException:
            for policy, receipt in zip(spending[:done], receipts, strict=False):
                policy.refund(now, grant, receipt)
            self.breaker.refund(now, grant, None)
            raise
        finally:
            self.shared.cooldown.granted(now)
            self.own_cooldown.granted(now)
            self.regate()
        return grant if request is PLAIN else Grant(now, grant.generation, request, tuple(receipts))

    def answered(self, now: Instant, grant: Grant, status: int | None) -> None:
        """Records that the answer has begun, with this HTTP status."""
        if self.awaits_answers:
            for policy, born in zip(self.all_limits, self.born, strict=True):
                if grant.generation >= born:
                    policy.answered(now, grant)
        failed = status is not None and status >= 500
        self.breaker.answered(now, grant, Result.FAILURE if failed else Result.SUCCESS)
        self.regate()

    def record(self, now: Instant, grant: Grant, result: Result, used: Mapping[str, int] | None = None) -> None:
        """Records in every policy of the scope, and in degraded mode, how the request ended and what it really used."""
        if used:
            self.settle(now, grant, used)
            grant = grant.corrected(used)
        # The limits first: whatever fails after them, the places that the request has taken are free again.
        for policy, born in zip(self.all_limits, self.born, strict=True):
            if grant.generation >= born:
                policy.record(now, grant, result)
        (self.own_breaker() if result is Result.FAILURE else self.breaker).record(now, grant, result)
        self.degraded.record(now, grant, result, self.provider)
        self.regate()

    def settle(self, now: Instant, grant: Grant, used: Mapping[str, int]) -> None:
        """Corrects the limits for what was used, once for each grant. What follows has the `corrected` grant."""
        asked = grant.request
        receipts = self._receipts(grant)
        for index, policy in enumerate(self.all_limits):
            if policy.unit in used and grant.generation >= self.born[index]:
                before = asked.amount(None if policy.unit == REQUESTS else policy.unit)
                change = used[policy.unit] - before
                dropped = policy.settle(now, grant, None if receipts is None else receipts[index], change)
                if dropped:
                    self.dropped = {**self.dropped, policy.unit: self.dropped.get(policy.unit, 0) + dropped}
        if self.mark is not None:
            self.mark.settled(now, excess(asked, used))
        self.regate()

    def force_breaker(self, now: Instant, until: Instant | None) -> None:
        """Opens the breaker until that instant, or closes it (None). Nothing may be leased."""
        if until is None:
            self.own_breaker().force_closed()
        else:
            self.own_breaker().force_open(now, until)
        self.regate()

    def refund(self, now: Instant, grant: Grant) -> None:
        """Refunds a grant that was never used, in every policy."""
        receipts = self._receipts(grant)
        for index, policy in enumerate(self.spending):
            if policy is self.cap or grant.generation >= self.born[index]:
                policy.refund(now, grant, None if receipts is None else receipts[index])
        self.breaker.refund(now, grant, None)
        self.regate()

    def leasable(self, now: Instant) -> int:
        """The number of plain requests that may be granted ahead at `now`."""
        if not self.leases or now < self.leases_from or any(share.queue.ready for share in self.shares):
            return 0
        count = min([policy.leasable(now) for policy in (*self.leasing, self.cap)]) // _LEASABLE
        return count if self.mark is None else min(count, self.mark.leasable(now))

    def lease(self, now: Instant, count: int) -> None:
        """Grants `count` requests ahead, at most `leasable`. They may be used at any time from now on."""
        for policy in (*self.leasing, self.cap):
            policy.lease(now, count)
        if self.mark is not None:
            self.mark.lease(count)
        self.regate()

    def collect(self, now: Instant, used: int) -> None:
        """Records that `used` of the leased requests were used, at unknown instants up to `now`."""
        for policy in (*self.leasing, self.cap):
            policy.collect(now, used)
        if self.mark is not None:
            self.mark.collect(now, used)

    def reclaim(self, now: Instant, count: int) -> None:
        """Returns `count` of the leased requests, which will not be used."""
        for policy in (*self.leasing, self.cap):
            policy.reclaim(now, count)
        if self.mark is not None:
            self.mark.reclaim(count)
        self.regate()

    def at_rest(self, now: Instant) -> bool:
        """Whether nothing is spent and no failure is on record, so that the pipeline can be dropped."""
        heard_until = Instant(0) if self.heard is None else self.heard.rests_at()
        if self.own_cooldown.until > now or heard_until > now or self.guard.own.spells:
            return False
        return self.breaker.at_rest(now) and all(limit.available(now) == limit.capacity() for limit in self.limits)

    def rests_at(self, now: Instant) -> Instant:
        """The instant from which on it is at rest if nothing happens; `NEVER` if time alone does not lead there."""
        return max(
            self.breaker.rests_at(now),
            *(limit.rests_at() for limit in self.limits),
            self.own_cooldown.until,
            Instant(0) if self.heard is None else self.heard.rests_at(),
            self.guard.rests_at(),
            now,
        )

    def state(self) -> PipelineState:
        """The state as a frozen record, for `restore`, without the shared policies."""
        limits = tuple(policy.state() for policy in self.limits)
        alone = self.own_cooldown.state(), self.guard.own.state(), None if self.heard is None else self.heard.state()
        return PipelineState(self.breaker.state(), limits, tuple(self.born), self._receipts_born, *alone)

    def settings(self) -> PipelineSettings:
        """The settings of this pipeline, to compare it with another one."""
        limits = tuple(policy.parameters for policy in self.limits)
        return self.breaker.parameters, limits, self.exempt, self.max_debt, self.arrivals

    def carry_over(self, now: Instant, before: "Pipeline") -> None:
        """Continues from the state of another pipeline, with other settings. Nothing may be leased.

        The breaker keeps its status; if it is half-open, its probes in flight are disregarded. A bucket keeps the share of its
        burst that was left; windows and limits on concurrency keep their uses. A new limit begins with nothing spent.
        """
        self.own_breaker().carry_over(now, before.breaker)
        if before.own_cooldown is not NO_COOLDOWN:
            self.pause_alone().restore(before.own_cooldown.state())
        self.guard.restore(before.guard.state())
        self._receipts_born = self.breaker.generation
        born: list[int] = []
        for policy, origin in zip(self.limits, predecessors(self.limits, before.limits), strict=True):
            born.append(self.breaker.generation if origin is None else before.born[before.limits.index(origin)])
            if origin is not None:
                policy.carry_over(now, origin)
        # Shared limits have been carried over by their provider, and have kept their queue then.
        known = {share.queue: one for share, one in zip(before.shares, before.born[len(before.limits) :], strict=True)}
        self.born = (*born, *(known.get(share.queue, self.breaker.generation) for share in self.shares))
        self.regate()

    def _receipts(self, grant: Grant) -> tuple[int, ...] | None:
        return grant.receipts if grant.generation >= self._receipts_born else None

    def restore(self, state: PipelineState) -> None:
        """Continues from a state that `state` returned under the same settings."""
        self.own_breaker().restore(state.breaker)
        for policy, limit_state in zip(self.limits, state.limits, strict=True):
            policy.restore(limit_state)
        born, own = state.born, len(self.limits)
        if len(born) != len(self.born):
            # A provider has replaced its limits meanwhile: those of now know of no earlier grant.
            born = (*(born[:own] or self.born[:own]), *([self.breaker.generation] * len(self.shares)))
        self.born = born
        self._receipts_born = state.receipts_born
        if state.cooldown != NO_COOLDOWN.state():
            self.pause_alone().restore(state.cooldown)
        self.guard.restore(state.rejections)
        self.regate()


class MarkedPipeline(Pipeline, eq=False, gc=True):
    """The policies of a scope whose state is kept. Its mark refers to the store, which refers to the scopes."""
