"""Cooldown of a provider: a pause that its server has asked for, over all scopes of the provider.

A server that denies a call often says when to come back (Retry-After, RFC 9110, section 10.2.3). Until then every other call of
the provider would be denied as well, and count against it. The end of a cooldown only moves later: of several answers, which
may arrive in any order, the one that asks for the longest wait decides.
"""

import msgspec

from governor._units import Duration, Instant
from governor.errors import Reason
from governor.policies.contract import Grant, Request, Result


class CooldownState(msgspec.Struct, frozen=True, tag="cooldown"):
    """The end of the cooldown."""

    until: Instant = Instant(0)


class CooldownPolicy:
    """The state machine, one for each provider. `reason` is the reason of its denials."""

    __slots__ = ("reason", "until")

    def __init__(self, reason: Reason = Reason.COOLDOWN) -> None:
        self.reason = reason
        #: Nothing is granted while now is before this instant.
        self.until = Instant(0)

    def extend(self, now: Instant, wait: Duration) -> bool:
        """The server asks for no call within `wait` from `now` on. True if that moves the end of the cooldown."""
        until = Instant(now + wait)
        if until <= self.until:
            return False
        self.until = until
        return True

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
        return CooldownState(self.until)

    def restore(self, state: CooldownState) -> None:
        """Continues from a state that `state` returned."""
        self.until = state.until
