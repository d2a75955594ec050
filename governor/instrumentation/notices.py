"""Lines on the logger `governor` for operators: circuit breakers, degraded mode, high use of the global cap.

A line for each change of state, never one for each request. Lines name scopes and providers, and nothing of a request.

At the bound: in one minute at most `MAX_LINES` lines about breakers, and as many about all the rest. What comes beyond is
counted, and the count is logged when the minute is over.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, final

from governor._units import MINUTE, Duration, Instant, to_seconds

_log: Final = logging.getLogger("governor")

#: Lines of one kind in a minute.
MAX_LINES: Final = 20


@final
class Notices:
    """Writes the lines. `on_held_back` is called when lines are held back: `flush` should be called within a minute."""

    __slots__ = ("_breakers", "_on_held_back", "_others", "_wall_clock")

    def __init__(self, wall_clock: Callable[[], float], on_held_back: Callable[[], object]) -> None:
        self._wall_clock = wall_clock
        self._on_held_back = on_held_back
        self._breakers = _Budget("circuit breakers")
        self._others = _Budget("degraded mode and the request cap")

    def breaker_opened(self, now: Instant, scope: str, why: str, left: Duration) -> None:
        """A breaker denies all calls for `left`."""
        text = "The circuit breaker of %s opened %s: no calls %s."
        self._say(self._breakers, now, logging.WARNING, text, scope, why, self._until(left))

    def breaker_closed(self, now: Instant, scope: str, *, by_hand: bool) -> None:
        """A breaker lets all calls through again."""
        why = "by hand" if by_hand else "its probes went well"
        self._say(self._breakers, now, logging.INFO, "The circuit breaker of %s closed: %s.", scope, why)

    def degraded_by_failures(self, now: Instant, providers: Sequence[str], left: Duration) -> None:
        """Failures in a row, most of them of these providers, pause outbound traffic for `left`."""
        text = "Degraded mode began: failures in a row%s. Outbound traffic is paused %s."
        self._say(self._others, now, logging.WARNING, text, _listed(" of ", providers), self._until(left))

    def degraded_by_cap(self, now: Instant, cap: int | None, providers: Sequence[str], left: Duration) -> None:
        """What the cap has denied, most of it to these providers, pauses outbound traffic for `left`."""
        text = "Degraded mode began: the cap of %s requests per minute denied too many%s. Outbound traffic is paused %s."
        self._say(self._others, now, logging.WARNING, text, cap, _listed(" of ", providers), self._until(left))

    def closed(self, now: Instant, scope: str, rejections: int, left: Duration) -> None:
        """A scope, or a provider, has closed because its server rejects its calls."""
        text = "%s is closed after the server has rejected call after call (%s within its ban budget): no calls %s."
        self._say(self._breakers, now, logging.WARNING, text, scope, rejections, self._until(left))

    def degraded_left(self, now: Instant) -> None:
        """The pause is over."""
        self._say(self._others, now, logging.INFO, "Degraded mode ended: outbound traffic goes on.")

    def high_use(self, now: Instant, used: int, cap: int | None, percent: int) -> None:
        """Much of the cap is used."""
        text = "More than %s %% of the cap of %s requests per minute is used: %s in the last 60 s."
        self._say(self._others, now, logging.WARNING, text, percent, cap, used)

    def flush(self, now: Instant) -> None:
        """Logs how many lines have been held back, if the minute in which that was is over."""
        for budget in (self._breakers, self._others):
            with suppress(Exception):
                budget.turn_over(now)
            if budget.held_back:
                self._on_held_back()

    def _say(self, budget: "_Budget", now: Instant, level: int, text: str, *values: object) -> None:
        with suppress(Exception):  # Handlers and filters of logging are other people's code.
            if not _log.isEnabledFor(level):
                return
            if budget.take(now):
                _log.log(level, text, *values)
            else:
                self._on_held_back()

    def _until(self, left: Duration) -> str:
        end = datetime.fromtimestamp(self._wall_clock() + to_seconds(left), UTC)
        return f"for {to_seconds(left):.1f} s, until {end:%H:%M:%S} UTC"


@final
class _Budget:
    """So many lines in a minute that begins with the first."""

    __slots__ = ("_begun", "_left", "_subject", "held_back")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._begun = Instant(-MINUTE)
        self._left = MAX_LINES
        #: Lines of this minute that were not written.
        self.held_back = 0

    def take(self, now: Instant) -> bool:
        """Whether one more line may be written."""
        self.turn_over(now)
        if self._left:
            self._left -= 1
            return True
        self.held_back += 1
        return False

    def turn_over(self, now: Instant) -> None:
        """Begins another minute if this one is over."""
        if now - self._begun < MINUTE:
            return
        held_back, self.held_back = self.held_back, 0
        self._begun, self._left = now, MAX_LINES
        if held_back:
            _log.warning("%s more lines about %s were held back in the last minute.", held_back, self._subject)


def _listed(before: str, names: Sequence[str]) -> str:
    return before + ", ".join(names) if names else ""
