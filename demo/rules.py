"""The rules of the provider of the demo: which requests it serves, denies and bans, as documented and as kept.

This is the other side: it counts by its own clock and shares no code with what the governor counts with, so that the one can
judge the other.
"""

from collections import deque
from math import ceil
from typing import Final

import msgspec

from governor._units import SECOND, Duration, Instant, to_seconds
from governor.errors import ConfigError
from governor.policies.windows.parameters import StrictWindow

READ: Final = "GET"
WRITE: Final = "POST"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider documents, and when it has its spell of 503s. Durations in microseconds.

    `reads` and `writes` are limited apart, each in any window of its length. Requests above that get a 429; more than
    `tolerance` of those within `tolerance_window` bring a ban of `ban`, and every request during a ban starts it
    again. `announces`: each answer says what is left. The outage lies between two times after the first request. Raises
    `ConfigError` if its end comes before its beginning.
    """

    reads: StrictWindow
    writes: StrictWindow
    outage_from: Duration
    outage_until: Duration
    tolerance: int = 20
    tolerance_window: Duration = Duration(5 * SECOND)
    ban: Duration = Duration(5 * SECOND)
    announces: bool = True

    def __post_init__(self) -> None:
        if self.outage_until < self.outage_from:
            raise ConfigError("outage_until", self.outage_until, f"at least outage_from, {self.outage_from}")

    def describe(self) -> list[str]:
        """The documentation, in lines for people."""
        begin, end = to_seconds(self.outage_from), to_seconds(self.outage_until)
        return [
            f"At most {_in_words(self.reads, 'reads')}, and {_in_words(self.writes, 'writes')}; beyond that it answers 429.",
            "Each answer says in x-ratelimit-* how many of these are left, and when all are back.",
            f"More than {self.tolerance} denials in {to_seconds(self.tolerance_window):g} s are a ban: 403 to everything,",
            f"until there has been no request for {to_seconds(self.ban):g} s.",
            f"(What it does not document: from {begin:.1f} to {end:.1f} s it will answer 503.)",
        ]


class Ban(msgspec.Struct, frozen=True):
    """One ban: from when to when, in microseconds since the first request."""

    since: Duration
    until: Duration


class ProviderLog(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider has seen: the judge of denials and bans.

    `answers` counts by method and status: `{"GET": {"200": 40}}`. `span` is the time between the first request and the last.
    """

    answers: dict[str, dict[str, int]]
    bans: list[Ban]
    span: Duration

    def count(self, *statuses: int, method: str | None = None) -> int:
        """How many answers had one of these statuses; without any, how many requests arrived."""
        tables = [table for name, table in self.answers.items() if method in (None, name)]
        wanted = {str(status) for status in statuses}
        return sum(count for table in tables for status, count in table.items() if not wanted or status in wanted)


class Gatekeeper:
    """Keeps the rules: asked once for each request, at the instant of its arrival, in order."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._windows = {READ: _Window(rules.reads), WRITE: _Window(rules.writes)}
        self._denials: deque[Instant] = deque()
        self._first: Instant | None = None
        self._last = Instant(0)
        self._banned_until = Instant(0)
        self._bans: list[Ban] = []
        self._answers: dict[str, dict[str, int]] = {READ: {}, WRITE: {}}

    def arrive(self, now: Instant, method: str) -> tuple[int, Duration | None]:
        """The status of the answer, and what `Retry-After` shall say if anything."""
        if self._first is None:
            self._first = now
        self._last = now
        status, wait = self._judge(now, method, Duration(now - self._first))
        table = self._answers[method]
        table[str(status)] = table.get(str(status), 0) + 1
        return status, wait

    def announce(self, method: str) -> dict[str, int]:
        """The headers of an answer that say how the limit of a method stood when the last request arrived, in whole seconds.

        Empty if the provider does not announce them.
        """
        if not self.rules.announces:
            return {}
        window = self._windows[method]
        remaining, reset = window.state(self._last)
        return {
            "x-ratelimit-limit": window.amount,
            "x-ratelimit-remaining": remaining,
            "x-ratelimit-reset": ceil(to_seconds(reset)),
        }

    def log(self) -> ProviderLog:
        """What has been seen so far."""
        span = Duration(0 if self._first is None else self._last - self._first)
        return ProviderLog(answers=self._answers, bans=self._bans, span=span)

    def _judge(self, now: Instant, method: str, elapsed: Duration) -> tuple[int, Duration | None]:
        if now < self._banned_until:
            self._ban(now, elapsed)
            return 403, None
        room_at = self._windows[method].room_at(now)
        if room_at > now:
            self._denied(now, elapsed)
            return 429, Duration(room_at - now)
        self._windows[method].add(now)
        if self.rules.outage_from <= elapsed < self.rules.outage_until:
            return 503, None
        return 200 if method == READ else 201, None

    def _denied(self, now: Instant, elapsed: Duration) -> None:
        self._denials.append(now)
        while self._denials[0] <= now - self.rules.tolerance_window:
            self._denials.popleft()
        if len(self._denials) > self.rules.tolerance:
            self._denials.clear()
            self._ban(now, elapsed)

    def _ban(self, now: Instant, elapsed: Duration) -> None:
        """Begins a ban, or starts the one that is on anew."""
        since = self._bans.pop().since if now < self._banned_until else elapsed
        self._banned_until = Instant(now + self.rules.ban)
        self._bans.append(Ban(since, Duration(elapsed + self.rules.ban)))


class _Window:
    """The instants of the last requests that were let in: as many as the limit allows."""

    def __init__(self, limit: StrictWindow) -> None:
        self.amount = limit.amount
        self._per = limit.per
        self._let_in: deque[Instant] = deque(maxlen=limit.amount)

    def room_at(self, now: Instant) -> Instant:
        """When the next may come in: as soon as the last `amount` do not lie within one window with it."""
        if len(self._let_in) < (self._let_in.maxlen or 0):
            return now
        return Instant(self._let_in[0] + self._per)

    def state(self, now: Instant) -> tuple[int, Duration]:
        """The requests that are left, and the span until the limit is as at first."""
        counted = [at for at in self._let_in if at + self._per > now]
        return self.amount - len(counted), Duration(counted[-1] + self._per - now if counted else 0)

    def add(self, now: Instant) -> None:
        self._let_in.append(now)


def _in_words(limit: StrictWindow, what: str) -> str:
    return f"{limit.amount} {what} in any {to_seconds(limit.per):g} s"
