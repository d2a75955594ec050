"""What do the answers look like?

Structs whose schemas make the OpenAPI document. The names of the fields are those that the front end of the reference system
reads. Points in time are seconds since 1970, spans are seconds.

Of what there is one for each scope, the garbage collector is told nothing: it would look at everything the program has, again
and again, because of so many.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Moment = Annotated[float, Meta(description="Seconds since 1970.")]
Denials = Annotated[dict[str, int], Meta(description="How many were denied, by reason.")]


class Totals(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was counted. `total_requests` went out, or in; whose outcome is known is in exactly one of the others.

    Those are `total_2xx`, `total_4xx`, `total_5xx`, `failures`, `neutral` (cancelled, given back) and `others` (1xx, 3xx).
    `total_429` is part of `total_4xx`, `total_retries` of `total_requests`.
    """

    total_requests: int
    total_2xx: int
    total_4xx: int
    total_5xx: int
    total_429: int
    total_retries: int
    failures: int
    neutral: int
    others: int
    denied: Denials


class ScopeMetrics(Totals, frozen=True, gc=False, kw_only=True):
    """An outbound scope: with how often its breaker opened, the callers that wait, and the permits granted ahead."""

    total_circuit_open: int
    waiting: int
    leased: int


class DeniedBy(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Denials by what was used up: the limit of the client, of its address, of the group, or of the client on a route."""

    client: int
    address: int
    total: int
    route: int = 0


class GroupMetrics(Totals, frozen=True, gc=False, kw_only=True):
    """An inbound group. There are no retries and no breaker here: their totals stay 0.

    `unenforced` counts requests that went on in a dry run although a limit denied them, and those that passed because the
    governor did not answer in time; in a dry run `denied_by` counts as well.
    """

    total_circuit_open: int
    denied_by: DeniedBy
    unenforced: int


class RateLimit(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The limit of which the smallest share is left; `refill_rate` per second, 0 if only outcomes give back."""

    available_tokens: int
    capacity: int
    refill_rate: float


class LimitState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One of several limits; `limit` is its text in the policy file."""

    limit: str
    unit: str
    available: int
    capacity: int
    refill_rate: float


class BreakerState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The circuit breaker. `half_open_calls` are the probes that are out, `probes_in` is what is left of the cooling."""

    state: Literal["closed", "open", "half_open"]
    failure_count: int
    success_count: int
    half_open_calls: int
    last_failure_time: Moment | None
    probes_in: float


class Denial(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one more request would be told; `retry_after` null: waiting cannot help."""

    reason: str
    retry_after: float | None


class OutboundScope(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="direction", tag="outbound"):
    """An outbound scope. `denial` is null while one more request would be granted; `rate_limit` is null without limits.

    Amounts of `unknown_units` have no effect, because no limit counts them; `uncharged_units` are those that a limit counts and
    no call has named.
    """

    metrics: ScopeMetrics
    rate_limit: RateLimit | None
    limits: tuple[LimitState, ...]
    circuit_breaker: BreakerState
    denial: Denial | None
    unknown_units: tuple[str, ...] = ()
    uncharged_units: tuple[str, ...] = ()


class ClientDenials(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A client by pseudonym, and about how often it was denied lately: counts are halved every minute."""

    client: str
    denied: int


class InboundGroup(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="direction", tag="inbound"):
    """An inbound group. `limits` are those of one client, untouched; `totals` the ceilings of the group as they stand.

    `clients` is how many have spent something lately, `most_denied` are those who are denied most often.
    """

    metrics: GroupMetrics
    rate_limit: RateLimit | None
    limits: tuple[LimitState, ...]
    totals: tuple[LimitState, ...]
    dry_run: bool
    clients: int
    most_denied: tuple[ClientDenials, ...]


class GlobalMetrics(Totals, frozen=True, kw_only=True):
    """The sums over all scopes and groups there ever were, and what holds for all outbound scopes together.

    `requests_last_minute` counts against the cap `requests_per_minute`, null without a cap. While degraded mode is active,
    `degraded_cause` says whether `failures` in a row or the `cap` began it, and `degraded_providers` which providers are behind
    that. `events_dropped` and `hooks_failed` are what those who watch have missed.
    """

    requests_last_minute: int
    requests_per_minute: int | None
    degraded_mode_active: bool
    degraded_until_ts: Moment | None
    degraded_for: float
    degraded_spells: int
    degraded_cause: Literal["failures", "cap"] | None = None
    degraded_providers: tuple[str, ...] = ()
    events_dropped: int
    hooks_failed: int
    started_at: Moment | None
    now: Moment


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at once. The keys of `scopes` are `outbound:` or `inbound:` and the name of the scope or group."""

    status: Literal["success"] = "success"
    global_: GlobalMetrics = msgspec.field(name="global")
    outbound_scopes: list[str]
    inbound_scopes: list[str]
    scopes: dict[str, OutboundScope | InboundGroup]


class ScopeReport(OutboundScope, frozen=True, kw_only=True, tag_field="direction", tag="outbound"):
    """One outbound scope, or all those of a provider together.

    Then `aggregated_from` names them, metrics are sums, of each unit the scarcest limit is shown, and the breaker and the
    refusal are the worst of theirs.
    """

    status: Literal["success"] = "success"
    scope: str
    aggregated_from: list[str] | UnsetType = UNSET


class GroupReport(InboundGroup, frozen=True, kw_only=True, tag_field="direction", tag="inbound"):
    """One inbound group."""

    status: Literal["success"] = "success"
    scope: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The governor runs."""

    status: Literal["ok"] = "ok"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no other answer (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
