"""Leasing: grants permits of one scope ahead to its holders, follows their use, and recalls them.

What is granted ahead counts as used in every limit until the holder reports otherwise. The permits are recalled whenever a call
needs what they have taken, whenever none has been used for a while, and always before a failure is read.

The threads of this process have one lease, from which the actor takes back what it recalls. Each other process has one too. It
answers a recall with a message; it is not asked before a failure is read, but by what the failure changes.

Bound: there are at most as many remote holders as connected processes that have asked in the scope. None holds more than
`MAX_LEASED_TO_MEMBER` permits, nor more than an equal part of what all of them could hold.
"""

from collections import Counter
from operator import length_hint
from typing import TYPE_CHECKING, final

from governor import instrumentation
from governor._actors.leases.lease import MAX_LEASED_TO_MEMBER, NO_DEMAND, Demand, LocalHolder
from governor._actors.leases.permits_ahead import PermitsAhead
from governor._actors.ledger import Ledger
from governor._actors.permit_owner import Owner
from governor._exports import Later
from governor._units import NEVER, Instant
from governor.policies.contract import Grant, LimitPolicy
from governor.policies.leased import (
    collect,
    free_places,
    hand_over,
    leasable_places,
    lease_places,
    may_lease,
    measure,
    reclaim,
    succeeded,
)
from governor.policies.pipeline import Pipeline
from governor.policies.verdict import Verdict

if TYPE_CHECKING:
    from governor._actors.leases import leased_places
    from governor._actors.leases.remote_holder import RemoteHolder
else:
    leased_places = Later("governor._actors.leases.leased_places")


@final
class Leasing:
    """The leases of one scope, as its actor sees them. Belongs to the actors' thread.

    `holder` and `demand` are of the threads of this process.
    """

    __slots__ = (
        "_asks",
        "_catching_up",
        "_ledger",
        "_leased_at",
        "_owner",
        "_used",
        "demand",
        "holder",
        "leased_elsewhere",
        "remote",
    )

    def __init__(self, ledger: Ledger, owner: Owner) -> None:
        self._ledger = ledger
        #: What permits know of the actor that grants them.
        self._owner = owner
        self._catching_up = False
        #: Asks for one request from elsewhere in the current step, which found the lease empty.
        self._asks = 0
        #: Permits used since the last look.
        self._used = 0
        #: When the permits that are outstanding here were leased, if limits wait for outcomes.
        self._leased_at: Instant | None = None
        self.holder = LocalHolder()
        #: Made with the first ask that finds the lease empty: nothing is granted ahead before it.
        self.demand = NO_DEMAND
        #: The holders in other processes with permits that are outstanding, and how many those are together.
        self.remote: dict[RemoteHolder, None] = {}
        self.leased_elsewhere = 0

    @property
    def outstanding(self) -> int:
        """Permits granted ahead that are, as far as is known here, not used."""
        return self.holder.outstanding + self.leased_elsewhere

    @property
    def leases(self) -> bool:
        """Whether anything is granted ahead: permits, or places that calls take permits with."""
        return self.holder.outstanding > 0 or self.leased_elsewhere > 0 or self.holder.places is not None

    @property
    def unread(self) -> bool:
        """Whether the holder may have something to report."""
        holder = self.holder
        # `holder.unread`, without its call: each step asks this.
        return bool(holder.outstanding or holder.successes or holder.deposits or length_hint(holder.answered) < holder.left)

    @property
    def asked(self) -> bool:
        """Whether calls have found the lease empty in this step."""
        return self._asks > 0

    def catch_up(self) -> None:
        """Reads everything that the holder reports."""
        if self._catching_up or not self.unread:
            return  # Called by a signal handler in the middle of the same, or nothing to read.
        self._catching_up = True
        try:
            report = self.holder.report()
            self._count(report.used)
            measure(self._ledger.pipeline, self.holder.take_durations())
            self._ledger.settle(self._ledger.ended(report.successes), report.deposits)
        finally:
            self._catching_up = False

    def collect(self) -> None:
        """Reads how many permits have been used, and how long calls with leased places have taken."""
        if self.holder.outstanding:
            self._count(self.holder.report_used())
        if self.holder.durations:
            measure(self._ledger.pipeline, self.holder.take_durations())

    def recall(self) -> bool:
        """Recalls what no call has taken: other processes answer later. False if nothing was outstanding here."""
        if self.leased_elsewhere:
            now = self._ledger.clock()
            for holder in self.remote:
                holder.recall(now)
        return self.recall_here()

    def recall_here(self) -> bool:
        """Recalls what no call in this process has taken. False if nothing was outstanding."""
        if not self.holder.outstanding and self.holder.places is None:
            return False
        back = self._reclaim()
        announcer = self._ledger.announcer
        if back and announcer.listening:
            announcer(instrumentation.LeaseRevoked(self._ledger.scope, back))
        return True

    def missed(self) -> None:
        """A call from elsewhere had to ask. It counts as demand if the lease is empty."""
        if not self.holder:
            self._asks += 1

    def serve(self, now: Instant, *, fill: bool) -> bool:
        """At the end of a step: grants ahead if calls have found the lease empty. True if permits were added."""
        asks, self._asks = self._asks, 0
        if not asks or not fill:
            return False
        if self.demand is NO_DEMAND:
            self.demand = Demand()
        self.demand.short(now, asks)
        return self.fill(now, asks)

    def look(self, now: Instant, *, fill: bool) -> bool:
        """Learns how fast permits are used, and recalls what is not used. True if there is something to look after later."""
        used, self._used = self._used, 0
        if not (self.holder.outstanding or used) and self.holder.places is None:
            return False
        self.demand.looked(now, used)
        if fill:
            self.fill(now)
        if not self.demand.size:
            self._reclaim()
        return self.holder.outstanding > 0 or self.holder.places is not None

    def fill(self, now: Instant, calls: int = 0) -> bool:
        """Fills the lease up to the demand, as far as the limits have permits to spare. True if permits were added.

        So many `calls` have found the lease empty, each of which would have needed a place.
        """
        holder, pipeline = self.holder, self._ledger.pipeline
        wanted = max(0, self.demand.size - holder.spare)
        if not (wanted or calls):
            return False
        # Degraded mode may have begun within this step: the gate knows only of what the pipeline itself has learned.
        pipeline.regate()
        if now < pipeline.leases_from:
            return False
        count = min(wanted, pipeline.leasable(now))
        if count < wanted:
            self.demand.given(holder.spare + count)
        if pipeline.places and not self._lease_places(now, calls, count + holder.spare):
            return False
        if count:
            # What no call has taken is granted anew, so that all of the lease is of one instant and one generation.
            left = self._take_back()
            now, generation = self._ledger.clock(), pipeline.breaker.generation
            pipeline.reclaim(now, left)
            # Accounted for first: from the moment they are with the holder they may be used.
            pipeline.lease(now, left + count)
            grant = Grant(now, generation, ahead=True) if pipeline.needs_outcome else None
            self._leased_at = None if grant is None else now
            holder.fill(PermitsAhead(self._owner, now, generation, left + count, grant))
        return count > 0

    def _lease_places(self, now: Instant, calls: int, permits: int) -> bool:
        """Leases so many calls a place each, if there are permits for any. False if permits cannot be used."""
        holder, pipeline = self.holder, self._ledger.pipeline
        generation = pipeline.breaker.generation
        if holder.places is not None and holder.places.generation != generation:
            self._reclaim()
            return False  # What was granted before is of no use now: the next call begins anew.
        count = min(calls, permits, leasable_places(pipeline, now))
        if count:
            lease_places(pipeline, count)
            places = holder.places
            if places is None:
                measures = any(limit.measures for limit in pipeline.places)
                dated = any(isinstance(policy, LimitPolicy) and policy.needs_outcome for policy in pipeline.leasing)
                durations = holder.durations if measures else None
                places = leased_places.LeasedPlaces(
                    self._owner, generation, clock=self._ledger.clock, durations=durations, dated=dated
                )
                holder.open_places(places)
            places.add(count)
        return holder.places is not None

    def _reclaim(self) -> int:
        """Takes back what no call has taken, for good. Returns the number of permits."""
        holder, ledger = self.holder, self._ledger
        places = holder.places
        # Whatever is given back from now on goes to the actor.
        free = 0 if places is None else places.close()
        back = self._take_back()
        ledger.pipeline.reclaim(ledger.clock(), back)
        if places is not None:
            holder.forget_places()
            free_places(ledger.pipeline, places.generation, free)
        return back

    def _take_back(self) -> int:
        """Takes back the permits that no call has taken, which the limits still count, and counts the others as used."""
        # A signal handler that reads what the holder reports would find neither in the midst of this.
        catching_up, self._catching_up = self._catching_up, True
        try:
            # First what is back, then what has been used, then the clock: see `Ledger.collect`.
            back = self.holder.recall()
            self._count(self.holder.report_used())
        finally:
            self._catching_up = catching_up
        return back

    def _count(self, used: int) -> None:
        self._used += used
        self._ledger.collect(used, self._leased_at)

    # Holders in other processes.

    def holds_up(self, verdict: Verdict) -> bool:
        """Whether permits stand in the way of a call that are being recalled from other processes."""
        pipeline = self._ledger.pipeline
        if verdict.by is pipeline.cap:
            return pipeline.cap.leased > 0 and verdict.when < NEVER
        if not self.leased_elsewhere or not pipeline.leases_elsewhere or verdict.by not in pipeline.leasing:
            return False
        return any(holder.recalled_at is not None for holder in self.remote)

    def recall_unless_free(self) -> None:
        """Recalls what other processes have if the breaker or the ban guard no longer lets every call through."""
        pipeline = self._ledger.pipeline
        if self.leased_elsewhere and (pipeline.guard.restricted or not pipeline.breaker.unrestricted):
            self.recall()

    def lease(self, holder: "RemoteHolder", wanted: int) -> int:
        """Grants a holder up to `wanted` permits ahead, as far as the limits have them to spare. Returns how many."""
        pipeline, now = self._ledger.pipeline, self._ledger.clock()
        pipeline.regate()
        if wanted <= 0 or holder.recalled_at is not None or now < pipeline.gate or not may_lease(pipeline):
            return 0
        free = pipeline.leasable(now)
        part = (free + self.leased_elsewhere) // len(self.remote.keys() | {holder})
        count = min(wanted, free, min(part, MAX_LEASED_TO_MEMBER) - holder.outstanding)
        if count <= 0:
            return 0
        pipeline.lease(now, count)
        self.leased_elsewhere += count
        self.remote[holder] = None
        holder.fill(now, count, pipeline.breaker.generation)
        return count

    def report(self, successes: Counter[int | None], deposits: int) -> None:
        """So many calls with permits of another process have succeeded, by status, and so many operations have begun."""
        self._ledger.settle(successes, deposits)
        if successes:
            succeeded(self._ledger.pipeline, self._ledger.clock())

    def returned(self, holder: "RemoteHolder", generation: int, used: int, back: int) -> None:
        """A holder reports that of its permits so many have been used, and so many never will be."""
        used, back = holder.settled(generation, used, back)
        self._settle(holder, used)
        if back:
            self.leased_elsewhere -= back
            reclaim(self._ledger.pipeline, self._ledger.clock(), back)

    def expire(self, holder: "RemoteHolder") -> None:
        """The lease of a holder has run out: whatever is outstanding there has been used."""
        self._settle(holder, holder.expired())

    def _settle(self, holder: "RemoteHolder", used: int) -> None:
        if used:
            self.leased_elsewhere -= used
            # Dated at the latest instant at which they can have been used.
            collect(self._ledger.pipeline, self._ledger.clock(), used)
            self._ledger.counters.requests += used
        if not holder.outstanding:
            self.remote.pop(holder, None)

    def follow(self, before: Pipeline) -> None:
        """Other policies decide from now on than `before`: they count what is outstanding elsewhere."""
        hand_over(self._ledger.clock(), before, self._ledger.pipeline, self.leased_elsewhere)
