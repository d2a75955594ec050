"""Statistics and status documents for tests: made by hand, and drawn."""

from collections.abc import Mapping
from typing import Final

from governor import CounterRecord, DenialStatistics, LimitStatistics, Reason, ScopeStatistics, Statistics
from governor.conditions import INBOUND, OUTBOUND, Recently, conditions
from governor.cooperative import finish
from governor.daemon import reports
from governor.daemon.documents import About, Status
from governor.policies.breakers.states import BreakerStatus
from governor.policies.degraded import Cause
from governor.statistics import BreakerStatistics, ClientStatistics, FailureStatistics, GroupStatistics, LoopStatistics
from tests.support import tape as st

NOW: Final = 1_700_000_000.0
ABOUT: Final = About(version="0.1.0", pid=7, host="here")
LIMIT: Final = LimitStatistics(limit="1/s burst 60", unit="requests", available=3, capacity=60, refill_rate=1.0)

Scope = ScopeStatistics | GroupStatistics


def statistics(
    scopes: Mapping[str, Scope] | None = None,
    *,
    now: float = NOW,
    started_at: float | None = NOW - 60,
    degraded_for: float = 0.0,
    cause: Cause | None = None,
    providers: tuple[str, ...] = (),
    last_minute: int = 12,
    set_aside: int = 0,
    events_dropped: int = 0,
    hooks_failed: int = 0,
) -> Statistics:
    """The keys of `scopes` have their direction in front."""
    found = scopes or {}
    return Statistics(
        now=now,
        started_at=started_at,
        requests_last_minute=last_minute,
        requests_per_minute=1000,
        degraded_for=degraded_for,
        degraded_cause=cause,
        degraded_providers=providers,
        scopes={key.removeprefix(OUTBOUND): one for key, one in found.items() if isinstance(one, ScopeStatistics)},
        groups={key.removeprefix(INBOUND): one for key, one in found.items() if isinstance(one, GroupStatistics)},
        set_aside=set_aside,
        events_dropped=events_dropped,
        hooks_failed=hooks_failed,
    )


def status_of(seen: Statistics, recently: Recently | None = None) -> Status:
    return finish(reports.status(seen, conditions(seen, recently), about=ABOUT))


def status(
    scopes: Mapping[str, Scope] | None = None,
    recently: Recently | None = None,
    *,
    now: float = NOW,
    started_at: float | None = NOW - 60,
    degraded_for: float = 0.0,
    last_minute: int = 12,
) -> Status:
    seen = statistics(scopes, now=now, started_at=started_at, degraded_for=degraded_for, last_minute=last_minute)
    return status_of(seen, recently)


def scope(
    reason: Reason | None = None,
    retry_after: float | None = None,
    *,
    breaker: BreakerStatus = BreakerStatus.CLOSED,
    probes_in: float = 0.0,
    ramp_up: int | None = None,
    forced: bool = False,
    waiting: int = 0,
    denied: Mapping[Reason, int] | None = None,
    dropped: Mapping[str, int] | None = None,
    requests: int = 0,
    last_failure: FailureStatistics | None = None,
    unknown_units: tuple[str, ...] = (),
    uncharged_units: tuple[str, ...] = (),
    loops: LoopStatistics | None = None,
) -> ScopeStatistics:
    return ScopeStatistics(
        counters=CounterRecord(requests=requests, denied=denied or {}, dropped=dropped or {}),
        limits=(LIMIT,),
        scarcest=LIMIT,
        breaker=BreakerStatistics(status=breaker, probes_in=probes_in, ramp_up=ramp_up, forced=forced),
        waiting=waiting,
        denial=None if reason is None else DenialStatistics(reason=reason, retry_after=retry_after),
        last_failure=last_failure,
        unknown_units=unknown_units,
        uncharged_units=uncharged_units,
        loops=loops,
    )


def group(
    *,
    requests: int = 0,
    denied: Mapping[Reason, int] | None = None,
    most_denied: Mapping[str, int] | None = None,
    dry_run: bool = False,
    unenforced: int = 0,
) -> GroupStatistics:
    return GroupStatistics(
        counters=CounterRecord(requests=requests, denied=denied or {}),
        dry_run=dry_run,
        unenforced=unenforced,
        most_denied=tuple(ClientStatistics(client=client, denied=count) for client, count in (most_denied or {}).items()),
    )


_counts: Final = st.one_of(st.integers(0, 3), st.integers(0, 10**12))
_spans: Final = st.one_of(st.floats(0.0, 200.0), st.floats(0.0, 31_622_400.0))
_reasons: Final = st.sampled_from(Reason)
_denied: Final = st.dictionaries(_reasons, st.integers(1, 10**9), max_size=3)
_name: Final = st.lists(st.sampled_from("abcxyz0189_.-"), max_size=30).map("".join)
_method: Final = st.just("") | st.lists(st.sampled_from("abcz"), min_size=1, max_size=7).map(lambda word: f":{''.join(word)}")
#: As `[a-z][a-z0-9_.-]{0,30}(:[a-z]{1,7})?`.
_names: Final = st.tuples(st.sampled_from("abcxyz"), _name, _method).map("".join)
_units: Final = st.lists(_names, max_size=5).map(tuple)

scopes: Final = st.builds(
    scope,
    st.one_of(st.none(), _reasons),
    st.one_of(st.none(), _spans),
    breaker=st.sampled_from(BreakerStatus),
    probes_in=_spans,
    ramp_up=st.one_of(st.none(), st.integers(1, 100)),
    waiting=_counts,
    denied=_denied,
    dropped=st.dictionaries(_names, _counts, max_size=2),
    requests=_counts,
    unknown_units=_units,
    uncharged_units=_units,
    loops=st.none() | st.builds(LoopStatistics, stopped=st.integers(1, 100), retry_after=_spans, labels=_units),
)
groups: Final = st.builds(
    group,
    denied=_denied,
    most_denied=st.dictionaries(_names, st.integers(1, 10**9), max_size=3),
    dry_run=st.booleans(),
    unenforced=_counts,
)
_keyed: Final = st.one_of(
    st.tuples(_names.map("outbound:{}".format), scopes), st.tuples(_names.map("inbound:{}".format), groups)
)
surveys: Final = st.builds(
    statistics,
    st.lists(_keyed, max_size=6).map(dict),
    started_at=st.one_of(st.none(), st.floats(NOW - 10**7, NOW)),
    degraded_for=st.one_of(st.just(0.0), _spans),
    cause=st.one_of(st.none(), st.sampled_from(Cause)),
    providers=_units,
    last_minute=st.integers(0, 2000),
    set_aside=_counts,
    events_dropped=_counts,
    hooks_failed=_counts,
)
statuses: Final = surveys.map(status_of)
