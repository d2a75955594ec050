"""What happens in a governor, for those who want to be told: events, and the hooks that take them."""

from governor.instrumentation.events import (
    AnyEvent,
    BreakerChanged,
    CallDenied,
    ClientDenied,
    DegradedEntered,
    DegradedLeft,
    Event,
    Granted,
    LeaseRevoked,
    Retried,
)
from governor.instrumentation.hooks import Announcer, Hook

__all__ = [
    "Announcer",
    "AnyEvent",
    "BreakerChanged",
    "CallDenied",
    "ClientDenied",
    "DegradedEntered",
    "DegradedLeft",
    "Event",
    "Granted",
    "Hook",
    "LeaseRevoked",
    "Retried",
]
