"""Alarms of the actors, and the one task and timer that ring them.

An actor has no task of its own: at rest it costs the event loop nothing. The queue is a heap. An alarm that moves to a later
instant keeps its place, and gets another one when that is reached; one that moves to an earlier instant gets a second place,
and the first is dropped when it is reached.

Bound: the heap has at most two places for each alarm that is set, and `_MIN_PLACES` more.
"""

import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Protocol, final

import anyio
import anyio.lowlevel

from governor._actors.event_loop import running_loop
from governor._actors.portal import Portal

#: Alarms that ring in one turn of the loop: others have theirs in between.
MAX_RUNG: Final = 64
_MIN_PLACES: Final = 64


class Sleeper(Protocol):
    """What an alarm is set for."""

    def ring(self) -> None:
        """The alarm rings."""


@final
class Alarm:
    """One alarm of a sleeper, in seconds on the clock of the actors' event loop; infinity for none."""

    __slots__ = ("_alarms", "_sleeper", "at", "queued")

    def __init__(self, alarms: "Alarms", sleeper: Sleeper) -> None:
        self._alarms = alarms
        self._sleeper = sleeper
        self.at = math.inf
        #: Its place in the queue, never later than `at`; infinity for none.
        self.queued = math.inf

    def ring(self) -> None:
        """Rings now."""
        self.at = math.inf
        self._sleeper.ring()

    def set(self, at: float) -> None:
        """Moves the alarm."""
        self.at = at
        if at < self.queued:
            self._alarms.add(self)


@final
class Alarms:
    """The alarms of all actors of one governor. Belongs to the actors' thread."""

    __slots__ = ("_heap", "_loop", "_max_places", "_portal", "_serial", "_timer")

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._heap: list[tuple[float, int, Alarm]] = []
        self._serial = count()
        self._max_places = _MIN_PLACES
        #: While the task sleeps.
        self._timer: anyio.CancelScope | None = None
        #: The loop of the timer, which cannot be set on any other.
        self._loop: object = None

    def add(self, alarm: Alarm) -> None:
        """Gives an alarm another place in the queue, and sets the timer if that is the first one."""
        alarm.queued = at = alarm.at
        heappush(self._heap, (at, next(self._serial), alarm))
        if len(self._heap) > self._max_places:
            self._drop_stale()
        timer = self._timer
        if timer is not None and at < timer.deadline:
            if running_loop() is self._loop:
                timer.deadline = at
            else:
                self._portal.post(self._set_timer)

    async def run(self) -> None:
        """Rings alarms until the task is cancelled."""
        self._loop = running_loop()
        never = anyio.Event()
        while True:
            with anyio.CancelScope(deadline=self._next()) as timer:
                self._timer = timer
                await never.wait()
            self._timer = None
            self._portal.check_thread()
            while self.ring_due(timer.deadline):
                await anyio.lowlevel.checkpoint()

    def ring_due(self, reached: float = -math.inf) -> bool:
        """Rings the alarms that are due, at most `MAX_RUNG`. True if there may be more.

        The timer has fired for `reached`, which may be before the clock says so.
        """
        now = max(self._portal.time(), reached)
        for _ in range(MAX_RUNG):
            if self._next() > now:
                return False
            at, _, alarm = heappop(self._heap)
            if alarm.queued != at:
                continue
            alarm.queued = math.inf
            if alarm.at <= now:
                alarm.ring()
            elif alarm.at < math.inf:
                self.add(alarm)
        return True

    def _next(self) -> float:
        return self._heap[0][0] if self._heap else math.inf

    def _drop_stale(self) -> None:
        kept = []
        for place in self._heap:
            at, _, alarm = place
            if alarm.queued != at:
                continue
            if alarm.at == math.inf:
                alarm.queued = math.inf
            else:
                kept.append(place)
        heapify(kept)
        self._heap = kept
        self._max_places = 2 * len(kept) + _MIN_PLACES

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.deadline = min(self._timer.deadline, self._next())
