"""Cooldown of a provider: a pause that its server has asked for, over all scopes of the provider.

A server that denies a call often says when to come back (Retry-After, RFC 9110, section 10.2.3). Until then every other call of
the provider would be denied as well, and count against it. The end of a cooldown only moves later: of several answers, which
may arrive in any order, the one that asks for the longest wait decides.

Afterwards calls may be paced for a while: those that have waited are granted one after another, and not in one instant.
"""

from typing import Final

import msgspec

from governor._units import Duration, Instant
from governor.errors import Reason
from governor.policies.contract import Grant, Request, Result

_NONE: Final = Duration(0)
#: Grants at most in the time in which they are paced.
PACED: Final = 16


class CooldownState(msgspec.Struct, frozen=True, tag="cooldown"):
    """The end of the cooldown."""

    until: Instant = Instant(0)
    paced_until: Instant = Instant(0)
    gap: int = 0


class CooldownPolicy(msgspec.Struct, eq=False, gc=False):
    """The state machine, one for each provider. `reason` is the reason of its denials."""

    reason: Reason = Reason.COOLDOWN
    #: Nothing is granted while now is before this instant.
    until: Instant = Instant(0)
    #: Before this instant, and after `until`, grants have a distance.
    paced_until: Instant = Instant(0)
    _gap: int = 0

    def extend(self, now: Instant, wait: Duration, pace: Duration = _NONE) -> bool:
        """The server asks for no call within `wait` from `now` on. True if that moves the end of the cooldown.

        For a time of `pace` after it, at most `PACED` calls are granted.
        """
        until = Instant(now + wait)
        if until <= self.until:
            return False
        self.until = until
        self.paced_until = Instant(until + pace)
        self._gap = -(-pace // PACED)
        return True

    def reset(self) -> None:
        """Ends the cooldown, and the time after it in which calls are paced."""
        self.until = self.paced_until = Instant(0)
        self._gap = 0

    def granted(self, now: Instant) -> None:
        """A call was granted: while calls are paced, the next one waits."""
        if self.until <= now < self.paced_until:
            self.until = Instant(min(now + self._gap, self.paced_until))

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now`, or the end of the cooldown."""
        return max(now, self.until)

    def commit(self, now: Instant, request: Request) -> int:
        """Nothing is spent."""
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Outcomes do not change it."""

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Nothing was spent."""

    def forecast(self, now: Instant) -> "CooldownPolicy":
        """Grants do not change it."""
        return self

    def state(self) -> CooldownState:
        """The state as a frozen record, for `restore`."""
        return CooldownState(self.until, self.paced_until, self._gap)

    def restore(self, state: CooldownState) -> None:
        """Continues from a state that `state` returned."""
        self.until, self.paced_until, self._gap = state.until, state.paced_until, state.gap


#: Of scopes and providers whose server has never asked for a pause, and of providers that were never closed by hand.
NO_COOLDOWN: Final = CooldownPolicy()
NO_HOLD: Final = CooldownPolicy(Reason.CIRCUIT_OPEN)
