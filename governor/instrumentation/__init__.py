"""Events of a governor, and the hooks that receive them.

Each name is loaded on first use: events are loaded with the first one that a hook receives.
"""

from typing import TYPE_CHECKING

from governor._exports import exports

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "events": (
                "AnyEvent BreakerChanged CallDenied CallsRejected ClientDenied DegradedEntered DegradedLeft Entry Event "
                "Granted LeaseRevoked LoopFound Retried Shown Tone"
            ),
            "hooks": "Announcer Hook",
        },
    )

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
