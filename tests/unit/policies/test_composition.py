"""A pipeline that is copied from a model has in every field what the constructor puts there, and is that of its scope."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import product

import pytest

from governor import Config, Governor
from governor._units import SECOND, Duration, Instant
from governor.policies.arrivals import Arrivals
from governor.policies.ban_budget import BanBudget
from governor.policies.breakers.parameters import Breaker
from governor.policies.composition import alike, compose
from governor.policies.contract import Limit
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.shared_limit import ONE_REQUEST, MethodCost
from governor.policies.windows.parameters import StrictWindow
from tests.support.governors import supervisor_of

CAP, DEGRADED = RequestCapPolicy(RequestCap()), DegradedPolicy(Degraded())
DEGRADED.until = Instant(SECOND)
LATE = Arrivals(bucket_margin=Duration(SECOND // 5))


#: Limits of the provider, with the cost of a request.
COMMON: list[tuple[tuple[Limit, ...], MethodCost]] = [
    ((), ONE_REQUEST),
    ((TokenBucket(9, SECOND, burst=9), InFlight(3)), ONE_REQUEST),
    ((TokenBucket(9, SECOND, burst=9),), MethodCost(3, {"tokens": 2})),
    ((StrictWindow(9, SECOND), TokenBucket(9, SECOND, burst=9, unit="tokens")), MethodCost(0, {"tokens": 2})),
]


def new(
    scope: str, provider: ProviderPolicies, breaker: Breaker, limits: Iterable[Limit], cost: MethodCost, *, changed: bool
) -> Pipeline:
    return compose(
        breaker,
        limits,
        cap=CAP,
        degraded=DEGRADED,
        provider=provider,
        cost=cost,
        scope=scope,
        exempt=changed,
        leases=not changed,
        max_debt=2.0,
        arrivals=LATE,
    )


def fields(subject: object) -> object:
    """Its type and what it holds, down to what both must share."""
    if isinstance(subject, tuple | list | deque):
        return type(subject), [*map(fields, subject)]
    if subject in (CAP, DEGRADED) or isinstance(subject, ProviderPolicies | float | int | str | None):
        return subject
    return type(subject), contents(subject)


def contents(subject: object) -> dict[str, object]:
    names = {name for base in type(subject).__mro__ for name in getattr(base, "__slots__", ())}
    return {name: fields(getattr(subject, name)) for name in sorted(names - {"__weakref__"}) if hasattr(subject, name)}


def pause(provider: ProviderPolicies) -> None:
    provider.own_cooldown().extend(Instant(0), Duration(2 * SECOND))


@pytest.mark.parametrize("happened", [bool, pause, ProviderPolicies.begin_rejections])
@pytest.mark.parametrize("bans", [BanBudget(), BanBudget(refusals=10)], ids=["lenient", "strict"])
@pytest.mark.parametrize(
    "limits",
    [
        [TokenBucket(5, SECOND, burst=10)],
        [TokenBucket(5, SECOND, burst=1), TokenBucket(1, SECOND, burst=10, unit="tokens")],
        [TokenBucket(5, SECOND, burst=10), StrictWindow(5, SECOND)],
        [InFlight(3)],
        [],
    ],
    ids=["bucket", "buckets", "window", "in flight", "none"],
)
def test_a_copy_has_the_fields_of_the_built(
    limits: list[Limit], bans: BanBudget, happened: Callable[[ProviderPolicies], object]
) -> None:
    breakers = [Breaker(), Breaker(failure_rate=0.5, window_calls=20)]
    alone = product(COMMON[:1], breakers, [False, True])
    for (common, cost), breaker, changed in (*alone, *product(COMMON[1:], breakers[:1], [False])):
        provider = ProviderPolicies.of("one", ProviderParameters(limits=common, ban_budget=bans))
        happened(provider)
        unlimited = ProviderPolicies.of(parameters=ProviderParameters(ban_budget=bans))
        model = new("", unlimited, breaker, limits, ONE_REQUEST, changed=changed)
        built = new("one:get", provider, breaker, limits, cost, changed=changed)
        copy = alike(model, "one:get", provider, sharing=provider.shares(cost))

        assert fields(built) == fields(copy)
        assert copy.breaker.shared or copy.breaker is not model.breaker


@pytest.mark.parametrize("limits", [(), (InFlight(3),)])
@pytest.mark.parametrize("bans", [BanBudget(), BanBudget(refusals=10)], ids=["lenient", "strict"])
@pytest.mark.parametrize("gentle", [False, True])
def test_a_copied_provider_has_the_fields_of_the_built(limits: tuple[Limit, ...], bans: BanBudget, gentle: bool) -> None:
    parameters = ProviderParameters(limits=limits, ban_budget=bans, gentle=gentle)
    built, model = ProviderPolicies.of("one", parameters), ProviderPolicies.of("", parameters)
    copy = model.another("one")

    assert contents(built) == contents(copy)
    assert copy.budget is not model.budget
    assert copy.heard is None or copy.heard is not model.heard
    assert copy.ban_budget is not model.ban_budget or not copy.ban_budget.counting


SETTINGS = {
    "global": {"degraded_exempt": ["exempt"]},
    "outbound": {
        "default": {"limits": ["9/s burst 9"]},
        "openai": {"limits": ["5/s burst 5"]},
        "openai:post": {"limits": ["4/s burst 4"], "max_debt": 3},
    },
    "provider": {"openai/large": {"limits": ["7/s burst 7"]}, "shared": {"limits": ["8/s burst 8"], "cost": {"post": 3}}},
}


@pytest.mark.anyio
async def test_a_scope_has_the_settings_of_its_own_section_whichever_scopes_came_before() -> None:
    providers = ["openai", "openai/one", "openai/large", "exempt", "shared", "others"]
    async with Governor(Config.from_mapping(SETTINGS)) as governor:
        builder = supervisor_of(governor)._builder
        for provider, method in product(providers, ["get", "put", "post", "patch"]):
            scope = f"{provider}:{method}"
            new, built = builder.new(scope).ledger.pipeline, builder.pipeline(scope)

            assert fields(built) == fields(new)
