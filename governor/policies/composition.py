"""Composition of pipelines: built from the settings, and copied for each further scope alike.

To build one, every setting is looked at, and the first call of a scope waits for that.
"""

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from governor._units import Instant
from governor.policies.arrivals import Arrivals
from governor.policies.ban_guard import BanGuard
from governor.policies.breakers.breaker import BreakerPolicy, unmoved
from governor.policies.breakers.parameters import Breaker
from governor.policies.budget import Budgets
from governor.policies.contract import Limit
from governor.policies.degraded import DegradedPolicy
from governor.policies.gcra import TokenBucketPolicy, another
from governor.policies.leasing import leases_elsewhere, leasing, places
from governor.policies.limits import AWAITS_ANSWERS, NEEDS_OUTCOME, build
from governor.policies.pipeline import MarkedPipeline, Pipeline
from governor.policies.pipeline_state import born_first
from governor.policies.provider import ProviderPolicies
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.shared_limit import ONE_REQUEST, MethodCost, Share, shares

if TYPE_CHECKING:
    from governor.policies.learning.server_limits import ServerLimits

#: What is assumed about calls unless the settings say otherwise.
DEFAULT_ARRIVALS: Final = Arrivals()


def compose(
    breaker: Breaker,
    limits: Iterable[Limit],
    *,
    cap: RequestCapPolicy,
    degraded: DegradedPolicy,
    provider: ProviderPolicies | None = None,
    key: ProviderPolicies | None = None,
    cost: MethodCost = ONE_REQUEST,
    key_cost: MethodCost = ONE_REQUEST,
    scope: str = "",
    own_server: "ServerLimits | None" = None,
    exempt: bool = False,
    leases: bool = True,
    max_debt: float = inf,
    arrivals: Arrivals = DEFAULT_ARRIVALS,
    budgets: Budgets | None = None,
    kept: bool = False,
) -> Pipeline:
    """The policies that settings say, unspent. `kept`: they are to have a mark."""
    shared = ProviderPolicies.of() if provider is None else provider
    heard = None if own_server is None else own_server.beside(shared.server)
    own = tuple([build(limit, max_debt, arrivals) for limit in limits])
    policy = unmoved(breaker) or BreakerPolicy(breaker)
    found = leasing(own, (), own) if leases and not policy.counts_successes else None
    make = MarkedPipeline if kept else Pipeline
    pipeline = make(
        shared=shared,
        provider=shared.name,
        key=key,
        heard=heard,
        guard=BanGuard(scope, shared),
        breaker=policy,
        limits=own,
        all_limits=own,
        max_debt=max_debt,
        arrivals=arrivals,
        cap=cap,
        degraded=degraded,
        budgets=Budgets() if budgets is None else budgets,
        needs_outcome=any(map(NEEDS_OUTCOME, own)),
        awaits_answers=any(map(AWAITS_ANSWERS, own)),
        leases=found is not None,
        leasing=found or (),
        leases_elsewhere=found is not None and leases_elsewhere(own, ()),
        places=() if found is None else places(own),
        born=born_first(len(own)),
        exempt=exempt,
    )
    if shared.parameters.gentle:
        # A denial may be one of this scope alone: its calls count.
        pipeline.own_server.watch(Instant(0))
    stated = shared.stated if pipeline.heard is None else (*shared.stated, *pipeline.heard.limits)
    sharing = shared.shares(cost) + (() if key is None else key.shares(key_cost)) + shares(stated, ONE_REQUEST)
    if sharing:
        pipeline.share(sharing)
    pipeline.regate()
    return pipeline


def alike(
    model: Pipeline,
    scope: str,
    provider: ProviderPolicies,
    *,
    key: ProviderPolicies | None = None,
    sharing: tuple[Share, ...] = (),
) -> Pipeline:
    """What `compose` makes for a scope with the settings of the model, whose provider has heard nothing.

    `sharing` are the limits of the provider and of the key. The model has none of those, and is never used itself.
    """
    copies: list[Any] = []
    for limit in model.limits:  # Not in a comprehension, which costs a call.
        if type(limit) is TokenBucketPolicy:
            copies.append(another(limit))
        else:
            copies.append(build(limit.parameters, model.max_debt, model.arrivals))
    limits: tuple[Any, ...] = tuple(copies)
    new = replace(
        model, shared=provider, provider=provider.name, guard=BanGuard(scope, provider), limits=limits, all_limits=limits
    )
    if len(model.leasing) == len(limits):
        new.leasing = limits
    elif model.leasing:
        new.leasing = leasing(limits, (), limits) or ()
    if model.places:
        new.places = places(limits)
    if not model.breaker.shared:
        new.breaker = BreakerPolicy(model.breaker.parameters)
    if sharing:
        new.share(sharing)
    new.key = key
    unused = model.shared
    if provider.pauses is unused.pauses and provider.rejections is unused.rejections:
        # As `regate`, which looks at what nothing has happened to.
        new.gate = new.leases_from = Instant(0) if new.exempt else new.degraded.until
    else:
        new.regate()
    return new
