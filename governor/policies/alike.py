"""Pipelines of scopes alike: built from the settings once, and copied for each further scope."""

from typing import Any

from governor._units import Instant
from governor.policies.ban_guard import BanGuard
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.gcra import TokenBucketPolicy, another
from governor.policies.leasing import leasing, places
from governor.policies.limits import build
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderPolicies


def alike(model: Pipeline, scope: str, provider: ProviderPolicies) -> Pipeline:
    """What the constructor makes for a scope with the settings of the model, whose provider has no limits.

    The constructor looks at every setting, and the first call of a scope waits for that. The model itself is never used.
    """
    new = Pipeline.__new__(Pipeline)
    new.shared, new.provider = provider, provider.name
    new.guard = BanGuard(scope, provider)
    copies: list[Any] = []
    for limit in model.limits:  # Not in a comprehension, which costs a call.
        if type(limit) is TokenBucketPolicy:
            copies.append(another(limit))
        else:
            copies.append(build(limit.parameters, model.max_debt, model.arrivals))
    limits: tuple[Any, ...] = tuple(copies)
    new.limits = new.all_limits = limits
    new.cap = model.cap
    new.leases, new.leases_elsewhere = model.leases, model.leases_elsewhere
    if len(model.leasing) in (0, len(limits)):
        new.leasing = limits if model.leasing else ()
    else:
        new.leasing = leasing(limits, (), limits) or ()
    new.places = places(limits) if model.places else ()
    new.breaker = model.breaker if model.breaker.shared else BreakerPolicy(model.breaker.parameters)
    # What is the same for all of them until something happens in the scope.
    new.key, new.heard, new.shares, new.gates, new.mark = None, None, (), (), None
    new.max_debt, new.arrivals, new.exempt = model.max_debt, model.arrivals, model.exempt
    new.budgets, new.degraded, new.own_cooldown = model.budgets, model.degraded, model.own_cooldown
    new.needs_outcome, new.awaits_answers = model.needs_outcome, model.awaits_answers
    new.born, new._receipts_born, new.dropped = model.born, 0, model.dropped
    unused = model.shared
    if provider.pauses is unused.pauses and provider.rejections is unused.rejections:
        # As `regate`, which looks at what nothing has happened to.
        new.gate = new.leases_from = Instant(0) if new.exempt else new.degraded.until
    else:
        new.regate()
    return new
