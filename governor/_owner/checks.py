"""Checks of what processes say, beyond what the types of the messages check."""

from collections.abc import Mapping
from typing import Final

import msgspec

from governor._actors.actor import ScopeActor
from governor._units import MAX_DURATION, Instant, to_seconds
from governor.errors import GovernorError
from governor.messages import Acquire
from governor.policies.contract import PLAIN, Grant, Request

#: The largest amount of a unit, and the most units, in one request.
MAX_AMOUNT: Final = 2**53
MAX_UNITS: Final = 64
#: Characters of the name of a unit, and of the label of a caller.
MAX_NAME: Final = 200
#: Seconds. A longer wait counts as one without limit.
MAX_TIMEOUT: Final = to_seconds(MAX_DURATION)


class ProtocolError(GovernorError):
    """What a process has said cannot be accepted: its connection ends."""


def checked_acquire(acquire: Acquire) -> Acquire:
    """The ask as actors know it. Raises `ProtocolError`."""
    timeout = acquire.timeout
    if timeout is not None and not timeout >= 0:
        raise ProtocolError(f"a timeout of {timeout} s is not a time to wait")
    if acquire.attempt is not None and acquire.attempt < 1:
        raise ProtocolError(f"attempt {acquire.attempt} is below 1")
    if acquire.caller is not None and len(acquire.caller) > MAX_NAME:
        raise ProtocolError(f"a label of {len(acquire.caller)} characters is too long")
    if timeout is not None and timeout > MAX_TIMEOUT:
        timeout = None
    elif acquire.request is PLAIN and acquire.watched is None:
        return acquire  # As nearly all are.
    # One request is known by identity, and the process itself watches for loops.
    return msgspec.structs.replace(acquire, request=checked_request(acquire.request), timeout=timeout, watched=None)


def checked_request(request: Request) -> Request:
    """The cost as policies know it. Raises `ProtocolError`."""
    if not 0 <= request.cost <= MAX_AMOUNT:
        raise ProtocolError(f"a cost of {request.cost} requests is not possible")
    if request.units:
        checked_used(request.units)
        return request
    return PLAIN if request.cost == 1 else request


def checked_used(used: Mapping[str, int]) -> Mapping[str, int]:
    """The amounts by unit. Raises `ProtocolError`."""
    if len(used) > MAX_UNITS:
        raise ProtocolError(f"{len(used)} units in one request are more than {MAX_UNITS}")
    for unit, amount in used.items():
        if len(unit) > MAX_NAME or not 0 <= amount <= MAX_AMOUNT:
            raise ProtocolError(f"{amount} {unit[:MAX_NAME]} is not a possible amount")
    return used


def checked_grant(grant: Grant, actor: ScopeActor, now: Instant) -> Grant:
    """A grant that policies can handle, whatever a process has made of it. Raises `ProtocolError`."""
    pipeline = actor.ledger.pipeline
    receipts = grant.receipts if grant.receipts is not None and len(grant.receipts) == len(pipeline.spending) else None
    return msgspec.structs.replace(
        grant,
        granted_at=Instant(max(0, min(grant.granted_at, now))),
        generation=max(0, min(grant.generation, pipeline.breaker.generation)),
        request=checked_request(grant.request),
        receipts=receipts,
        answered_at=None,
    )
