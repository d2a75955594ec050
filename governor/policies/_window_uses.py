"""Uses of a strict window: units on the way by the instant of their grant, and a sliding log of those that have arrived.

Compiled where there is a compiler, because this is what each call costs in a window; `_window_uses.pxd` has the fields.
"""

from governor._fields import LimitFields
from governor._units import NEVER, Instant
from governor.policies._sliding_log import SLOTS, SlidingLog


class WindowUses(LimitFields):
    """The uses of the state machine of a window, which sets what is named here and has the rest of the rules."""

    __slots__ = ("_amount", "_by_outcome", "_due", "_latest", "_log", "_margin", "_on_the_way", "_unit", "moving")

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
    #: Units by the instant of their grant, in the order of those instants.
    _on_the_way: dict[int, int]
    #: None stands for requests.
    _unit: str | None
    #: The units on the way, with those that are lent.
    moving: int
    ready: int

    def spend(self, now: Instant, cost: int) -> int:
        """The units, at least 1, are on the way from now on. Returns `ready`."""
        moving = self._on_the_way
        dated: int = now
        if not self._by_outcome:
            if (self.ready or self._unit is not None) and self.moving + self._log.total >= self._amount:
                # What has left the window is dropped here, for there may be no answer that does it.
                self._arrive(now)
                self._log.forget(now)
            if self.moving >= SLOTS and len(moving) >= SLOTS:  # The first of the two is true before, and costs no call.
                grain = -(-self._margin // SLOTS)
                dated = -(-now // grain) * grain
            if dated < self._latest:
                dated = self._latest
            self._latest = dated
            if not moving:
                self._due = dated + self._margin
        if dated in moving:
            moving[dated] += cost
        else:
            moving[dated] = cost
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
        moving = self._on_the_way
        units = moving.get(granted_at, 0)
        log = self._log
        if units:
            if units == 1:
                del moving[granted_at]
            else:
                moving[granted_at] = units - 1
            self.moving -= 1
            dated = now if now > granted_at else granted_at
            if dated < log.slot_ends:
                # `SlidingLog.add`
                newest = log.newest
                newest[1] += 1
                if dated > newest[0]:
                    newest[0] = dated
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
