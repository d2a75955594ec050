"""The errors of the library, in three families.

`ConfigError` reports settings that cannot be used. `PermitDenied` has one subclass for each reason why a permit is denied, all
with the same three attributes. `UsageError` reports a mistake in the calling code.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """Why a permit is denied: one machine-readable word, the same in code, on the wire and in the documentation."""

    RATE_LIMIT = "rate_limit_exceeded"
    CIRCUIT_OPEN = "circuit_breaker_open"
    DEGRADED = "degraded_mode_active"
    COOLDOWN = "provider_cooldown_active"
    BAN_BUDGET = "ban_budget_spent"
    RETRY_BUDGET = "retry_budget_spent"
    BUDGET = "budget_spent"
    REQUEST_CAP = "global_request_cap_exceeded"
    LOOP = "loop_detected"
    CONCURRENCY = "concurrency_exceeded"
    COST = "cost_exceeds_capacity"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"


class GovernorError(RuntimeError):
    """Base class of all exceptions that the library raises on purpose.

    A `RuntimeError`, so that handlers written without knowledge of this library catch it.
    """


#: Characters of a value in a message.
_MAX_SHOWN: Final = 500


def _shown(value: object) -> str:
    """The value for a message. Long text is cut; what has none, such as lists nested a thousand deep, is named by its type."""
    try:
        text = repr(value)
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class Problem(NamedTuple):
    """One mistake in the settings. `str(problem)` is a line such as `governor.toml:3:1: unknown key 'limit' in [global]`.

    `path` is the path of the key in the policy file, or the name of an argument or variable; `value` is what it holds, and
    `allowed` what it may hold. `source` is the file or the environment variable that says so, and empty for settings that were
    passed in code. `line` and `column` count from 1, and are None outside of policy files.
    """

    path: str
    value: object
    allowed: str
    message: str
    source: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        return f"{place}: {self.message}" if place else self.message


class ConfigError(GovernorError, ValueError):
    """One or more settings cannot be used; `problems` lists all of them.

    `field`, `value` and `allowed` are those of the first problem.
    """

    def __init__(self, field: str, value: object, allowed: str, *, message: str | None = None) -> None:
        super().__init__(field, value, allowed)
        said = f"{field} is {_shown(value)}; expected {allowed}" if message is None else message
        self.problems: tuple[Problem, ...] = (Problem(field, value, allowed, said),)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> "ConfigError":
        """An error that reports several problems, at least one."""
        found = tuple(problems)
        error = cls(found[0].path, found[0].value, found[0].allowed)
        error.problems = found
        return error

    @property
    def field(self) -> str:
        """The path of the first problem."""
        return self.problems[0].path

    @property
    def value(self) -> object:
        """What that setting holds."""
        return self.problems[0].value

    @property
    def allowed(self) -> str:
        """What that setting may hold."""
        return self.problems[0].allowed

    def __reduce__(self) -> tuple[object, ...]:
        return ConfigError.of, (self.problems,)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return f"{len(self.problems)} mistakes in the settings:" + "".join(f"\n  {problem}" for problem in self.problems)


class UsageError(GovernorError):
    """The library was used in a way that cannot work, for instance a governor outside of `async with`."""


class PermitDenied(GovernorError):
    """A permit was denied.

    `scope` is `provider:method`, and `reason` says why. `retry_after` is the number of seconds after which another attempt can
    succeed; None means that waiting does not help.
    """

    def __init__(self, scope: str, reason: Reason, retry_after: float | None) -> None:
        super().__init__(scope, reason, retry_after)
        self.scope = scope
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        when = "waiting does not help" if self.retry_after is None else f"try again in {self.retry_after:.3f} s"
        return f"{self.scope} was denied: {self.reason.value}; {when}"


class RateLimited(PermitDenied):
    """A rate limit of the scope is used up."""


class CircuitOpen(PermitDenied):
    """The circuit breaker of the scope is open, or half-open with all of its probes in flight."""


class DegradedMode(PermitDenied):
    """All outbound traffic is paused; `retry_after` is the rest of the cooldown."""


class ProviderCooldown(PermitDenied):
    """The provider's server has asked for a pause; `retry_after` is the rest of it."""


class BanBudgetSpent(PermitDenied):
    """The provider has rejected so many calls that further ones could end in a ban; `retry_after` is the rest of the pause."""


class RetryBudgetSpent(PermitDenied):
    """The call is a retry, and the retry budget of the provider is used up."""


class BudgetSpent(PermitDenied):
    """The caller with this label has spent a budget; `retry_after` is the time until it has room again."""


class RequestCapExceeded(PermitDenied):
    """The global cap on requests per minute is used up."""


class LoopDetected(PermitDenied):
    """The same request was repeated too often."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}. This call, or one that differs only in counters, times or identifiers, repeats itself; "
            f'if that is on purpose, set `loops = {{ enabled = false }}` in [outbound."{self.scope}"]'
        )


class ConcurrencyExceeded(PermitDenied):
    """The maximum number of calls is in flight; a permit becomes available when one of them ends."""


class CostExceedsCapacity(PermitDenied):
    """The cost is larger than the capacity of a limit, so that it can never be granted."""


class Overloaded(PermitDenied):
    """A queue of the governor is full, or the actor of the scope failed. No limit was charged."""


class ShuttingDown(PermitDenied):
    """The governor is closed or closing."""


_CLASSES: Final[dict[Reason, type[PermitDenied]]] = {
    Reason.RATE_LIMIT: RateLimited,
    Reason.CIRCUIT_OPEN: CircuitOpen,
    Reason.DEGRADED: DegradedMode,
    Reason.COOLDOWN: ProviderCooldown,
    Reason.BAN_BUDGET: BanBudgetSpent,
    Reason.RETRY_BUDGET: RetryBudgetSpent,
    Reason.BUDGET: BudgetSpent,
    Reason.REQUEST_CAP: RequestCapExceeded,
    Reason.LOOP: LoopDetected,
    Reason.CONCURRENCY: ConcurrencyExceeded,
    Reason.COST: CostExceedsCapacity,
    Reason.OVERLOADED: Overloaded,
    Reason.SHUTTING_DOWN: ShuttingDown,
}


def permit_denied(scope: str, reason: Reason, retry_after: float | None) -> PermitDenied:
    """An exception of the subclass of `PermitDenied` that belongs to `reason`."""
    return _CLASSES[reason](scope, reason, retry_after)
