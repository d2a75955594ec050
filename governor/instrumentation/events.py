"""What happens that somebody may want to be told?

Frozen records, made where it happens and handed on elsewhere. None of them holds a URL, a header, a body or the name of a
caller: callers are pseudonyms. `at` is the time of day in seconds since 1970, put in when the event is handed on; spans are in
seconds.
"""

from typing import Literal

import msgspec

from governor.errors import Reason


def _word(name: str) -> str:
    """`breaker_changed` for `BreakerChanged`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=_word):
    """What all of them have."""

    at: float = 0.0


class Granted(Event, frozen=True):
    """A permit was granted to somebody who had waited for it in line."""

    scope: str
    waited: float


class CallDenied(Event, frozen=True):
    """A permit was denied; `retry_after` None says that waiting cannot help."""

    scope: str
    reason: Reason
    retry_after: float | None


class Retried(Event, frozen=True):
    """A permit was granted for attempt number `attempt` of an operation, 2 or more."""

    scope: str
    attempt: int


class BreakerChanged(Event, frozen=True):
    """The breaker of a scope has moved: to `closed`, `half_open`, or `open`, and then probes may go in `probes_in` seconds."""

    scope: str
    before: str
    after: str
    probes_in: float


class DegradedEntered(Event, frozen=True):
    """All outbound traffic but that of exempt providers pauses, for so long.

    The cause is `failures` in a row, or the `cap`, which has denied too many requests. `providers` are those behind it, the
    worst first, 10 at most.
    """

    cooldown: float
    cause: Literal["failures", "cap"] = "failures"
    providers: tuple[str, ...] = ()


class DegradedLeft(Event, frozen=True):
    """The pause is over, by itself or by `governor.resume()`."""


class LeaseRevoked(Event, frozen=True):
    """So many permits that were granted ahead were taken back because somebody else needed them, or nobody may have them."""

    scope: str
    permits: int


class ClientDenied(Event, frozen=True):
    """An inbound request exceeded a limit: `client`, `address`, `total` or `route`. In a `dry_run` it was granted."""

    group: str
    client: str
    limit: str
    retry_after: float
    dry_run: bool = False


AnyEvent = Granted | CallDenied | Retried | BreakerChanged | DegradedEntered | DegradedLeft | LeaseRevoked | ClientDenied
