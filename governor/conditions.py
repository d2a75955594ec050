"""Conditions: what is wrong now, why, until when and who is behind it, derived from `Statistics`.

The status document, `governor status`, the dashboard and Prometheus all show the conditions that `conditions` returns.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from governor.cooperative import batched, finish
from governor.errors import Reason
from governor.policies.breakers.states import BreakerStatus
from governor.policies.degraded import Cause
from governor.statistics import (
    BreakerStatistics,
    DenialStatistics,
    GroupStatistics,
    LoopStatistics,
    Moment,
    ScopeStatistics,
    Statistics,
)
from governor.wording import count, listed, plain, reason, several, span

#: Prefixes of the keys of outbound scopes and inbound groups.
OUTBOUND: Final = "outbound:"
INBOUND: Final = "inbound:"
#: Denials of the last so many seconds are recent.
RECENT: Final = 10.0
#: Percent of the global cap above which its use is a condition.
_HIGH: Final = 80

#: Recent denials of a scope or group, by reason; None if they are not known yet.
Recently = Callable[[str], Mapping[Reason, int] | None]

#: Reasons that hold for all scopes alike and are reported once.
EVERYWHERE: Final = (Reason.DEGRADED, Reason.REQUEST_CAP)
_LIMITS: Final = (Reason.RATE_LIMIT, Reason.CONCURRENCY)


class Severity(StrEnum):
    """How bad a condition is, from the mildest on."""

    #: Worth a look; every call is granted.
    INFO = "info"
    #: A limit is in effect: some calls wait or are denied.
    WARNING = "warning"
    #: A scope denies all calls.
    ERROR = "error"
    #: All outbound traffic is paused.
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The place in this order, 0 for the mildest."""
        return tuple(Severity).index(self)

    @property
    def denies(self) -> bool:
        """Whether something is denied."""
        return self is not Severity.INFO


class Kind(StrEnum):
    """What a condition is about."""

    DEGRADED = "degraded"
    REQUEST_CAP = "request_cap"
    REQUEST_CAP_HIGH = "request_cap_high"
    BREAKER_OPEN = "breaker_open"
    BREAKER_HALF_OPEN = "breaker_half_open"
    RAMP_UP = "ramp_up"
    DENYING = "denying"
    AT_LIMIT = "at_limit"
    THROTTLED = "throttled"
    LOOP_STOPPED = "loop_stopped"
    DENIED_RECENTLY = "denied_recently"
    CLIENTS_DENIED = "clients_denied"
    UNENFORCED = "unenforced"
    UNKNOWN_UNITS = "unknown_units"
    UNCHARGED_UNITS = "uncharged_units"
    UNITS_DROPPED = "units_dropped"
    SCOPES_SET_ASIDE = "scopes_set_aside"
    EVENTS_DROPPED = "events_dropped"
    HOOKS_FAILED = "hooks_failed"


#: The state of a scope or group with such a condition, in a word or two; other kinds leave it "ok".
_LABELS: Final = {
    Kind.BREAKER_OPEN: "breaker open",
    Kind.BREAKER_HALF_OPEN: "half-open",
    Kind.RAMP_UP: "ramping up",
    Kind.DENYING: "denies calls",
    Kind.AT_LIMIT: "at its limit",
    Kind.THROTTLED: "throttled",
    Kind.LOOP_STOPPED: "stopped a loop",
    Kind.DENIED_RECENTLY: "granting again",
}


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, or may become so.

    `key` names the scope or group (`outbound:github:get`), "" for the whole governor. `subject`, `summary` and `outlook`
    read as one sentence; `outlook` says what happens next and may be empty.
    """

    kind: Kind
    severity: Severity
    key: str = ""
    subject: str
    summary: str
    outlook: str = ""
    #: Seconds until the outlook, and the moment of it, where they are known.
    wait: float | None = None
    until: Moment | None = None
    #: When it was first seen. None where no earlier statistics are known.
    since: Moment | None = None
    #: The providers, clients, callers or units behind it, the worst first.
    culprits: tuple[str, ...] = ()
    #: Denials in the last ten seconds.
    recent: int = 0

    def sentence(self) -> str:
        """`github:get denies calls: circuit breaker open, probes in 42 s`."""
        return f"{self.subject} {self.summary}, {self.outlook}" if self.outlook else f"{self.subject} {self.summary}"


def conditions(statistics: Statistics, recently: Recently | None = None) -> tuple[Condition, ...]:
    """All conditions, the worst first. Without `recently`, nothing is known of recent denials."""
    return finish(conditions_in_steps(statistics, recently))


def conditions_in_steps(statistics: Statistics, recently: Recently | None = None) -> Iterator[tuple[Condition, ...] | None]:
    """The same in small steps (`governor.cooperative`)."""
    recently = recently or (lambda _: None)
    found = list(_global(statistics))
    for scopes in batched(statistics.scopes.items()):
        for name, scope in scopes:
            key = OUTBOUND + name
            recent = recently(key)
            if recent or not _is_calm(scope):
                found += _scope(key, scope, recent or {})
        yield None
    for name, group in statistics.groups.items():
        found += _group(INBOUND + name, group, recently(INBOUND + name))
    now = statistics.now
    found = [one if one.wait is None else msgspec.structs.replace(one, until=now + one.wait) for one in found]
    yield tuple(sorted(found, key=lambda one: (-one.severity.rank, -one.recent, one.key)))


def headline(found: "tuple[Condition, ...] | list[Condition]") -> str:
    """One line for all conditions: what is denied."""
    if any(condition.severity is Severity.CRITICAL for condition in found):
        return "Outbound traffic is paused"
    denying = {condition.key for condition in found if condition.severity.denies}
    scopes = sum(key.startswith(OUTBOUND) for key in denying)
    groups = sum(key.startswith(INBOUND) for key in denying)
    said = []
    if scopes:
        said.append(f"{several(scopes, 'scope')} {'denies' if scopes == 1 else 'deny'} calls")
    if groups:
        said.append(f"{several(groups, 'group')} {'denies' if groups == 1 else 'deny'} clients")
    return ", ".join(said) or "All calls are granted"


def label(condition: Condition | None, statistics: ScopeStatistics | GroupStatistics) -> str:
    """The state of a scope or group in a word or two, given its worst condition: `breaker open`, `throttled`, `ok`."""
    if isinstance(statistics, GroupStatistics):
        return "denies clients" if condition and condition.severity.denies else "dry run" if statistics.dry_run else "ok"
    if statistics.denial is not None and statistics.denial.reason is Reason.DEGRADED:
        return "paused"
    return "ok" if condition is None else _LABELS.get(condition.kind, "ok")


def name_of(key: str) -> str:
    """The name of a scope or group without its direction."""
    return plain(key.removeprefix(OUTBOUND).removeprefix(INBOUND))


# The whole governor.


def _global(statistics: Statistics) -> Iterator[Condition]:
    denials = [scope.denial for scope in statistics.scopes.values()]
    capped = [denial.retry_after or 0.0 for denial in denials if denial and denial.reason is Reason.REQUEST_CAP]
    cap = statistics.requests_per_minute
    used = f"{count(statistics.requests_last_minute)} of {count(cap or 0)} in the last minute"
    if statistics.degraded_for > 0:
        yield _degraded(statistics, exempt=None in denials)
    elif capped:
        yield Condition(
            kind=Kind.REQUEST_CAP,
            severity=Severity.CRITICAL,
            subject="The global request cap",
            summary=f"denies all outbound calls: {used}",
            outlook=f"next permit in {span(min(capped))}",
            wait=min(capped),
        )
    elif cap is not None and 100 * statistics.requests_last_minute > _HIGH * cap:
        yield _info(Kind.REQUEST_CAP_HIGH, "", "is nearly used up: " + used, subject="The global request cap")
    if statistics.set_aside:
        summary = f"{'was' if statistics.set_aside == 1 else 'were'} set aside: more scopes are in use than max_scopes allows"
        yield _info(Kind.SCOPES_SET_ASIDE, "", summary, subject=several(statistics.set_aside, "scope"))
    if statistics.events_dropped:
        summary = f"missed {several(statistics.events_dropped, 'event')}: they came faster than a hook took them"
        yield _info(Kind.EVENTS_DROPPED, "", summary, subject="Hooks")
    if statistics.hooks_failed:
        summary = f"failed {several(statistics.hooks_failed, 'time')}: the log of the program has the first error"
        yield _info(Kind.HOOKS_FAILED, "", summary, subject="Hooks")


def _degraded(statistics: Statistics, *, exempt: bool) -> Condition:
    why = "too many requests above the global cap" if statistics.degraded_cause is Cause.CAP else "failures in a row"
    who = f", most from {listed(statistics.degraded_providers)}" if statistics.degraded_providers else ""
    return Condition(
        kind=Kind.DEGRADED,
        severity=Severity.CRITICAL,
        subject="Degraded mode",
        summary=f"pauses all outbound calls{' except to exempt providers' if exempt else ''} after {why}{who}",
        outlook=f"resumes in {span(statistics.degraded_for)}",
        wait=statistics.degraded_for,
        culprits=statistics.degraded_providers,
    )


# Scopes.


def _is_calm(scope: ScopeStatistics) -> bool:
    """Whether there is nothing to say of the scope unless it denied calls recently. So it is with most of very many scopes."""
    breaker = scope.breaker
    return (
        scope.denial is None
        and breaker.status is BreakerStatus.CLOSED
        and breaker.ramp_up is None
        and scope.loops is None
        and not (scope.unknown_units or scope.uncharged_units or scope.counters.dropped)
    )


def _scope(key: str, scope: ScopeStatistics, recent: Mapping[Reason, int]) -> Iterator[Condition]:
    denial = scope.denial
    if denial is None:
        yield from _granting(key, scope, recent)
    elif denial.reason not in EVERYWHERE:
        yield from _denying(key, scope, denial, sum(recent.values()))
    if scope.loops is not None:
        yield _looping(key, scope.loops, recent.get(Reason.LOOP, 0))
    if scope.unknown_units:
        summary = f"got amounts of {listed(scope.unknown_units)}, which no limit counts"
        yield _info(Kind.UNKNOWN_UNITS, key, summary, culprits=scope.unknown_units)
    if scope.uncharged_units:
        summary = f"has a limit on {listed(scope.uncharged_units)}, which no call reports"
        yield _info(Kind.UNCHARGED_UNITS, key, summary, culprits=scope.uncharged_units)
    if scope.counters.dropped:
        dropped = ", ".join(f"{count(amount)} {plain(unit)}" for unit, amount in scope.counters.dropped.items())
        summary = f"used {dropped} above max_debt, which no limit was charged with"
        yield _info(Kind.UNITS_DROPPED, key, summary, culprits=tuple(scope.counters.dropped))


def _denying(key: str, scope: ScopeStatistics, denial: DenialStatistics, recent: int) -> Iterator[Condition]:
    breaker, waiting = scope.breaker, scope.waiting
    kind, severity, why, outlook = Kind.DENYING, Severity.ERROR, reason(denial.reason), _outlook(denial)
    if denial.reason is Reason.CIRCUIT_OPEN and breaker.status is BreakerStatus.OPEN:
        kind, why = Kind.BREAKER_OPEN, why + _failure(scope)
    elif denial.reason is Reason.CIRCUIT_OPEN and breaker.status is BreakerStatus.HALF_OPEN:
        kind, why, outlook = Kind.BREAKER_HALF_OPEN, "circuit breaker half-open, all probes sent", "next probe when one ends"
    elif denial.reason is Reason.CIRCUIT_OPEN and breaker.ramp_up is None:
        why, outlook = "the provider is closed by hand", f"resumes in {span(denial.retry_after or 0.0)}"
    elif denial.reason is Reason.CIRCUIT_OPEN:
        kind, severity, why = Kind.RAMP_UP, Severity.WARNING, "circuit breaker closed again, traffic ramps up"
        outlook = "next permit when a call is answered"
    elif denial.reason in _LIMITS:
        if not recent and not waiting and (denial.retry_after or 0.0) < 1.0:
            # A limit that is met for a moment and denies no call is a limit at work.
            return
        kind, severity = Kind.AT_LIMIT, Severity.WARNING
        why += f", {several(waiting, 'call')} waiting" if waiting else ""
    yield Condition(
        kind=kind,
        severity=severity,
        key=key,
        subject=name_of(key),
        summary=f"denies calls: {why}",
        outlook=outlook,
        wait=denial.retry_after,
        recent=recent,
    )


def _granting(key: str, scope: ScopeStatistics, recent: Mapping[Reason, int]) -> Iterator[Condition]:
    """A scope that grants calls and is worth a look all the same."""
    breaker, total = scope.breaker, sum(recent.values())
    own = [word for word in recent if word not in EVERYWHERE and not (word is Reason.LOOP and scope.loops)]
    if breaker.status is BreakerStatus.OPEN:
        summary = f"has its circuit breaker open{_failure(scope)}"
        yield _info(Kind.BREAKER_OPEN, key, summary, "the next call is a probe", recent=total)
    elif breaker.status is BreakerStatus.HALF_OPEN:
        yield _info(Kind.BREAKER_HALF_OPEN, key, "has its circuit breaker half-open", "probes decide", recent=total)
    elif breaker.ramp_up is not None:
        yield _ramping(key, breaker, total)
    elif own and set(own) <= set(_LIMITS):
        summary = f"is throttled: {several(total, 'call')} denied in the last {RECENT:g} s"
        yield _info(Kind.THROTTLED, key, summary, "calls within the limit are granted", recent=total)
    elif own:
        summary = f"denied calls recently: {', '.join(reason(word) for word in own)}"
        yield _info(Kind.DENIED_RECENTLY, key, summary, "calls are granted again", recent=total)


def _looping(key: str, loops: LoopStatistics, recent: int) -> Condition:
    """Calls that are repeated with the same answer are denied, and all others are granted."""
    who = f" of {listed(loops.labels)}" if loops.labels else ""
    return Condition(
        kind=Kind.LOOP_STOPPED,
        severity=Severity.WARNING,
        key=key,
        subject=name_of(key),
        summary=f"has stopped {several(loops.stopped, 'loop')}{who}: calls repeated with the same answer",
        outlook=f"one more is tried in {span(loops.retry_after)}",
        wait=loops.retry_after,
        culprits=loops.labels,
        recent=recent,
    )


def _ramping(key: str, breaker: BreakerStatistics, recent: int) -> Condition:
    summary = f"ramps up after its circuit breaker closed: {several(breaker.ramp_up or 0, 'call')} at a time"
    return _info(Kind.RAMP_UP, key, summary, "more with each success", recent=recent)


def _failure(scope: ScopeStatistics) -> str:
    """Why the breaker is open: ` after HTTP 503`, ` after ConnectTimeout`, ` by hand`."""
    failure = scope.last_failure
    if scope.breaker.forced:
        return " by hand"
    if failure is None:
        return ""
    return f" after {plain(failure.error)}" if failure.error else f" after HTTP {failure.status}" if failure.status else ""


def _outlook(denial: DenialStatistics) -> str:
    if denial.retry_after is None:
        return "waiting cannot help"
    if denial.reason is Reason.CONCURRENCY:
        return "next permit when a call ends"
    verb = {Reason.CIRCUIT_OPEN: "probes", Reason.RATE_LIMIT: "next permit"}.get(denial.reason, "resumes")
    return f"{verb} in {span(denial.retry_after)}"


# Groups.


def _group(key: str, group: GroupStatistics, recent: Mapping[Reason, int] | None) -> Iterator[Condition]:
    culprits = tuple(one.client for one in group.most_denied)
    outlook = f"most often {plain(culprits[0])}" if culprits else ""
    total = None if recent is None else sum(recent.values())
    if total:
        yield Condition(
            kind=Kind.CLIENTS_DENIED,
            severity=Severity.WARNING,
            key=key,
            subject=name_of(key),
            summary=f"denies clients: {several(total, 'request')} in the last {RECENT:g} s",
            outlook=outlook,
            culprits=culprits,
            recent=total,
        )
    elif culprits and (total is None or group.dry_run):
        summary = "would have denied clients recently (dry run)" if group.dry_run else "denied clients recently"
        yield _info(Kind.CLIENTS_DENIED, key, summary, outlook, culprits=culprits)
    if group.unenforced and not group.dry_run:
        summary = f"admitted {several(group.unenforced, 'request')} unchecked: the governor did not answer in time"
        yield _info(Kind.UNENFORCED, key, summary)


def _info(
    kind: Kind,
    key: str,
    summary: str,
    outlook: str = "",
    *,
    subject: str = "",
    culprits: tuple[str, ...] = (),
    recent: int = 0,
) -> Condition:
    return Condition(
        kind=kind,
        severity=Severity.INFO,
        key=key,
        subject=subject or name_of(key),
        summary=summary,
        outlook=outlook,
        culprits=culprits,
        recent=recent,
    )
