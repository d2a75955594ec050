"""Laws of the policy file: what is shown says the same, and layers win key by key."""

import tomllib

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor._units import DAY, HOUR, MAX_DURATION, SECOND, Duration
from governor.config import (
    BudgetSettings,
    Config,
    GlobalSettings,
    InboundGroup,
    PriceSettings,
    ProviderSettings,
    ScopeSettings,
    show,
)
from governor.config.differences import differences
from governor.config.json_schema import json_schema
from governor.config.schema import merge
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import Limit
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget
from governor.policies.windows.parameters import StrictWindow

SCHEMA = jsonschema_rs.validator_for(json_schema())

COUNTS = st.integers(1, 4096)
SPANS = st.integers(1, MAX_DURATION).map(Duration) | st.integers(1, 366).map(lambda days: Duration(days * DAY))
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True).filter(lambda name: name != "default")
LIMITS: st.SearchStrategy[Limit] = st.one_of(
    st.builds(TokenBucket, COUNTS, SPANS, COUNTS, st.sampled_from(["requests", "tokens"])),
    st.builds(StrictWindow, COUNTS, SPANS),
    st.builds(InFlight, COUNTS),
)
LIMIT_LISTS = st.lists(LIMITS, max_size=3).map(tuple)
BREAKERS = st.one_of(
    st.builds(Breaker, failures=COUNTS, slow_call=st.none() | SPANS, open_for=SPANS, probes=st.integers(2, 9)),
    st.builds(Breaker, failures=st.none(), failure_rate=st.floats(1e-9, 1), window=SPANS),
    st.builds(Breaker, failure_rate=st.floats(1e-9, 1), window_calls=st.integers(10, 4096)),
)
RETRIES = st.builds(
    Retry,
    attempts=st.integers(1, 6),
    base=st.floats(1, 1e300),
    first_delay=st.integers(1, SECOND).map(Duration),
    jitter=st.sampled_from(["full", "proportional", "none"]),
    methods=st.frozensets(st.sampled_from(["GET", "POST", "PATCH"])),
    statuses=st.frozensets(st.integers(400, 599)),
    safe_statuses=st.frozensets(st.integers(400, 599)),
)
BUDGETS = st.builds(
    RetryBudget, share=st.floats(0, 1000), floor=st.integers(0, 99), window=st.integers(SECOND, HOUR).map(Duration)
)
SCOPES = st.builds(ScopeSettings, limits=LIMIT_LISTS, breaker=BREAKERS, retry=RETRIES, retry_budget=BUDGETS)
OUTBOUND = st.dictionaries(
    st.sampled_from(["default", "github", "github:post"]) | NAMES | st.tuples(NAMES, NAMES).map(":".join), SCOPES, max_size=4
)
COSTS = st.integers(0, 9) | st.dictionaries(st.sampled_from(["requests", "points"]), st.integers(0, 9))
PROVIDER = st.builds(
    ProviderSettings, limits=LIMIT_LISTS, cost=st.dictionaries(st.sampled_from(["get", "post", "default"]), COSTS)
)
PROVIDERS = st.dictionaries(st.just("default") | NAMES, PROVIDER, max_size=3)
HOSTS = st.sampled_from(["api.github.com", "*.Example.com", "[::1]:80", "localhost:8080"])
REQUEST_BUCKETS = st.builds(TokenBucket, amount=COUNTS, per=SPANS, burst=COUNTS)
BUCKET_LISTS = st.lists(REQUEST_BUCKETS, max_size=2).map(tuple)
GROUPS = st.builds(
    InboundGroup, limits=BUCKET_LISTS, address_limits=BUCKET_LISTS, total_limits=BUCKET_LISTS, dry_run=st.booleans()
)
FOLDERS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
MACHINES = st.fixed_dictionaries(
    {"socket": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), "spawn": st.booleans()},
    optional={"on_daemon_loss": st.sampled_from(["share", "deny", "open"]), "share": st.floats(0.01, 1), "state": FOLDERS},
)
KEYS = st.sampled_from("abc")
USES = st.none() | st.sampled_from(["2000000 per day", "60 per 1h30m"])
CALLER_BUDGETS = st.dictionaries(
    st.sampled_from(["agents", "agent:7", "a.b"]),
    st.builds(
        BudgetSettings, labels=st.sampled_from([(), ("agent-*", "job")]), each=st.booleans(), tokens=USES, usd=USES
    ).filter(lambda budget: budget.tokens is not None or budget.usd is not None),
    max_size=2,
)
DOLLARS = st.floats(0, 100)
PRICES = st.dictionaries(
    st.sampled_from(["gpt-5", "gpt-*"]),
    st.builds(PriceSettings, input=DOLLARS, cached_input=st.none() | DOLLARS, cache_write=st.none() | DOLLARS),
    max_size=2,
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    names = draw(st.lists(NAMES, max_size=2, unique=True))
    groups = {f"group-{name}": InboundGroup(paths=(f"/{name}",), limits=draw(BUCKET_LISTS)) for name in names}
    return Config.from_mapping(
        {
            "global": draw(
                st.builds(GlobalSettings, degraded_exempt=st.frozensets(NAMES), idle_after=SPANS, max_scopes=COUNTS)
            ),
            "provider": {**draw(PROVIDERS), "hub": {"hosts": draw(st.lists(HOSTS, unique=True))}},
            "outbound": draw(OUTBOUND),
            "inbound": {**groups, "default": draw(GROUPS)},
            "budget": draw(CALLER_BUDGETS),
            "prices": draw(PRICES),
            "logging": {"enabled": draw(st.booleans()), "directory": draw(FOLDERS)},
            "machine": draw(MACHINES),
        }
    )


@pytest.mark.promise("R53")
@given(configs())
def test_what_is_shown_and_its_differences_from_the_defaults_are_policy_files_that_say_the_same(config: Config) -> None:
    shown, different = (tomllib.loads("\n".join(lines)) for lines in (show(config), differences(config)))

    assert config == Config.from_mapping(shown) == Config.from_mapping(different)
    assert SCHEMA.is_valid(shown)


@pytest.mark.promise("R01")
@given(configs(), NAMES, NAMES)
def test_a_scope_without_a_section_has_the_policy_of_its_provider_or_the_default(
    config: Config, provider: str, method: str
) -> None:
    scope = f"{provider}:{method}"
    beneath = config.outbound.get(provider, config.outbound["default"])

    assert config.outbound.get(scope, beneath) == config.for_scope(scope)


@pytest.mark.promise("R53")
@given(st.lists(st.dictionaries(KEYS, st.dictionaries(KEYS, st.integers()))))
def test_of_several_layers_the_last_that_names_a_key_wins(layers: list[dict[str, dict[str, int]]]) -> None:
    expected: dict[str, dict[str, int]] = {}
    for layer in layers:
        for table, inner in layer.items():
            expected[table] = expected.get(table, {}) | inner

    assert expected == merge(layers)
