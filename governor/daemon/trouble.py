"""What is refused now, why, and until when? In the words of the dashboard: `dashboard/trouble.js` says the same."""

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Final

import msgspec

from governor.daemon.documents import Denial, GlobalMetrics, InboundGroup, OutboundScope, Status
from governor.daemon.figures import INBOUND, OUTBOUND
from governor.daemon.words import count, plain, reason, several, span
from governor.errors import Reason

#: Refusals are recent for so many seconds.
RECENT: Final = 10.0

#: Percent of the global cap above which its use is worth a look.
HIGH: Final = 80
_CAP: Final = "The global request cap"

#: How often a scope or group has refused in the last ten seconds, by reason.
Recently = Callable[[str], Mapping[str, int]]

_EVERYWHERE: Final = (Reason.DEGRADED, Reason.REQUEST_CAP)
_LIMITS: Final = (Reason.RATE_LIMIT, Reason.CONCURRENCY)
#: Why a breaker refuses that counts calls, and until when, by its state.
_COUNTING: Final[dict[str, tuple[str, str]]] = {
    "half_open": ("circuit breaker half-open, all probes out", "next probe when one of them ends"),
    "closed": ("circuit breaker closed again, calls ramp up", "next permit when one of them is answered"),
}
_AFTER: Final[dict[str, str]] = {Reason.CIRCUIT_OPEN: "probes", Reason.RATE_LIMIT: "next permit"}


class Rank(IntEnum):
    """How bad it is."""

    FINE = 0
    #: Worth a look.
    WATCHED = 1
    #: A limit is met.
    LIMITED = 2
    #: A scope stands still.
    STOPPED = 3
    #: Everything that goes out stands still.
    EVERYTHING = 4


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is refused, or nearly: `subject` `says`, `until`. `key` is that of the scope, "" for everything."""

    key: str
    rank: Rank
    subject: str
    says: str
    until: str = ""
    #: Seconds after which `until` is over, where that is known.
    wait: float | None = None
    recent: int = 0

    def sentence(self) -> str:
        """`github:get refuses: circuit breaker open, probes in 42 s`."""
        return f"{self.subject} {self.says}, {self.until}" if self.until else f"{self.subject} {self.says}"


def troubles(status: Status, recently: Recently | None = None) -> list[Trouble]:
    """All troubles of a status, the worst first. Without `recently`, loudest callers tell what a group has refused."""
    return sorted(_find(status, recently), key=lambda trouble: (-trouble.rank, -trouble.recent, trouble.key))


def headline(found: list[Trouble]) -> str:
    """What stands above them."""
    if any(trouble.rank is Rank.EVERYTHING for trouble in found):
        return "Outbound traffic is paused"
    refusing = [trouble.key for trouble in found if trouble.rank >= Rank.LIMITED]
    scopes = sum(key.startswith(OUTBOUND) for key in refusing)
    groups = len(refusing) - scopes
    said = []
    if scopes:
        said.append(f"{several(scopes, 'scope')} {'refuses' if scopes == 1 else 'refuse'}")
    if groups:
        said.append(f"{several(groups, 'group')} {'turns' if groups == 1 else 'turn'} callers away")
    return ", ".join(said) or ("Nothing is refused right now" if found else "Nothing is refused")


def name_of(key: str) -> str:
    """The name of a scope or group, without the side that it is on."""
    return plain(key.removeprefix(OUTBOUND).removeprefix(INBOUND))


def _find(status: Status, recently: Recently | None) -> Iterator[Trouble]:
    yield from _everything(status)
    for key, scope in status.scopes.items():
        recent = None if recently is None else recently(key)
        found = _scope(key, scope, recent or {}) if isinstance(scope, OutboundScope) else _group(key, scope, recent)
        if found is not None:
            yield found


def _everything(status: Status) -> Iterator[Trouble]:
    figures = status.global_
    refusals = [scope.denial for scope in status.scopes.values() if isinstance(scope, OutboundScope)]
    capped = [refusal.retry_after or 0.0 for refusal in refusals if refusal and refusal.reason == Reason.REQUEST_CAP]
    if figures.degraded_mode_active:
        but = ", but for exempt providers" if None in refusals else ""
        wait, until = figures.degraded_for, f"goes on in {span(figures.degraded_for)}"
        subject, says = "Degraded mode", f"refuses all outbound traffic{but}{_cause(figures)}"
    elif capped:
        wait, until = min(capped), f"next permit in {span(min(capped))}"
        subject, says = _CAP, f"refuses all outbound traffic: {_used(figures)}"
    elif figures.requests_per_minute is not None and 100 * figures.requests_last_minute > HIGH * figures.requests_per_minute:
        yield Trouble(key="", rank=Rank.WATCHED, subject=_CAP, says=f"is nearly used up: {_used(figures)}")
        return
    else:
        return
    yield Trouble(key="", rank=Rank.EVERYTHING, subject=subject, says=says, until=until, wait=wait)


def _used(figures: GlobalMetrics) -> str:
    return f"{count(figures.requests_last_minute)} of {count(figures.requests_per_minute or 0)} in the last minute"


def _cause(figures: GlobalMetrics) -> str:
    """Why traffic is paused: `, after failures of github, reddit`."""
    if figures.degraded_cause is None:
        return ""
    why = "failures in a row" if figures.degraded_cause == "failures" else "too many requests over the cap"
    return f", after {why}" + (f" of {', '.join(map(plain, figures.degraded_providers))}" if figures.degraded_providers else "")


def _scope(key: str, scope: OutboundScope, recent: Mapping[str, int]) -> Trouble | None:
    refusal, waiting, lately = scope.denial, scope.metrics.waiting, sum(recent.values())
    if refusal is None:
        return _watched(key, scope, recent)
    if refusal.reason in _EVERYWHERE:
        return None
    state = scope.circuit_breaker.state
    counting = _COUNTING.get(state) if refusal.reason == Reason.CIRCUIT_OPEN else None
    why, until = counting or (reason(refusal.reason), _until(refusal))
    rank = Rank.LIMITED if counting and state == "closed" else Rank.STOPPED
    if refusal.reason in _LIMITS:
        # A limit that is met for a moment, by nobody who is told no, is a limit at work.
        if not lately and not waiting and (refusal.retry_after or 0.0) < 1.0:
            return None
        rank = Rank.LIMITED
        why += f", {count(waiting)} waiting" if waiting else ""
    says, wait = f"refuses: {why}", refusal.retry_after
    return Trouble(key=key, rank=rank, subject=name_of(key), says=says, until=until, wait=wait, recent=lately)


def _watched(key: str, scope: OutboundScope, recent: Mapping[str, int]) -> Trouble | None:
    """A scope that grants, and is worth a look."""
    own = [reason(word) for word in recent if word not in _EVERYWHERE]
    if scope.circuit_breaker.state == "open":
        says, until = "has its circuit breaker open", "the next call is a probe"
    elif scope.circuit_breaker.state == "half_open":
        says, until = "has its circuit breaker half-open", "probes decide"
    elif own:
        says, until = f"has refused lately: {', '.join(own)}", "grants again"
    else:
        return None
    lately = sum(recent.values())
    return Trouble(key=key, rank=Rank.WATCHED, subject=name_of(key), says=says, until=until, recent=lately)


def _group(key: str, group: InboundGroup, recent: Mapping[str, int] | None) -> Trouble | None:
    until = f"most often {plain(group.most_denied[0].client)}" if group.most_denied else ""
    if recent is None:
        says = f"{'would have' if group.dry_run else 'has'} turned callers away lately"
        return Trouble(key=key, rank=Rank.WATCHED, subject=name_of(key), says=says, until=until) if until else None
    lately = sum(recent.values())
    says = f"turns callers away: {count(lately)} in the last {RECENT:g} s"
    return Trouble(key=key, rank=Rank.LIMITED, subject=name_of(key), says=says, until=until, recent=lately) if lately else None


def _until(refusal: Denial) -> str:
    if refusal.retry_after is None:
        return "waiting cannot help"
    if refusal.reason == Reason.CONCURRENCY:
        return "next permit when a call ends"
    return f"{_AFTER.get(refusal.reason, 'goes on')} in {span(refusal.retry_after)}"
