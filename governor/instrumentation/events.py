"""Events: what happens in a governor, as frozen records that hooks, the log and the dashboard receive.

No event holds a URL, a header, a body or the name of a client; clients are pseudonyms. `at` is in seconds since 1970 and is
set when the event is handed to hooks. Spans are in seconds.
"""

from enum import StrEnum
from typing import ClassVar, Final

import msgspec

from governor.errors import Reason
from governor.policies.breakers.states import BreakerStatus
from governor.policies.degraded import Cause
from governor.policies.loops import Stage
from governor.wording import listed, plain, reason, span

#: Denials for these reasons hold for all scopes alike; the timeline shows them once.
_EVERYWHERE: Final = (Reason.DEGRADED, Reason.REQUEST_CAP)


def _word(name: str) -> str:
    """The wire name of an event: `breaker_changed` for `BreakerChanged`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Tone(StrEnum):
    """How the timeline marks an entry."""

    GOOD = "good"
    WATCH = "watch"
    BAD = "bad"
    DENIED = "denied"
    QUIET = "quiet"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the timeline shows it: `subject` and `text` read as one sentence.

    Entries with the same `group` that follow each other closely are one line. `mark` is drawn on charts: a moment, or a span of
    `lasts` seconds; `scope` names the scope that it belongs to.
    """

    at: float
    event: str
    tone: Tone
    subject: str
    text: str
    group: str = ""
    scope: str = ""
    mark: str = ""
    lasts: float = 0.0


class Shown(StrEnum):
    """Which events of a kind listeners and the timeline get."""

    NEVER = "never"
    ALWAYS = "always"
    #: The first of each second and group, 20 per second in all.
    SAMPLED = "sampled"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_word):
    """The base of all events. A kind that is `shown` has an `entry` for the timeline."""

    shown: ClassVar[Shown] = Shown.NEVER

    at: float = 0.0

    @property
    def name(self) -> str:
        """The name of the event on the wire."""
        return str(self.__struct_config__.tag)

    def entry(self) -> Entry:
        """The event as the timeline shows it."""
        return self._entry(Tone.QUIET, "", self.name)

    def _entry(self, tone: Tone, subject: str, text: str, **more: str | float) -> Entry:
        # `more` are other fields of `Entry`, whose types mypy cannot tell apart in one mapping.
        return Entry(at=self.at, event=self.name, tone=tone, subject=subject, text=text, **more)  # type: ignore[arg-type]


class Granted(Event, frozen=True):
    """A permit was granted to a call that had waited in the queue for `waited` seconds."""

    scope: str
    waited: float


class CallDenied(Event, frozen=True):
    """A call got no permit. `retry_after` None means that waiting cannot help."""

    shown: ClassVar = Shown.SAMPLED

    scope: str
    reason: Reason
    retry_after: float | None

    def entry(self) -> Entry:
        """`weather:get denied: rate limit used up`."""
        subject = "Outbound calls" if self.reason in _EVERYWHERE else self.scope
        group = f"{subject} {self.reason}"
        return self._entry(Tone.DENIED, plain(subject), f"denied: {reason(self.reason)}", group=group, scope=self.scope)


class Retried(Event, frozen=True):
    """A permit was granted for attempt number `attempt` of an operation, 2 or more."""

    scope: str
    attempt: int


class BreakerChanged(Event, frozen=True):
    """The circuit breaker of a scope changed its status. After `open`, probes may go out in `probes_in` seconds."""

    shown: ClassVar = Shown.ALWAYS

    scope: str
    before: BreakerStatus
    after: BreakerStatus
    probes_in: float

    def entry(self) -> Entry:
        """`weather:get circuit breaker open, probes in 60 s`."""
        tones = {BreakerStatus.CLOSED: Tone.GOOD, BreakerStatus.OPEN: Tone.BAD, BreakerStatus.HALF_OPEN: Tone.WATCH}
        when = f", probes in {span(self.probes_in)}" if self.after is BreakerStatus.OPEN else ""
        text = f"circuit breaker {self.after.replace('_', '-')}{when}"
        return self._entry(tones[self.after], plain(self.scope), text, scope=self.scope, mark=self.after)


class LoopFound(Event, frozen=True):
    """A call is repeated again and again with the same answer. It is `warned` of first, and later `denied`.

    `caller` is the pseudonym of the caller's label, empty without one.
    """

    shown: ClassVar = Shown.ALWAYS

    scope: str
    stage: Stage
    caller: str = ""

    def entry(self) -> Entry:
        """`openai:post loop: one call is repeated with the same answer, and denied`."""
        whose = f" of {self.caller}" if self.caller else ""
        denied = self.stage is Stage.DENIED
        text = f"loop: one call{whose} is repeated with the same answer{', and denied' if denied else ''}"
        return self._entry(Tone.BAD if denied else Tone.WATCH, plain(self.scope), text, scope=self.scope)


class DegradedEntered(Event, frozen=True):
    """Degraded mode began: outbound traffic, except that of exempt providers, pauses for `cooldown` seconds.

    `providers` are those behind the cause, the worst first, 10 at most.
    """

    shown: ClassVar = Shown.ALWAYS

    cooldown: float
    cause: Cause = Cause.FAILURES
    providers: tuple[str, ...] = ()

    def entry(self) -> Entry:
        """`Degraded mode began: outbound calls pause for 60 s after failures in a row, most from github`."""
        why = "too many requests above the global cap" if self.cause is Cause.CAP else "failures in a row"
        who = f", most from {listed(self.providers)}" if self.providers else ""
        text = f"began: outbound calls pause for {span(self.cooldown)} after {why}{who}"
        return self._entry(Tone.BAD, "Degraded mode", text, mark="paused", lasts=self.cooldown)


class DegradedLeft(Event, frozen=True):
    """Degraded mode ended, by itself or by `governor.resume()`."""

    shown: ClassVar = Shown.ALWAYS

    def entry(self) -> Entry:
        """`Degraded mode ended: outbound calls resume`."""
        return self._entry(Tone.GOOD, "Degraded mode", "ended: outbound calls resume", mark="resumed")


class CallsRejected(Event, frozen=True):
    """A server rejects call after call (401, 403): no call of `scope` for `closed_for` seconds, then one call at a time.

    `scope` is a scope or a whole provider. The server has rejected `rejections` calls of the provider within the window of its
    ban budget.
    """

    shown: ClassVar = Shown.ALWAYS

    scope: str
    rejections: int
    closed_for: float

    def entry(self) -> Entry:
        """`github closed for 60 s: the server rejects its calls`."""
        text = f"closed for {span(self.closed_for)}: the server rejects its calls"
        return self._entry(Tone.BAD, plain(self.scope), text, scope=self.scope, mark="open")


class LeaseRevoked(Event, frozen=True):
    """The governor recalled `permits` permits granted ahead: they are needed elsewhere, or no longer allowed."""

    scope: str
    permits: int


class ClientDenied(Event, frozen=True):
    """An inbound request exceeded a limit: `client`, `address`, `total` or `route`. In a `dry_run` it was granted."""

    shown: ClassVar = Shown.SAMPLED

    group: str
    client: str
    limit: str
    retry_after: float
    dry_run: bool = False

    def entry(self) -> Entry:
        """`chat denied clients: limit per client`."""
        limit = "limit of the whole group" if self.limit == "total" else f"limit per {plain(self.limit)}"
        verb = "would have denied clients (dry run)" if self.dry_run else "denied clients"
        tone, group = Tone.QUIET if self.dry_run else Tone.DENIED, f"{self.group} {self.limit} {self.dry_run}"
        return self._entry(tone, plain(self.group), f"{verb}: {limit}", group=group)


AnyEvent = (
    Granted
    | CallDenied
    | Retried
    | BreakerChanged
    | CallsRejected
    | LoopFound
    | DegradedEntered
    | DegradedLeft
    | LeaseRevoked
    | ClientDenied
)
