"""Lender: grants permits of one scope ahead to a holder, follows their use, and recalls them.

What is granted ahead counts as used in every limit until the holder reports otherwise. The permits are recalled whenever a call
needs what they have taken, whenever none has been used for a while, and always before a failure is read.
"""

from itertools import repeat, starmap
from typing import final

from governor._actors.lease import Demand, LocalHolder
from governor._actors.ledger import Ledger
from governor._actors.permit import HeldPermit, Owner, Permit
from governor._units import Instant
from governor.instrumentation import LeaseRevoked


@final
class Lender:
    """The lease of one scope, as its actor sees it. Belongs to the actors' thread."""

    __slots__ = ("_asks", "_catching_up", "_ledger", "_owner", "_used", "demand", "holder")

    def __init__(self, ledger: Ledger, owner: Owner) -> None:
        self._ledger = ledger
        #: What permits know of the actor that grants them.
        self._owner = owner
        self._catching_up = False
        #: Asks for one request from elsewhere in the current step, which found the lease empty.
        self._asks = 0
        #: Permits used since the last look.
        self._used = 0
        self.holder = LocalHolder()
        self.demand = Demand()

    @property
    def outstanding(self) -> int:
        """Permits granted ahead that are, as far as the lender knows, not used."""
        return self.holder.outstanding

    @property
    def unread(self) -> bool:
        """Whether the holder may have something to report."""
        holder = self.holder
        return bool(holder.outstanding or holder.successes or holder.deposits)

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
            self._ledger.settle(report.successes, report.deposits)
        finally:
            self._catching_up = False

    def collect(self) -> None:
        """Reads how many permits have been used."""
        if self.holder.outstanding:
            self._count(self.holder.report_used())

    def recall(self) -> bool:
        """Recalls what no call has taken. False if nothing was outstanding."""
        if not self.holder.outstanding:
            return False
        back = self._reclaim()
        announcer = self._ledger.announcer
        if back and announcer.listening:
            announcer(LeaseRevoked(self._ledger.scope, back))
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
        self.demand.short(now, asks)
        return self.fill(now)

    def look(self, now: Instant, *, fill: bool) -> bool:
        """Learns how fast permits are used, and recalls what is not used. True if there is something to look after later."""
        used, self._used = self._used, 0
        if not (self.holder.outstanding or used):
            return False
        self.demand.looked(now, used)
        if fill:
            self.fill(now)
        if not self.demand.size:
            self._reclaim()
        return self.holder.outstanding > 0

    def fill(self, now: Instant) -> bool:
        """Fills the lease up to the demand, as far as the limits have permits to spare. True if permits were added."""
        holder, pipeline = self.holder, self._ledger.pipeline
        wanted = self.demand.size - len(holder)
        if wanted <= 0:
            return False
        # Degraded mode may have begun within this step: the gate knows only of what the pipeline itself has learned.
        pipeline.regate()
        if now < pipeline.gate:
            return False
        count = min(wanted, pipeline.lendable(now))
        if count < wanted:
            self.demand.given(len(holder) + count)
        if count:
            # Accounted for first: from the moment they are with the holder they may be used.
            pipeline.lend(now, count)
            make: type[Permit] = HeldPermit if pipeline.needs_outcome else Permit
            permit = (self._owner, now, pipeline.breaker.generation)
            holder.fill(starmap(make, repeat(permit, count)), count, holder.generation)
        return count > 0

    def _reclaim(self) -> int:
        holder, ledger = self.holder, self._ledger
        # First what is back, then what has been used, then the clock: see `Ledger.collect`.
        back = holder.recall(holder.generation + 1)
        self._count(holder.report_used())
        ledger.pipeline.reclaim(ledger.clock(), back)
        return back

    def _count(self, used: int) -> None:
        self._used += used
        self._ledger.collect(used)
