"""A pipeline that is copied from a model has in every field what the constructor puts there, and is that of its scope."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import product

import pytest

from governor import Config, Governor
from governor._units import SECOND, Duration, Instant
from governor.policies.alike import alike
from governor.policies.arrivals import Arrivals
from governor.policies.ban_budget import BanBudget
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import Limit
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.windows.parameters import StrictWindow
from tests.support.governors import supervisor_of

CAP, DEGRADED = RequestCapPolicy(RequestCap()), DegradedPolicy(Degraded())
DEGRADED.until = Instant(SECOND)
LATE = Arrivals(bucket_margin=Duration(SECOND // 5))


def new(scope: str, provider: ProviderPolicies, breaker: Breaker, limits: Iterable[Limit], *, changed: bool) -> Pipeline:
    return Pipeline(
        breaker,
        limits,
        cap=CAP,
        degraded=DEGRADED,
        provider=provider,
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
    names = {name for base in type(subject).__mro__ for name in getattr(base, "__slots__", ())}
    return type(subject), {name: fields(getattr(subject, name)) for name in sorted(names) if hasattr(subject, name)}


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
    parameters = ProviderParameters(ban_budget=bans)
    provider = ProviderPolicies("one", parameters)
    happened(provider)
    for breaker, changed in product([Breaker(), Breaker(failure_rate=0.5, window_calls=20)], [False, True]):
        model = new("", ProviderPolicies(parameters=parameters), breaker, limits, changed=changed)
        built, copy = new("one:get", provider, breaker, limits, changed=changed), alike(model, "one:get", provider)

        assert fields(built) == fields(copy)
        assert copy.breaker.shared or copy.breaker is not model.breaker


SETTINGS = {
    "global": {"degraded_exempt": ["exempt"]},
    "outbound": {
        "default": {"limits": ["9/s burst 9"]},
        "openai": {"limits": ["5/s burst 5"]},
        "openai:post": {"limits": ["4/s burst 4"], "max_debt": 3},
    },
    "provider": {"openai/large": {"limits": ["7/s burst 7"]}, "shared": {"limits": ["8/s burst 8"]}},
}


@pytest.mark.anyio
async def test_a_scope_has_the_settings_of_its_own_section_whichever_scopes_came_before() -> None:
    providers = ["openai", "openai/one", "openai/large", "exempt", "shared", "others"]
    async with Governor(Config.from_mapping(SETTINGS)) as governor:
        builder = supervisor_of(governor)._builder
        for provider, method in product(providers, ["get", "put", "post", "patch"]):
            scope = f"{provider}:{method}"
            new, built = builder.new(scope).ledger.pipeline, builder.pipeline(scope)

            assert built.settings() == new.settings()
            assert (built.shared, built.key) == (new.shared, new.key)
            assert [one.policy for one in built.shares] == [one.policy for one in new.shares]
