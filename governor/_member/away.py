"""Decisions of a member while the daemon is away: by a share of each limit, without limits, or none at all.

With a share, a supervisor of this process decides by limits and budgets that are scaled down. They begin used up: all that the
daemon has granted before counts, wherever it was granted. What was leased may be used for one time to live more: they begin
that much later. Calls of this process that hold a place of a limit on calls in flight hold one of its share, until they end.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, final

import msgspec

from governor._actors.actor import ScopeActor
from governor._member.permits import AskedOwner
from governor._supervisor import Supervisor
from governor._units import NEVER, Duration, Instant
from governor.clock import Clock
from governor.config import Config, InboundGroup, InboundRoute, InboundTier, MachineSettings
from governor.errors import Reason
from governor.messages import Acquire, Report
from governor.policies.arrivals import Ending
from governor.policies.contract import REQUESTS, Grant, Limit, LimitPolicy, Request, Result
from governor.policies.pipeline import Pipeline
from governor.policies.shared_limit import CostedLimit

#: How long a lease lasts that the daemon has granted, as far as is known before the first connection.
FIRST_TTL: Final = Duration(1_000_000)

#: By scope, the calls whose places the daemon keeps.
Places = Callable[[], Mapping[str, Sequence[AskedOwner]]]


@final
class Away:
    """What stands in for the daemon. Belongs to the actors' thread."""

    def __init__(self, supervisor: Supervisor, settings: MachineSettings, clock: Clock, places: Places) -> None:
        self._supervisor = supervisor
        # Much of it only counts as used.
        supervisor.cap.watch(on=False)
        self._settings = settings
        self._clock = clock
        self._places = places
        self._full_at = Instant(0)
        #: Whether it has decided in this absence.
        self._begun = False
        #: The policies that are used up already, for as long as this absence lasts.
        self._used_up: dict[int, object] = {}

    @property
    def decides(self) -> bool:
        """Whether calls may be granted."""
        return self._settings.on_daemon_loss != "deny"

    @property
    def may_have_granted(self) -> bool:
        """Whether calls may have been granted here since the daemon is away."""
        return self.decides and self._clock() >= self._full_at

    def begin(self, ttl: Duration) -> None:
        """The daemon is away from now on."""
        self._full_at = Instant(self._clock() + ttl)
        self._begun = False
        self._used_up.clear()

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on. Limits that are new begin used up as well."""
        self._settings = config.machine
        self._supervisor.reconfigure(config_for(config))
        self._full_at = max(self._full_at, self._clock())
        self._used_up.clear()

    def actor(self, scope: str) -> ScopeActor | None:
        """The actor of a scope. None if there is no room for another scope."""
        if self._settings.on_daemon_loss != "share":
            return self._supervisor.actor(scope)
        if not self._begun:
            self._begun = True
            # All at once: limits of a provider count the calls of all scopes.
            for held, owners in self._places().items():
                actor = self._with_nothing_left(held)
                if actor is not None:
                    actor.change(partial(self._keep, actor, owners))
        return self._with_nothing_left(scope)

    def exceeds_share(self, actor: ScopeActor, acquire: Acquire) -> bool:
        """Whether a call costs more than its scope can ever grant here. The limits of the daemon may hold it."""
        ledger, now = actor.ledger, self._clock()
        if ledger.pipeline.verdict(now, acquire.request).when == NEVER:
            return True
        over = ledger.over_budget(now, acquire)
        return over is not None and over.reason is Reason.COST

    def _with_nothing_left(self, scope: str) -> ScopeActor | None:
        actor = self._supervisor.actor(scope)
        if actor is not None and id(actor) not in self._used_up:
            self._used_up[id(actor)] = actor
            actor.change(partial(self._use_up, actor))
        return actor

    def _use_up(self, actor: ScopeActor) -> None:
        pipeline = actor.ledger.pipeline
        for policy in pipeline.all_limits:
            limit = policy.limit if isinstance(policy, CostedLimit) else policy
            self._once(limit, partial(use_up, limit, self._full_at))
        self._once(pipeline.budgets, partial(pipeline.budgets.use_up, self._full_at))
        self._once(pipeline.cap, partial(_use_up_cap, pipeline, self._full_at))

    def _once(self, policy: object, change: Callable[[], None]) -> None:
        if id(policy) not in self._used_up:
            self._used_up[id(policy)] = policy
            change()

    # Places of calls that the daemon has granted.

    def _keep(self, actor: ScopeActor, owners: Sequence[AskedOwner]) -> None:
        now = self._clock()
        for owner in owners:
            owner.kept_at = now
            for policy in _in_flight(actor.ledger.pipeline):
                policy.commit(now, Request(owner.cost))
        actor.ledger.pipeline.regate()

    def end(self, owner: AskedOwner, outcome: Report | Grant) -> None:
        """A call has ended, or was never made, whose place was kept here as well."""
        kept_at, owner.kept_at = owner.kept_at, None
        actor = self._supervisor.actor(owner.scope)
        if kept_at is not None and actor is not None:
            ending = outcome.ending if isinstance(outcome, Report) else Ending.ANSWERED
            grant = Grant(kept_at, 0, Request(owner.cost), ending=ending)
            actor.change(partial(self._free, actor, grant))

    def _free(self, actor: ScopeActor, grant: Grant) -> None:
        now = self._clock()
        for policy in _in_flight(actor.ledger.pipeline):
            policy.record(now, grant, Result.NEUTRAL)
        actor.ledger.pipeline.regate()


def _in_flight(pipeline: Pipeline) -> list[LimitPolicy]:
    return [policy for policy in pipeline.all_limits if policy.reason is Reason.CONCURRENCY]


def use_up(policy: LimitPolicy, at: Instant) -> None:
    """Takes all that is available in a limit, by calls that have been answered at once: no place in flight is kept."""
    available = policy.available(at)
    if available <= 0 or policy.reason is Reason.CONCURRENCY:
        return
    request = Request(available) if policy.unit == REQUESTS else Request(0, {policy.unit: available})
    receipt = policy.commit(at, request)
    grant = Grant(at, 0, request, (receipt,), at)
    policy.answered(at, grant)
    policy.record(at, grant, Result.SUCCESS)


def _use_up_cap(pipeline: Pipeline, at: Instant) -> None:
    cap = pipeline.cap
    if cap.parameters.requests_per_minute is not None:
        left = cap.parameters.requests_per_minute - cap.used(at)
        if left > 0:
            cap.commit(at, Request(left))


def config_for(config: Config) -> Config:
    """The settings by which a process decides while the daemon is away, by `on_daemon_loss`."""
    machine = config.machine
    share: float | None
    if machine.on_daemon_loss == "share":
        share = machine.share
        cap = config.global_.requests_per_minute
        global_ = msgspec.structs.replace(
            config.global_,
            requests_per_minute=None if cap is None else max(1, int(cap * machine.share)),
            # At first the cap denies every call, which says nothing about them.
            degraded_after_excess=None,
        )
    else:
        share = None
        global_ = msgspec.structs.replace(config.global_, requests_per_minute=None)
    return msgspec.structs.replace(
        config,
        global_=global_,
        budget={} if share is None else {name: one.scaled(share) for name, one in config.budget.items()},
        provider={
            name: msgspec.structs.replace(one, limits=_scaled(one.limits, share), preset=None)
            for name, one in config.provider.items()
        },
        outbound={
            name: msgspec.structs.replace(one, limits=_scaled(one.limits, share)) for name, one in config.outbound.items()
        },
        inbound={name: scaled_group(one, share) for name, one in config.inbound.items()},
    )


def scaled_group(group: InboundGroup, share: float | None) -> InboundGroup:
    """An inbound group with this share of its limits, or without limits."""
    return msgspec.structs.replace(
        group,
        limits=_scaled(group.limits, share),
        address_limits=_scaled(group.address_limits, share),
        total_limits=_scaled(group.total_limits, share),
        tiers={name: InboundTier(limits=_scaled(tier.limits, share)) for name, tier in group.tiers.items()},
        # A route without limits is none, and each request knows its routes by their indexes.
        routes=() if share is None else tuple(_scaled_route(route, share) for route in group.routes),
    )


def _scaled_route(route: InboundRoute, share: float) -> InboundRoute:
    return msgspec.structs.replace(route, limits=_scaled(route.limits, share))


def _scaled(limits: tuple[Limit, ...], share: float | None) -> tuple[Limit, ...]:
    return () if share is None else tuple(limit.scaled(share) for limit in limits)
