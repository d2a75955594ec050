"""Plain grants: one request on the actor's own thread, written out by hand, because this is what nearly every call costs.

Compiled where a compiler is; `granting.pxd` has the fields. See docs/explanation/actor-design.md.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, Literal, overload

from governor import instrumentation
from governor._actors.common import Common
from governor._actors.counters import Counters
from governor._actors.leases.leasing import Leasing
from governor._actors.ledger import Ledger
from governor._actors.lifecycle import BUSY, IDLE, Event, Lifecycle
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._actors.steps import Steps

# C: from governor.clock import system_clock
from governor._actors.waits import denial_of
from governor._fields import PermitSource
from governor._units import AFTER_OUTCOME, NEVER, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Denied, Leave, Outcome
from governor.policies.contract import PLAIN, LimitPolicy
from governor.policies.degraded import DegradedPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.mark import Mark
from governor.policies.plain import PlainSpending
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.shared_limit import LimitQueue

READY: Final = attrgetter("ready")


class Granting(PermitSource):
    """Grants plain requests for the actor of a scope. Belongs to the actor's own thread."""

    __slots__ = (
        "_bucket",
        "_cap",
        "_clock",
        "_common",
        "_extra",
        "_generation",
        "_leasing",
        "_make",
        "_mark",
        "_reason",
        "_shared",
        "_spending",
        "_steps",
        "_watched",
        "gate",
        "inbox",
        "ledger",
        "life",
        "scope",
        "unread",
    )

    #: No permit is granted before this instant without a closer look.
    gate: Instant
    #: Unread messages, and unread outcomes.
    inbox: list[tuple[Acquire | Leave, Waiter | None]]
    unread: list[Outcome]
    ledger: Ledger
    life: Lifecycle
    scope: str
    counters: Counters
    degraded: DegradedPolicy
    #: The only limit of the scope, if that is a bucket: nearly all scopes have one.
    _bucket: TokenBucketPolicy | None
    _cap: RequestCapPolicy
    _clock: Callable[[], Instant]
    _common: Common
    #: Whether anything is shared, or there is a mark: one look at most scopes, which have neither.
    _extra: bool
    #: Why a call is denied while the gate is closed until its instant; None if that is to be found out.
    _reason: Reason | None
    _generation: int
    #: `Permit` or `HeldPermit`.
    _make: Callable[[Any, Instant, int], Permit]
    #: None if no store keeps the state of the scope.
    _mark: Mark | None
    #: What other scopes move as well: shared limits, and their queues. Empty for most scopes.
    _shared: tuple[LimitPolicy | LimitQueue, ...]
    #: None until it is needed: not for one bucket, but where the slot of the cap ends, and where the bucket is empty then.
    _spending: PlainSpending | None
    #: None before the first step, as `_leasing`.
    _steps: Steps | None
    _leasing: Leasing | None
    steps: Callable[[], Steps]
    #: Whether every ask takes a closer look.
    _watched: bool

    @overload
    def grab(self) -> Permit | None: ...

    @overload
    def grab(self, deny: Literal[True]) -> Permit | Denied | None: ...

    # Complex, because what nearly every call costs is written out.
    def grab(self, deny: bool = False) -> Permit | Denied | None:  # noqa: C901 # C: def granted(self, deny):
        """One request, at once; None if that takes a step, or is not possible. With `deny` a denial, if that takes no step.

        No Python call but the clock and `PlainSpending`, and no step. `copy` keeps what it reads up to date. `deny` is
        positional: keywords cost more.
        """
        clock, life = self._clock, self.life  # Fetched and called in two steps: CPython 3.11 calls attributes more slowly.
        now = clock()  # C: now = read_clock(clock, system_clock)
        # C: if now < self.gate or has_any(self.inbox) or has_any(self.failures) or life.state is not IDLE:
        if now < self.gate or self.inbox or self.failures or life.state is not IDLE:  # C:
            return self._deny(now) if deny else None
        cap = self._cap
        if not cap.left:
            return None
        mark = None
        if self._extra:
            if self._shared and now < max(map(READY, self._shared)):
                return None
            mark = self._mark
            if mark is not None and (left := mark.left):
                mark.left = left - 1
                mark = None  # Charged, before anything is spent: an exception leaves too much charged rather than too little.
        bucket = self._bucket  # C:
        # C: if mark is None and spent_at_once(self._bucket, self._spending, cap, now):
        if mark is None and bucket is not None and now < cap.slot_ends:  # C:
            # `PlainSpending.commit` for one bucket. There is no call until the permit, so it happens as a whole or not at all.
            full = now * bucket.ticks  # C:
            tat = bucket.tat  # C:
            tat = (tat if tat > full else full) + bucket.plain  # C:
            if tat - full <= bucket.slack:  # C: if True:
                bucket.tat = tat  # C:
                cap.left -= 1  # C:
                if now > cap.latest:  # C:
                    cap.latest = now  # C:
                self.counters.requests += 1
                make = self._make
                return make(self, now, self._generation)  # C: return new_permit(self._make, self, now, self._generation)
        life.state = BUSY
        try:
            if mark is not None and not mark.renew(now):
                return None
            spending = self._spending or self._all_spending()
            ready = spending.commit(now)
            if ready:
                self.gate, self._reason = max(self.gate, Instant(ready)), None
            self.counters.requests += 1
            make = self._make
            return make(self, now, self._generation)  # C: return new_permit(make, self, now, self._generation)
        except Exception as error:
            steps = self.steps()
            steps.crashed(error)
            steps.end()
            return None
        except BaseException:
            self.gate = NEVER  # Ctrl-C, perhaps after a bucket has spent its last: the next ask takes a step, which copies all.
            raise
        finally:
            if life.state is BUSY:
                life.state = IDLE
            elif life.busy:  # Closed meanwhile, by a signal handler or by the code of a limit.
                life.apply(Event.END)

    def _all_spending(self) -> PlainSpending:
        pipeline = self.ledger.pipeline
        self._spending = spending = PlainSpending(pipeline.all_limits, pipeline.cap)
        return spending

    def _deny(self, now: Instant) -> Denied | None:
        """The denial of one request that cannot wait, if it changes nothing but the counters; None if it takes a step.

        A call that asks in a loop meets this most, so it costs hardly more than a grant. A step is needed wherever something is
        to be read, served or recalled first, and where the cap denies, which may begin degraded mode.
        """
        if (
            self._watched
            or self.inbox
            or self.unread
            or self.failures
            or self.life.state is not IDLE
            or not self._cap.left
            or self._shared
            # As `Leasing.leases`, without its call.
            or (
                (leasing := self._leasing) is not None
                and (leasing.holder.outstanding or leasing.leased_elsewhere or leasing.holder.places is not None)
            )
        ):
            return None
        gate = self.gate
        if gate >= AFTER_OUTCOME:
            verdict = self.ledger.pipeline.verdict(now, PLAIN)
            return None if verdict.when <= now else self.ledger.deny(denial_of(self.scope, now, verdict))
        reason = self._reason
        if reason is None:
            self._reason = reason = self._reason_of(gate)
            if reason is None:
                return None
        wait = to_seconds(gate - now)  # C: wait = seconds_of(gate - now, to_seconds)
        denied = Denied(self.scope, reason, wait)
        # As `Ledger.deny`, written out.
        counts = self.counters.denied or self.counters.some_denied()
        counts[reason] = counts.get(reason, 0) + 1
        announcer = self._common.announcer
        if announcer.listening:
            announcer(instrumentation.CallDenied(denied.scope, reason, denied.retry_after))
        return denied

    def _reason_of(self, gate: Instant) -> Reason | None:
        """Why the gate is closed until then. It is the very instant of a policy; of two such policies the first speaks."""
        pipeline = self.ledger.pipeline
        for pause in pipeline.pauses:
            if pause.until == gate:
                return pause.reason
        if self.degraded.until == gate and not pipeline.exempt:
            return Reason.DEGRADED
        return next((limit.reason for limit in pipeline.all_limits if limit.ready == gate), None)
