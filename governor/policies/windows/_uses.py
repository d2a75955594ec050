"""Uses of a strict window: units on the way by the instant of their grant, and a sliding log of those that have arrived.

Compiled where there is a compiler, because this is what each call costs in a window; `_window_uses.pxd` has the fields.
"""

from governor._fields import LimitFields
from governor._units import NEVER, Instant
from governor.policies._sliding_log import SLOTS, SlidingLog


class WindowUses(LimitFields):
    """The uses of the state machine of a window, which sets what is named here and has the rest of the rules."""

    __slots__ = (
        "_amount",
        "_by_outcome",
        "_due",
        "_earlier",
        "_latest",
        "_log",
        "_margin",
        "_newest",
        "_newest_at",
        "_unit",
        "moving",
    )

    #: The units that a window holds.
    _amount: int
    #: No unit on the way is certain to have arrived before this instant.
    _due: int
    #: The latest instant seen: no grant is dated before it, even if the clock goes back.
    _latest: int
    _log: SlidingLog
    #: Whether a unit counts by the outcome of its call. Else it arrives at most `_margin` after its grant.
    _by_outcome: bool
    _margin: int
    #: Units on the way by the instant of their grant, in the order of those instants; and apart from them, since most of them
    #: arrive before there are others, the units of the newest instant.
    _earlier: dict[int, int]
    _newest: int
    _newest_at: int
    #: None stands for requests.
    _unit: str | None
    #: The units on the way, with those that are leased.
    moving: int
    ready: int

    @property
    def _on_the_way(self) -> dict[int, int]:
        """All units on the way by the instant of their grant."""
        earlier, units = self._earlier, self._newest
        if units:
            self._newest = 0
            earlier[self._newest_at] = earlier.get(self._newest_at, 0) + units
        return earlier

    def spend(self, now: Instant, cost: int) -> int:
        """The units, at least 1, are on the way from now on. Returns `ready`."""
        dated: int = now
        if not self._by_outcome:
            if (self.ready or self._unit is not None) and self.moving + self._log.total >= self._amount:
                # What has left the window is dropped here, for there may be no answer that does it.
                self._arrive(now)
                self._log.forget(now)
            if self.moving >= SLOTS and len(self._on_the_way) >= SLOTS:  # The first is true before, and costs no call.
                grain = -(-self._margin // SLOTS)
                dated = -(-now // grain) * grain
            if dated < self._latest:
                dated = self._latest
            self._latest = dated
            if not (self._newest or self._earlier):
                self._due = dated + self._margin
        if dated == self._newest_at:
            self._newest += cost
        else:
            units, earlier = self._newest, self._earlier
            if units:
                # As `_on_the_way`, written out.
                earlier[self._newest_at] = earlier.get(self._newest_at, 0) + units
            self._newest, self._newest_at = cost, dated
        self.moving += cost
        # As `_look`, written out: it runs for every permit.
        if self.moving + self._log.total >= self._amount and self._unit is None:
            self.ready = NEVER
            return NEVER
        self.ready = 0
        return 0

    def succeed(self, now: Instant, granted_at: Instant) -> bool:
        """As `record` of a plain request that was answered with success, and was not granted ahead.

        Returns whether there is room for another one. Written out, as `StrictWindowPolicy._land`.
        """
        if now >= self._due:
            self._arrive(now)
        if self._unit is not None:
            self.ready = 0
            return True
        units = 1
        if granted_at == self._newest_at and self._newest:
            self._newest -= 1
        else:
            earlier = self._earlier
            units = earlier.get(granted_at, 0)
            if units == 1:
                del earlier[granted_at]
            elif units:
                earlier[granted_at] = units - 1
        log = self._log
        if units:
            self.moving -= 1
            dated = now if now > granted_at else granted_at
            if dated < log.slot_ends:
                # `SlidingLog.add`
                log.more += 1
                if dated > log.newest_at:
                    log.newest_at = dated
                log.total += 1
                return not self.ready  # One unit more, and one less.
            log.add(dated, 1)
        if self.moving + log.total < self._amount:
            self.ready = 0
            return True
        self.ready = NEVER
        return False

    def _arrive(self, now: Instant) -> None:
        """Dates the units whose margin is over."""
        if self._by_outcome or now < self._due:
            return
        margin, moving = self._margin, self._on_the_way
        self._due = NEVER
        for granted in list(moving):
            if granted + margin > now:
                self._due = granted + margin
                break
            # No later grant may be dated as early as this one.
            self._latest = max(self._latest, now)
            units = moving.pop(granted)
            self.moving -= units
            self._log.add(Instant(granted + margin), units)
        # What has left the window has been dropped.
        self._look()

    def _look(self) -> None:
        """Updates `ready`, without a look at any date."""
        full = self.moving + self._log.total >= self._amount
        self.ready = NEVER if full and self._unit is None else 0
