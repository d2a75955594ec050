"""The documents that the daemon answers with: envelopes around the records of `governor.statistics`.

Their schemas make the OpenAPI document. Points in time are seconds since 1970, spans are seconds.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from governor.conditions import Condition
from governor.instrumentation import Entry
from governor.statistics import (
    Cause,
    CounterRecord,
    GroupStatistics,
    LimitStatistics,
    MemberStatistics,
    Moment,
    ScopeStatistics,
)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The process that runs the governor. `policy_file` is the one that was read, or None."""

    version: str
    pid: int
    host: str
    policy_file: str | None = None


class GlobalStatus(CounterRecord, frozen=True, kw_only=True):
    """The whole governor: sums over all scopes and groups that ever existed, the global cap and degraded mode.

    The fields mean the same as those of `governor.Statistics`.
    """

    requests_last_minute: int
    requests_per_minute: int | None
    degraded_mode_active: bool
    degraded_until_ts: Moment | None
    degraded_for: float
    degraded_spells: int
    degraded_cause: Cause | None
    degraded_providers: tuple[str, ...]
    provider_limits: Mapping[str, tuple[LimitStatistics, ...]]
    set_aside: int
    members: tuple[MemberStatistics, ...] = ()
    events_dropped: int
    hooks_failed: int
    started_at: Moment | None
    now: Moment


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """An action that applies now to each of `keys`; the key "" is the whole governor.

    The request is a POST of a `BreakerAction` or, for the whole governor, a `ResumeAction`, to `path` under the prefix of the
    API. `label` names the action on a button. A `question` is to be confirmed first. `open_for` has the durations to choose
    from, with their labels; without any, `open_for` of the request is null.
    """

    name: Literal["end_degraded", "resume", "close_breaker", "pause", "extend"]
    label: str
    path: str
    keys: tuple[str, ...]
    question: str | None = None
    open_for: Mapping[str, str] = msgspec.field(default_factory=dict)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at once. The keys of `scopes` are `outbound:` or `inbound:` and the name of the scope or group.

    `headline` and `conditions` say what is wrong, `labels` the state of each scope and group in a word or two, and
    `recent_denials` how many calls each of them denied in the last ten seconds, where that is not 0. `actions` are those that
    apply now; there are none without an admin token.
    """

    status: Literal["success"] = "success"
    about: About
    headline: str
    conditions: tuple[Condition, ...]
    global_: GlobalStatus = msgspec.field(name="global")
    outbound_scopes: list[str]
    inbound_scopes: list[str]
    labels: dict[str, str]
    recent_denials: dict[str, int]
    actions: tuple[Offer, ...] = ()
    scopes: dict[str, ScopeStatistics | GroupStatistics]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed of a `Status` since an earlier one.

    `labels` and `scopes` have the entries that are new or have changed, and `gone` has the keys that both have lost. Of the
    other fields, those that are absent have not changed.
    """

    about: About | UnsetType = UNSET
    headline: str | UnsetType = UNSET
    conditions: tuple[Condition, ...] | UnsetType = UNSET
    global_: GlobalStatus = msgspec.field(name="global")
    outbound_scopes: list[str] | UnsetType = UNSET
    inbound_scopes: list[str] | UnsetType = UNSET
    recent_denials: dict[str, int] | UnsetType = UNSET
    actions: tuple[Offer, ...] | UnsetType = UNSET
    labels: dict[str, str]
    gone: list[str]
    scopes: dict[str, ScopeStatistics | GroupStatistics]


class ScopeReport(ScopeStatistics, frozen=True, kw_only=True, tag_field="direction", tag="outbound"):
    """One outbound scope, or all scopes of a provider together.

    For a provider, `aggregated_from` names the scopes, counters are sums, `limits` has the scarcest limit of each unit, and the
    breaker and the denial are the worst of theirs.
    """

    status: Literal["success"] = "success"
    scope: str
    aggregated_from: list[str] | UnsetType = UNSET


class GroupReport(GroupStatistics, frozen=True, kw_only=True, tag_field="direction", tag="inbound"):
    """One inbound group."""

    status: Literal["success"] = "success"
    scope: str


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Rates per second of one scope or group, or of all outbound scopes, at the `times` of the history."""

    granted: list[float | None]
    denied: list[float | None]


class HistoryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon remembers: rates of the last hour, one value each `interval` seconds, and the timeline of events.

    `series` has all outbound scopes together under "", and the scope that was asked for. Values are null where nothing is
    known.
    """

    interval: float
    times: list[Moment]
    series: dict[str, Series]
    timeline: list[Entry]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The governor runs."""

    status: Literal["ok"] = "ok"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request has no other answer (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class BreakerAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Opens the circuit breaker of a scope for `open_for`, a duration such as "5m"; null closes it."""

    scope: str
    open_for: str | None


class CloseAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lets no call of a scope, or of a provider, through for `open_for`, a duration such as "5m"."""

    name: str
    open_for: str


class NamedAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Opens or resets a scope, or a provider with all of its scopes."""

    name: str


class ResumeAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends degraded mode. It has no fields."""
