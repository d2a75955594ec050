"""The questions of an adapter to the governor: for a permit, and for the plan after a failed attempt."""

from typing import Final, TypedDict, cast, get_args

from governor import CallFailure, ConfigError, Cost, Fingerprint, Priority

_PRIORITIES: Final = get_args(Priority)


def check_priority(priority: object) -> Priority:
    """Raises `ConfigError` unless this is a `Priority`; returns it."""
    if priority not in _PRIORITIES:
        raise ConfigError("priority", priority, " or ".join(map(repr, _PRIORITIES)))
    return cast("Priority", priority)


class Ask(TypedDict):
    """The parameters of a permit: see `Governor.acquire`."""

    timeout: float | None
    attempt: int | None
    cost: Cost
    caller: str | None
    priority: Priority
    fingerprint: Fingerprint | None


class Question(TypedDict):
    """The arguments of `plan_retry` after a failed attempt."""

    provider: str
    method: str
    attempt: int
    remaining: float | None
    status: int | None
    server_wait: float | None
    idempotency_key: bool
    failure: CallFailure | None
