"""Units of a strict window that are granted ahead.

A leased unit counts as on the way from the moment at which it is leased. Once its use is known it has a date, the instant at
which that became known, which is no earlier than the use. From then on its margin runs, and its outcome tells when it has
arrived.
"""

from governor._units import Instant
from governor.policies.contract import Grant, LimitPolicy, Request
from governor.policies.windows._leased_calls import LeasedCalls
from governor.policies.windows._uses import WindowUses


class LeasedUnits(LimitPolicy, WindowUses):
    """Leases units, for the state machine of the window, which sets what is named here."""

    __slots__ = ("_leased", "_out")

    leases = True
    #: Another process does not tell when its calls have been answered.
    leases_elsewhere = False

    #: Units that are leased, and the calls with such units whose outcomes are to come.
    _out: int
    _leased: LeasedCalls

    def leasable(self, now: Instant) -> int:
        """All that is available: each unit counts as on the way while it is leased."""
        return self.available(now)

    def lease(self, now: Instant, count: int) -> None:
        """They are on the way, with a date that is not known yet."""
        self._out += count
        self.moving += count
        self._look()

    def collect(self, now: Instant, used: int) -> None:
        """They are on the way from now on at the latest."""
        self._out -= used
        self.moving -= used
        self._begin(now, used)

    def follow(self, now: Instant, filled_at: Instant, used: int) -> None:
        """See `LimitPolicy.follow`."""
        self._leased.follow(self._batch(filled_at), now if self._by_outcome else self._latest, used)

    def reclaim(self, now: Instant, count: int) -> None:
        """They will not be used."""
        self._out -= count
        self.moving -= count
        self._look()

    def ended(self, now: Instant, filled_at: Instant, count: int) -> None:
        """Dates so many units of calls whose permits were leased then, if they are on the way."""
        if now >= self._due:
            self._arrive(now)
        taken = self._leased.take(self._batch(filled_at), count, self._on_the_way)
        if taken:
            self.moving -= taken
            # Not before the use of any of them, even if the clock has gone back.
            self._log.add(max(now, Instant(self._latest)), taken)
        self._look()

    def _batch(self, filled_at: Instant) -> int:
        """Counted by outcome, all leased units are alike: their dates do not matter."""
        return 0 if self._by_outcome else filled_at

    def _begin(self, now: Instant, units: int) -> int:
        """So many units are on the way from now on. Returns their date."""
        self.commit(now, Request(units) if self._unit is None else Request(0, {self._unit: units}))
        return now if self._by_outcome else self._latest

    def _drop(self, grant: Grant, count: int) -> None:
        """Removes units on the way that were leased."""
        self.moving -= self._leased.take(self._batch(grant.granted_at), count, self._on_the_way)
