"""What all scopes share: the global request cap, degraded mode and budgets, and the events and log lines about them.

The policies are shared by every pipeline. This module sets them up, watches them, and reports what they do.
"""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Final, final

import anyio

from governor import instrumentation
from governor._exports import Later
from governor._units import MINUTE, Duration, to_seconds
from governor.clock import Clock, wall_clock
from governor.config import GlobalSettings, provider_of
from governor.instrumentation import Announcer
from governor.policies._checks import MAX_AMOUNT
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.states import BreakerStatus
from governor.policies.budget import Budgets
from governor.policies.degraded import Cause, Degraded, DegradedPolicy
from governor.policies.request_cap import WARN_AT, RequestCap, RequestCapPolicy

if TYPE_CHECKING:
    from governor.instrumentation import notices
else:
    notices = Later("governor.instrumentation.notices")

#: How often the use of the cap is looked at after it has been high, until it has fallen, in seconds.
_CALM_INTERVAL: Final = 5.0
#: A share is counted in whole millionths.
_MILLION: Final = 1_000_000


@final
class GlobalWatch:
    """The cap and degraded mode of one governor. Belongs to the actors' thread; `tasks` are its tasks, without end."""

    def __init__(self, settings: GlobalSettings, *, now: Clock, announcer: Announcer) -> None:
        self.cap = RequestCapPolicy(RequestCap(settings.requests_per_minute))
        self.degraded = DegradedPolicy(_degraded(settings))
        #: The budgets of caller labels.
        self.budgets = Budgets()
        self._now = now
        self._announcer = announcer
        #: Whether the beginning of a pause has been announced, and not its end.
        self._paused = False
        self._degraded_moved = anyio.Event()
        self._high_use = anyio.Event()
        self._lines_held_back = anyio.Event()
        self.cap.watch(on=True)

    def tasks(self) -> tuple[Callable[[], Coroutine[object, object, None]], ...]:
        """The coroutine functions that run for as long as the governor does."""
        return self._announce_recovery, self._wait_for_calm, self._flush_notices

    def reconfigure(self, settings: GlobalSettings) -> None:
        """Other settings from now on."""
        self.cap.reconfigure(RequestCap(settings.requests_per_minute))
        self.cap.watch(on=not self._high_use.is_set())
        self.degraded.reconfigure(_degraded(settings))

    @cached_property
    def _notices(self) -> "notices.Notices":
        """What writes log lines: loaded with the first one."""
        return notices.Notices(wall_clock, lambda: self._lines_held_back.set())

    # Degraded mode.

    @property
    def cause(self) -> Cause:
        """What began degraded mode last."""
        return self.degraded.cause or Cause.FAILURES

    def entered(self) -> None:
        """Degraded mode has begun: reports it."""
        now, degraded = self._now(), self.degraded
        left = Duration(max(0, degraded.until - now))
        self._announce_left()  # Of the pause before, should its end not have been noticed yet.
        self._paused = True
        self._announcer(
            instrumentation.DegradedEntered(cooldown=to_seconds(left), cause=self.cause, providers=degraded.culprits)
        )
        if degraded.cause is Cause.CAP:
            self._notices.degraded_by_cap(now, self.cap.parameters.requests_per_minute, degraded.culprits, left)
        else:
            self._notices.degraded_by_failures(now, degraded.culprits, left)
        self._degraded_moved.set()

    def left(self) -> None:
        """Degraded mode has been ended by hand: reports it."""
        self._announce_left()
        self._degraded_moved.set()

    def _announce_left(self) -> None:
        if self._paused:
            self._paused = False
            self._announcer(instrumentation.DegradedLeft())
            self._notices.degraded_left(self._now())

    async def _announce_recovery(self) -> None:
        while True:
            await self._degraded_moved.wait()
            self._degraded_moved = moved = anyio.Event()
            while (left := self.degraded.until - self._now()) > 0 and not moved.is_set():
                with anyio.move_on_after(to_seconds(left + 1)):
                    await moved.wait()
            if not moved.is_set():
                self._announce_left()

    def breaker_moved(self, scope: str, breaker: BreakerPolicy, before: BreakerStatus) -> None:
        """The breaker of a scope has left the status `before`."""
        now = self._now()
        if before is BreakerStatus.CLOSED:
            self.degraded.breaker_opened(provider_of(scope))
        if breaker.status is BreakerStatus.OPEN:
            left = Duration(max(0, breaker.until - now))
            self._notices.breaker_opened(now, scope, _why(breaker, before), left)
        elif breaker.status is BreakerStatus.CLOSED:
            self.degraded.breaker_closed(provider_of(scope))
            self._notices.breaker_closed(now, scope, by_hand=breaker.forced)

    def closed(self, scope: str, rejections: int, left: Duration) -> None:
        """A scope, or a provider, has closed because its server rejects its calls."""
        self._announcer(instrumentation.CallsRejected(scope, rejections, to_seconds(left)))
        self._notices.closed(self._now(), scope, rejections, left)

    # The cap.

    def high_use(self) -> None:
        """Much of the cap may be in use. If so, logs it once, and again only after use has fallen."""
        now = self._now()
        if self.cap.watching and self.cap.is_high(now):
            self.cap.watch(on=False)
            self._notices.high_use(now, self.cap.used(now), self.cap.parameters.requests_per_minute, WARN_AT)
            self._high_use.set()

    def restored(self) -> None:
        """What earlier lives may have used of the cap counts: that it is much is no news."""
        if self.cap.is_high(self._now()):
            self.cap.watch(on=False)
            self._high_use.set()

    async def _wait_for_calm(self) -> None:
        while True:
            await self._high_use.wait()
            while not self.cap.is_calm(self._now()):  # noqa: ASYNC110 - no event happens when use falls
                await anyio.sleep(_CALM_INTERVAL)
            self._high_use = anyio.Event()
            self.cap.watch(on=True)

    async def _flush_notices(self) -> None:
        while True:
            await self._lines_held_back.wait()
            await anyio.sleep(to_seconds(MINUTE))
            self._lines_held_back = anyio.Event()
            self._notices.flush(self._now())


def _degraded(settings: GlobalSettings) -> Degraded:
    cap, share = settings.requests_per_minute, settings.degraded_after_excess
    return Degraded(
        failures=settings.degraded_after_failures,
        providers=settings.degraded_after_providers,
        excess=None if cap is None or share is None else min(round(share * _MILLION) * cap // _MILLION, MAX_AMOUNT),
        cooldown=settings.degraded_cooldown,
    )


def _why(breaker: BreakerPolicy, before: BreakerStatus) -> str:
    """What opened it, in words."""
    if breaker.forced:
        return "by hand"
    if before is BreakerStatus.HALF_OPEN:
        return "again after a failed probe"
    failures, calls = breaker.trip
    if calls is not None:
        return f"after {failures} of {calls} calls failed"
    return "after a failure" if failures == 1 else f"after {failures} failures in a row"
