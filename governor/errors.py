"""What can go wrong, split by who must act?

`ConfigError` is for whoever wrote a setting, `PermitDenied` and its leaves for whoever asked for a permit: one leaf for each
reason, all with the same three facts. `UsageError` is a mistake in the calling code.
"""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why a permit was refused: the machine-readable word, the same in code, on the wire and in the documentation."""

    RATE_LIMIT = "rate_limit_exceeded"
    CIRCUIT_OPEN = "circuit_breaker_open"
    DEGRADED = "degraded_mode_active"
    REQUEST_CAP = "global_request_cap_exceeded"
    LOOP = "loop_detected"
    CONCURRENCY = "concurrency_exceeded"
    COST = "cost_exceeds_capacity"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"


class GovernorError(Exception):
    """Everything that this library raises on purpose."""


class ConfigError(GovernorError, ValueError):
    """A setting cannot be used. Says which field, what it holds and what is allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}; allowed: {self.allowed}"


class UsageError(GovernorError, RuntimeError):
    """The governor was called in a way that cannot work, for instance outside `async with`."""


class PermitDenied(GovernorError):
    """A permit was promised and refused.

    `scope` is `provider:method`, `reason` the machine-readable word, `retry_after` the seconds after which asking again can
    succeed, or None when waiting cannot help.
    """

    def __init__(self, scope: str, reason: Reason, retry_after: float | None) -> None:
        super().__init__(scope, reason, retry_after)
        self.scope = scope
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        when = "waiting cannot help" if self.retry_after is None else f"try again in {self.retry_after:.3f} s"
        return f"{self.scope} was refused: {self.reason.value}; {when}"


class RateLimited(PermitDenied):
    """A limit of the scope is used up for now."""


class CircuitOpen(PermitDenied):
    """The circuit breaker of the scope is open, or all of its half-open probes are out."""


class DegradedMode(PermitDenied):
    """All outbound traffic is paused; `retry_after` is what is left of the cooldown."""


class RequestCapExceeded(PermitDenied):
    """The global cap on requests per minute is used up."""


class LoopDetected(PermitDenied):
    """The same request was repeated too often."""


class ConcurrencyExceeded(PermitDenied):
    """As many calls as allowed are in flight; the end of one of them makes room."""


class CostExceedsCapacity(PermitDenied):
    """The cost is more than the limit can ever hold; ask for less."""


class Overloaded(PermitDenied):
    """A queue of the governor is full, or the actor of the scope failed; nothing was spent."""


class ShuttingDown(PermitDenied):
    """The governor is closed or closing."""


_LEAVES: Final[dict[Reason, type[PermitDenied]]] = {
    Reason.RATE_LIMIT: RateLimited,
    Reason.CIRCUIT_OPEN: CircuitOpen,
    Reason.DEGRADED: DegradedMode,
    Reason.REQUEST_CAP: RequestCapExceeded,
    Reason.LOOP: LoopDetected,
    Reason.CONCURRENCY: ConcurrencyExceeded,
    Reason.COST: CostExceedsCapacity,
    Reason.OVERLOADED: Overloaded,
    Reason.SHUTTING_DOWN: ShuttingDown,
}


def permit_denied(scope: str, reason: Reason, retry_after: float | None) -> PermitDenied:
    """The leaf of `PermitDenied` that belongs to `reason`."""
    return _LEAVES[reason](scope, reason, retry_after)
