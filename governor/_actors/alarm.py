"""Task of an actor: sleeps until the alarm, and calls the actor when it rings."""

import math
from collections.abc import Callable
from typing import final

import anyio

from governor._actors.event_loop import running_loop
from governor._actors.portal import Portal


@final
class Alarm:
    """One alarm, in seconds on the clock of the actors' event loop; infinity for none. `on_ring` is called when it rings.

    An alarm that is moved to a later time leaves its timer alone, which finds out when it fires. A queue moves its alarm with
    each call that joins or leaves, nearly always to a later time, and to move the timer costs more than the rest of a decision.
    """

    __slots__ = ("_crash", "_fires_at", "_loop", "_on_ring", "_portal", "_stop", "_timer", "at")

    def __init__(self, portal: Portal, on_ring: Callable[[], object]) -> None:
        self._portal = portal
        self._on_ring = on_ring
        #: Made when it is needed: the first call of a scope does not wait for it.
        self._stop: anyio.Event | None = None
        self._timer: anyio.CancelScope | None = None
        #: When the timer fires: not after the alarm.
        self._fires_at = math.inf
        #: The loop of the timer, which cannot be set on any other.
        self._loop: object = None
        self._crash: Exception | None = None
        self.at = math.inf

    async def run(self) -> None:
        """Rings until the alarm is stopped. Raises the exception that it was stopped with, if any."""
        stop = self._end()  # After a restart there is another one.
        self._loop = running_loop()
        while not stop.is_set():
            self._fires_at = self.at
            with anyio.CancelScope(deadline=self.at) as timer:
                self._timer = timer
                await stop.wait()
            if self._timer is timer:
                self._timer = None
            if not stop.is_set() and self.at <= max(self._fires_at, self._portal.time()):
                self._portal.check_thread()
                self.ring()
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash

    def ring(self) -> None:
        """Rings now."""
        self.at = math.inf
        self._on_ring()

    def set(self, at: float) -> None:
        """Moves the alarm."""
        self.at = at
        if at < self._fires_at and self._timer is not None:
            if running_loop() is self._loop:
                self._set_timer()
            else:
                self._portal.post(self._set_timer)

    def stop(self, crash: Exception | None = None) -> None:
        """Ends the task."""
        self._crash = crash or self._crash
        self._end().set()

    def restart(self) -> None:
        """Gets ready for another task. The one that was stopped may not have ended yet."""
        self._stop = None
        self._crash = None
        self.at = math.inf

    def _end(self) -> anyio.Event:
        if self._stop is None:
            self._stop = anyio.Event()
        return self._stop

    def _set_timer(self) -> None:
        if self._timer is not None and self.at < self._fires_at:
            self._timer.deadline = self._fires_at = self.at
