"""The questions of an adapter to the governor: for a permit, and for the plan after a failed attempt."""

from typing import TypedDict

from governor import CallFailure, Cost, Fingerprint


class Ask(TypedDict):
    """The parameters of a permit: see `Governor.acquire`."""

    timeout: float | None
    attempt: int | None
    cost: Cost
    caller: str | None
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
