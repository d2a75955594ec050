"""Which events are worth a message to those who watch?

Every change of a breaker and of degraded mode. Of refusals a sample: each second the first of each scope and reason, and no
more than 20 in all. The rest is not lost, as counters count them all. Nothing of what is granted or retried.
"""

from typing import Final, final

from governor.instrumentation import AnyEvent, BreakerChanged, CallDenied, ClientDenied, DegradedEntered, DegradedLeft

#: Refusals in a second.
MOST: Final = 20


@final
class Sampler:
    """Lets events through, or not. Its seconds are those of the events."""

    __slots__ = ("_second", "_seen")

    def __init__(self) -> None:
        self._second = 0
        self._seen: set[tuple[str, str]] = set()

    def admits(self, event: AnyEvent) -> bool:
        """Is this one to be told?"""
        match event:
            case BreakerChanged() | DegradedEntered() | DegradedLeft():
                return True
            case CallDenied(scope=scope, reason=reason):
                return self._is_new(int(event.at), (scope, reason))
            case ClientDenied(group=group, limit=limit):
                return self._is_new(int(event.at), (group, limit))
            case _:
                return False

    def _is_new(self, second: int, kind: tuple[str, str]) -> bool:
        if second != self._second:
            self._second = second
            self._seen.clear()
        if kind in self._seen or len(self._seen) >= MOST:
            return False
        self._seen.add(kind)
        return True
