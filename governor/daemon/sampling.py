"""The sample of events that listeners and the timeline get.

Events say themselves whether they are `shown`: always, never, or as a sample, which is the first event of each group in a
second, and no more than `MAX_SAMPLED` per second in all. Counters still count every one.
"""

from typing import Final, final

from governor.instrumentation import AnyEvent, Shown

#: Sampled events per second.
MAX_SAMPLED: Final = 20


@final
class Sampler:
    """Admits events or not. Its seconds are those of the events."""

    __slots__ = ("_second", "_seen")

    def __init__(self) -> None:
        self._second = 0
        self._seen: set[str] = set()

    def admits(self, event: AnyEvent) -> bool:
        """Whether this event is passed on."""
        if event.shown is Shown.SAMPLED:
            return self._is_new(int(event.at), f"{getattr(event, 'scope', '')} {event.entry().group}")
        return event.shown is Shown.ALWAYS

    def _is_new(self, second: int, group: str) -> bool:
        if second != self._second:
            self._second = second
            self._seen.clear()
        if group in self._seen or len(self._seen) >= MAX_SAMPLED:
            return False
        self._seen.add(group)
        return True
