"""Must all outbound traffic pause? Degraded mode: entered at the global cap or after failures in a row, left by itself."""

import msgspec

from governor._units import MINUTE, Duration, Instant
from governor.errors import Reason
from governor.policies import _checks
from governor.policies.contract import Grant, Request, Result


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """`failures` in a row, over all scopes, pause everything for `cooldown`. Raises `ConfigError`."""

    failures: int = 10
    cooldown: Duration = MINUTE

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("failures", self.failures)
        _checks.positive_span("cooldown", self.cooldown)


class DegradedState(msgspec.Struct, frozen=True):
    """Where degraded mode stands."""

    until: Instant
    failures: int
    spells: int


class DegradedPolicy:
    """The machine: one instant until which nothing goes out, and a count of failures in a row."""

    __slots__ = ("failures", "parameters", "spells", "until")

    reason = Reason.DEGRADED

    def __init__(self, parameters: Degraded) -> None:
        self.parameters = parameters
        #: Traffic is paused while now is before this instant.
        self.until = Instant(0)
        #: Failures in a row, over all scopes.
        self.failures = 0
        #: How often it was entered.
        self.spells = 0

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """Now, or the end of the cooldown."""
        return max(now, self.until)

    def commit(self, now: Instant, request: Request) -> int:
        """Nothing is spent."""
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Counts failures in a row. What was granted before the latest cooldown ended belongs to the time before it."""
        if grant.granted_at < self.until or result is Result.NEUTRAL:
            return
        if result is Result.SUCCESS:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= self.parameters.failures:
            self.enter(now)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Nothing was spent."""

    def forecast(self, now: Instant) -> "DegradedPolicy":
        """Grants do not change it."""
        return self

    def enter(self, now: Instant) -> None:
        """Pauses traffic for one cooldown from now. During a cooldown this changes nothing."""
        if now >= self.until:
            self.until = Instant(now + self.parameters.cooldown)
            self.failures = 0
            self.spells += 1

    def state(self) -> DegradedState:
        """What `restore` needs to go on from here."""
        return DegradedState(self.until, self.failures, self.spells)

    def restore(self, state: DegradedState) -> None:
        """Goes on from a state taken earlier."""
        self.until = state.until
        self.failures = state.failures
        self.spells = state.spells
