"""Which status documents do tests look at? Made by hand, and drawn."""

from collections.abc import Mapping
from typing import Final, Literal

from hypothesis import strategies as st

from governor.daemon.documents import (
    BreakerState,
    ClientDenials,
    Denial,
    DeniedBy,
    GlobalMetrics,
    GroupMetrics,
    InboundGroup,
    LimitState,
    OutboundScope,
    RateLimit,
    ScopeMetrics,
    Status,
)
from governor.errors import Reason

COUNTS: Final[Mapping[str, int]] = dict.fromkeys(
    ("total_requests", "total_2xx", "total_4xx", "total_5xx", "total_429", "total_retries", "failures", "neutral", "others"), 0
)
NOW: Final = 1_700_000_000.0

Scope = OutboundScope | InboundGroup


def status(
    scopes: Mapping[str, Scope] | None = None,
    *,
    now: float = NOW,
    started_at: float | None = NOW - 60,
    degraded_for: float = 0.0,
    cause: Literal["failures", "cap"] | None = None,
    providers: tuple[str, ...] = (),
    last_minute: int = 12,
) -> Status:
    found = scopes or {}
    return Status(
        global_=GlobalMetrics(
            **COUNTS,
            denied={},
            requests_last_minute=last_minute,
            requests_per_minute=1000,
            degraded_mode_active=degraded_for > 0,
            degraded_until_ts=now + degraded_for if degraded_for else None,
            degraded_for=degraded_for,
            degraded_spells=0,
            degraded_cause=cause,
            degraded_providers=providers,
            events_dropped=0,
            hooks_failed=0,
            started_at=started_at,
            now=now,
        ),
        outbound_scopes=[key for key in found if key.startswith("outbound:")],
        inbound_scopes=[key for key in found if key.startswith("inbound:")],
        scopes=dict(found),
    )


def scope(
    reason: str | None = None,
    retry_after: float | None = None,
    *,
    breaker: str = "closed",
    probes_in: float = 0.0,
    waiting: int = 0,
    denied: Mapping[str, int] | None = None,
    requests: int = 0,
) -> OutboundScope:
    return OutboundScope(
        metrics=ScopeMetrics(
            **{**COUNTS, "total_requests": requests},
            denied=dict(denied or {}),
            total_circuit_open=0,
            waiting=waiting,
            leased=0,
        ),
        rate_limit=RateLimit(available_tokens=3, capacity=60, refill_rate=1.0),
        limits=(LimitState(limit="1/s burst 60", unit="requests", available=3, capacity=60, refill_rate=1.0),),
        circuit_breaker=BreakerState(
            state=breaker,  # type: ignore[arg-type]
            failure_count=0,
            success_count=0,
            half_open_calls=0,
            last_failure_time=None,
            probes_in=probes_in,
        ),
        denial=None if reason is None else Denial(reason=reason, retry_after=retry_after),
    )


def group(
    *,
    requests: int = 0,
    denied: Mapping[str, int] | None = None,
    most_denied: Mapping[str, int] | None = None,
    dry_run: bool = False,
) -> InboundGroup:
    return InboundGroup(
        metrics=GroupMetrics(
            **{**COUNTS, "total_requests": requests},
            denied=dict(denied or {}),
            total_circuit_open=0,
            denied_by=DeniedBy(client=0, address=0, total=0),
            unenforced=0,
        ),
        rate_limit=None,
        limits=(),
        totals=(),
        dry_run=dry_run,
        clients=0,
        most_denied=tuple(ClientDenials(client=client, denied=count) for client, count in (most_denied or {}).items()),
    )


_counts: Final = st.one_of(st.integers(0, 3), st.integers(0, 10**12))
_spans: Final = st.one_of(st.floats(0.0, 200.0), st.floats(0.0, 31_622_400.0))
_reasons: Final = st.sampled_from([reason.value for reason in Reason])
_denied: Final = st.dictionaries(_reasons, st.integers(1, 10**9), max_size=3)
_names: Final = st.from_regex(r"[a-z][a-z0-9_.-]{0,30}(:[a-z]{1,7})?", fullmatch=True)

scopes: Final = st.builds(
    scope,
    st.one_of(st.none(), _reasons),
    st.one_of(st.none(), _spans),
    breaker=st.sampled_from(["closed", "open", "half_open"]),
    probes_in=_spans,
    waiting=_counts,
    denied=_denied,
    requests=_counts,
)
groups: Final = st.builds(
    group, denied=_denied, most_denied=st.dictionaries(_names, st.integers(1, 10**9), max_size=3), dry_run=st.booleans()
)
_keyed: Final = st.one_of(
    st.tuples(_names.map("outbound:{}".format), scopes), st.tuples(_names.map("inbound:{}".format), groups)
)
statuses: Final = st.builds(
    status,
    st.lists(_keyed, max_size=6).map(dict),
    started_at=st.one_of(st.none(), st.floats(NOW - 10**7, NOW)),
    degraded_for=st.one_of(st.just(0.0), _spans),
    last_minute=st.integers(0, 2000),
)
