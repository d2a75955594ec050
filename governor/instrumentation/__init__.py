"""Events of a governor, and the hooks that receive them."""

from governor.instrumentation.events import (
    AnyEvent,
    BreakerChanged,
    CallDenied,
    CallsRejected,
    ClientDenied,
    DegradedEntered,
    DegradedLeft,
    Entry,
    Event,
    Granted,
    LeaseRevoked,
    LoopFound,
    Retried,
    Shown,
    Tone,
)
from governor.instrumentation.hooks import Announcer, Hook

__all__ = [
    "Announcer",
    "AnyEvent",
    "BreakerChanged",
    "CallDenied",
    "CallsRejected",
    "ClientDenied",
    "DegradedEntered",
    "DegradedLeft",
    "Entry",
    "Event",
    "Granted",
    "Hook",
    "LeaseRevoked",
    "LoopFound",
    "Retried",
    "Shown",
    "Tone",
]
