"""The states of a circuit breaker: its transition table, and the record of a breaker at one instant."""

from enum import Enum, StrEnum
from typing import Final

import msgspec

from governor._units import Instant
from governor.policies.breakers._call_log import CallLogState


class BreakerStatus(StrEnum):
    """The state of a breaker: it grants everything, nothing, or probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(Enum):
    """The events that move a breaker from one status to the next."""

    TRIPPED = "tripped"
    COOLED = "cooled"
    RECOVERED = "recovered"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"


#: Every legal transition. Any other one raises KeyError and changes nothing.
TRANSITIONS: Final[dict[tuple[BreakerStatus, BreakerEvent], BreakerStatus]] = {
    (BreakerStatus.CLOSED, BreakerEvent.TRIPPED): BreakerStatus.OPEN,
    (BreakerStatus.OPEN, BreakerEvent.COOLED): BreakerStatus.HALF_OPEN,
    (BreakerStatus.HALF_OPEN, BreakerEvent.RECOVERED): BreakerStatus.CLOSED,
    (BreakerStatus.HALF_OPEN, BreakerEvent.TRIPPED): BreakerStatus.OPEN,
    (BreakerStatus.CLOSED, BreakerEvent.FORCED_OPEN): BreakerStatus.OPEN,
    (BreakerStatus.OPEN, BreakerEvent.FORCED_OPEN): BreakerStatus.OPEN,
    (BreakerStatus.HALF_OPEN, BreakerEvent.FORCED_OPEN): BreakerStatus.OPEN,
    (BreakerStatus.OPEN, BreakerEvent.FORCED_CLOSED): BreakerStatus.CLOSED,
    (BreakerStatus.HALF_OPEN, BreakerEvent.FORCED_CLOSED): BreakerStatus.CLOSED,
}


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a breaker, as another actor or process needs it to continue."""

    status: BreakerStatus
    generation: int
    since: int
    until: Instant
    failures: int
    successes: int
    out: tuple[Instant, ...]
    admitted: int
    ramp: int | None
    unbound: int
    openings: int
    last_failure: Instant | None
    last_calls: tuple[bool, ...]
    calls: CallLogState
    forced: bool = False
    spells: int = 0
