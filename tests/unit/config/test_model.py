"""What is in force: the built-in defaults, what is inherited, and every mistake in a mapping."""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from governor._units import MINUTE, SECOND, Duration
from governor.config import (
    Config,
    GlobalSettings,
    InboundGroup,
    InboundSettings,
    LoggingSettings,
    MachineSettings,
    ScopeSettings,
    describe,
    parse_limit,
    show,
)
from governor.config.differences import differences
from governor.errors import ConfigError
from governor.policies.breakers.parameters import Breaker
from governor.policies.in_flight import InFlight
from governor.policies.retry import IDEMPOTENT, CallFailure, Retry, RetryEnd, end_after
from governor.policies.retry_budget import RetryBudget

BUILT_IN = Config.from_mapping({})


def limits(config: Config, scope: str) -> list[str]:
    return [describe(limit) for limit in config.for_scope(scope).limits]


def mistake(toml: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(tomllib.loads(toml))
    return str(caught.value)


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("scope", "limit", "failures"),
    [
        ("anything", "10/s burst 100", 5),
        ("github", "1/s burst 60", 3),
        ("reddit", "1/s burst 60", 5),
    ],
)
def test_the_built_in_outbound_policies_are_those_that_users_rely_on(scope: str, limit: str, failures: int) -> None:
    expected = ScopeSettings(limits=(parse_limit(limit),), breaker=Breaker(failures=failures))

    assert expected == BUILT_IN.for_scope(scope)


@pytest.mark.promise("R05", "R53")
@pytest.mark.parametrize("scope", ["openai", "anthropic", "gemini", "mistral", "groq", "cohere", "ollama"])
def test_language_models_are_called_again_where_their_sdks_do_so_and_never_after_a_timeout(scope: str) -> None:
    policy = BUILT_IN.for_scope(f"{scope}:post")
    end = partial(end_after, policy.retry, "POST", idempotency_key=False, server_wait=False)
    repeated = [status for status in range(400, 600) if end(status=status, failure=None) is None]

    assert ["8.33/s burst 500" if scope == "openai" else "10/s burst 100"] == limits(BUILT_IN, scope)
    assert ScopeSettings(limits=policy.limits, retry=policy.retry) == policy
    assert Retry(methods=IDEMPOTENT | {"POST"}, statuses=frozenset(repeated)) == policy.retry
    assert [408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529] == repeated
    assert [None, None, RetryEnd.UNCERTAIN] == [
        end(status=None, failure=failure) for failure in (CallFailure.UNSENT, CallFailure.BROKEN, CallFailure.TIMEOUT)
    ]


@pytest.mark.promise("R53")
@pytest.mark.parametrize(("said", "ramp_up"), [(True, True), (False, False), ("off", False)])
def test_a_setting_that_is_true_or_false_can_be_switched_off_by_that_word(said: object, *, ramp_up: bool) -> None:
    config = Config.from_mapping({"outbound": {"default": {"breaker": {"ramp_up": said}}}})

    assert ramp_up is config.for_scope("github").breaker.ramp_up


def test_the_built_in_breaker_and_retries_are_those_that_users_rely_on() -> None:
    policy = BUILT_IN.for_scope("anything")

    assert Breaker(failures=5, successes=2, open_for=MINUTE, probes=3) == policy.breaker
    assert Retry(attempts=3, first_delay=SECOND, base=2.0, max_delay=MINUTE, jitter="full") == policy.retry
    assert RetryBudget() == policy.retry_budget


def test_the_built_in_global_policy_is_the_one_that_users_rely_on() -> None:
    expected = GlobalSettings(
        requests_per_minute=1000,
        degraded_after_failures=10,
        degraded_cooldown=MINUTE,
        degraded_exempt=frozenset(),
        max_scopes=10_000,
        max_waiting=65_536,
        idle_after=Duration(5 * MINUTE),
    )

    assert expected == BUILT_IN.global_


def test_the_built_in_inbound_groups_are_those_that_users_rely_on() -> None:
    groups = {name: (group.paths, [describe(limit) for limit in group.limits]) for name, group in BUILT_IN.inbound.items()}

    assert groups == {
        "default": ((), ["20/s burst 200"]),
        "chat": (("/api/v1/chat",), ["30/s burst 300"]),
        "memory": (("/api/v1/memory",), ["10/s burst 100"]),
        "models_introspection": (("/api/v1/models/introspection",), ["3/s burst 30"]),
        "workflow": (("/api/v1/workflow",), ["20/s burst 200"]),
        "agents": (("/api/v1/agents",), ["20/s burst 200"]),
        "knowledge": (("/api/v1/knowledge",), ["20/s burst 200"]),
        "models": (("/api/v1/models",), ["20/s burst 200"]),
        "system": (("/api/v1/system",), ["20/s burst 200"]),
        "governance": (("/api/v1/governance",), ["20/s burst 200"]),
    }


def test_the_built_in_exempt_paths_are_those_that_users_rely_on() -> None:
    exempt = ("/health", "/api/v1/status", "/docs/", "/openapi.json", "/api/v1/traffic-control/")

    assert InboundSettings(exempt_paths=exempt) == BUILT_IN.inbound_settings


@pytest.mark.promise("R21", "R24")
def test_the_built_in_inbound_settings_are_safe() -> None:
    assert BUILT_IN.inbound_settings == InboundSettings(
        exempt_paths=BUILT_IN.inbound_settings.exempt_paths,
        actor_headers=("x-actor", "x-user-id"),
        session_headers=("x-session-id",),
        identity="claimed",
        trusted_proxies=(),
        forwarded_header="auto",
        ipv6_prefix=64,
        max_clients=1_000_000,
        announce=False,
    )


@pytest.mark.promise("R24")
def test_every_built_in_group_has_a_ceiling_for_each_address_and_one_for_all() -> None:
    ceilings = {
        (tuple(map(describe, group.address_limits)), tuple(map(describe, group.total_limits)), group.dry_run)
        for group in BUILT_IN.inbound.values()
    }

    assert {(("100/s burst 1000",), ("2000/s burst 20000",), False)} == ceilings


@pytest.mark.promise("R53")
def test_all_that_can_be_said_of_our_own_api_is_understood() -> None:
    config = Config.from_mapping(
        {
            "inbound": {
                "actor_headers": ["X-Api-Key"],
                "session_headers": [],
                "identity": "trusted",
                "trusted_proxies": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::1", "unix:"],
                "forwarded_header": "forwarded",
                "ipv6_prefix": 48,
                "max_clients": 1,
                "announce": True,
                "preset": "venom",
                "default": {"address_limits": [], "dry_run": True},
                "talk": {"paths": ["/talk"], "limits": ["1/s", "9/hour burst 1"], "total_limits": ["3/s"], "dry_run": False},
            }
        }
    )

    assert config.inbound_settings == InboundSettings(
        actor_headers=("X-Api-Key",),
        session_headers=(),
        identity="trusted",
        trusted_proxies=("10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::1", "unix:"),
        forwarded_header="forwarded",
        ipv6_prefix=48,
        max_clients=1,
        announce=True,
        preset="venom",
    )
    assert config.inbound["talk"] == InboundGroup(
        paths=("/talk",),
        limits=(parse_limit("1/s"), parse_limit("9/hour burst 1")),
        address_limits=(),
        total_limits=(parse_limit("3/s"),),
    )
    assert ((), True) == (config.inbound["chat"].address_limits, config.inbound["chat"].dry_run)


VENOM = set(BUILT_IN.inbound)


@pytest.mark.promise("R20")
@pytest.mark.parametrize(
    ("said", "groups"),
    [
        ({}, VENOM),
        ({"announce": True, "trusted_proxies": ["10.0.0.0/8"], "exempt_paths": []}, VENOM),
        ({"default": {}}, {"default"}),
        ({"default": {"limits": ["5/s"]}, "announce": True}, {"default"}),
        ({"talk": {"paths": ["/talk"]}}, {"default", "talk"}),
        ({"talk": InboundGroup(paths=("/talk",))}, {"default", "talk"}),
        ({"preset": "off"}, {"default"}),
        ({"preset": "venom"}, VENOM),
        ({"preset": "venom", "talk": {"paths": ["/talk"]}}, VENOM | {"talk"}),
        ({"preset": "off", "talk": {"paths": ["/talk"]}}, {"default", "talk"}),
    ],
)
def test_the_built_in_groups_are_there_for_those_who_name_none_or_ask_for_them(
    said: dict[str, object], groups: set[str]
) -> None:
    assert groups == set(Config.from_mapping({"inbound": said}).inbound)


def test_the_groups_of_a_preset_may_be_exempt_and_what_is_shown_says_the_same() -> None:
    config = Config.from_mapping({"inbound": {"exempt_paths": ["/api/"]}})

    assert VENOM == set(config.inbound)
    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))


@pytest.mark.promise("R20")
def test_the_groups_of_the_preset_are_the_built_in_ones_and_change_key_by_key() -> None:
    preset = Config.from_mapping({"inbound": {"preset": "venom"}})
    changed = Config.from_mapping({"inbound": {"preset": "venom", "chat": {"dry_run": True}, "default": {"total_limits": []}}})

    assert BUILT_IN.inbound == preset.inbound
    assert (
        InboundGroup(paths=("/api/v1/chat",), limits=(parse_limit("30/s burst 300"),), total_limits=(), dry_run=True)
        == changed.inbound["chat"]
    )


@pytest.mark.promise("R53")
@pytest.mark.parametrize("prefix", [32, 128])
def test_the_ends_of_a_range_belong_to_it(prefix: int) -> None:
    assert prefix == InboundSettings(ipv6_prefix=prefix).ipv6_prefix
    assert 10**12 == InboundSettings(max_clients=10**12).max_clients


def test_logging_is_off_by_default() -> None:
    assert LoggingSettings(enabled=False, directory=None, max_size_mb=1024) == BUILT_IN.logging


@pytest.mark.promise("R01")
@pytest.mark.parametrize(
    ("scope", "limit"),
    [
        ("github:post", "3/s burst 3"),
        ("github:get", "2/s burst 2"),
        ("github", "2/s burst 2"),
        ("gitlab:post", "4/s burst 4"),
        ("gitlab:get", "1/s burst 1"),
        ("gitlab", "1/s burst 1"),
        ("githu:post", "1/s burst 1"),
        ("default", "1/s burst 1"),
    ],
)
def test_a_scope_has_the_policy_of_its_exact_name_else_of_its_provider_else_the_default(scope: str, limit: str) -> None:
    config = Config.from_mapping(
        {
            "outbound": {
                "gitlab:post": {"limits": ["4/s burst 4"]},
                "github:post": {"limits": ["3/s burst 3"]},
                "github": {"limits": ["2/s burst 2"]},
                "default": {"limits": ["1/s burst 1"]},
            }
        }
    )

    assert [limit] == limits(config, scope)


@pytest.mark.promise("R01")
@pytest.mark.parametrize("scope", ["", "a:b:c", "git hub"])
def test_a_name_that_is_no_scope_has_no_policy_not_even_the_default(scope: str) -> None:
    with pytest.raises(ConfigError, match="expected a scope such as 'github'"):
        BUILT_IN.for_scope(scope)


@pytest.mark.promise("R53")
def test_what_a_section_does_not_say_is_taken_from_the_one_beneath_key_by_key() -> None:
    config = Config.from_mapping(
        {
            "outbound": {
                "default": {"breaker": {"successes": 1, "open_for": "30s"}, "retry": {"attempts": 5}},
                "github": {"limits": ["5000 per hour strict"], "breaker": {"open_for": "90s"}, "retry": {"base": 3.0}},
                "github:post": {"retry_budget": {"floor": 0}, "retry": {"methods": ["POST"]}},
            }
        }
    )

    assert config.for_scope("github:post") == ScopeSettings(
        limits=(parse_limit("5000 per hour strict"),),
        breaker=Breaker(failures=3, successes=1, open_for=Duration(90 * SECOND)),
        retry=Retry(attempts=5, base=3.0, methods=frozenset({"POST"})),
        retry_budget=RetryBudget(floor=0),
    )


def test_a_section_overrides_the_built_in_one_of_its_name_key_by_key() -> None:
    config = Config.from_mapping({"outbound": {"github": {"breaker": {"successes": 1}}}})

    assert ScopeSettings(
        limits=BUILT_IN.for_scope("github").limits, breaker=Breaker(failures=3, successes=1)
    ) == config.for_scope("github")


def test_the_default_is_beneath_the_built_in_sections_and_not_above_them() -> None:
    config = Config.from_mapping({"outbound": {"default": {"limits": ["9/s"], "breaker": {"failures": 9, "probes": 9}}}})

    assert ["1/s burst 60"] == limits(config, "github")
    assert Breaker(failures=3, probes=9) == config.for_scope("github").breaker


@pytest.mark.promise("R01", "R53")
def test_a_section_in_any_case_is_that_of_the_scope() -> None:
    outbound = {"GitHub": {"limits": ["2/s"]}, "GITHUB:Post": {"limits": ["30 in flight"]}}
    config = Config.from_mapping({"global": {"degraded_exempt": ["GitHub", "PayPal"]}, "outbound": outbound})

    assert [["2/s burst 2"], ["30 in flight"]] == [limits(config, scope) for scope in ("github:get", "GitHub:POST")]
    assert 3 == config.for_scope("github").breaker.failures
    assert frozenset({"github", "paypal"}) == config.global_.degraded_exempt
    assert set(BUILT_IN.outbound) | {"github:post"} == set(config.outbound)


def test_two_sections_that_differ_only_in_case_are_a_mistake() -> None:
    assert "[outbound.github] is the second section of github: upper and lower case do not differ" == mistake(
        "outbound.GitHub.limits = []\noutbound.github.limits = []"
    )


def test_a_list_replaces_the_list_beneath() -> None:
    config = Config.from_mapping({"outbound": {"github": {"limits": ["30 in flight"]}}, "inbound": {"exempt_paths": ["/up"]}})

    assert ["30 in flight"] == limits(config, "github")
    assert ("/up",) == config.inbound_settings.exempt_paths


def test_what_may_be_absent_is_switched_off_by_a_word() -> None:
    config = Config.from_mapping(
        {
            "outbound": {
                "default": {"breaker": {"failures": "off", "failure_rate": 0.5, "window_calls": 100}},
                "github": {"breaker": {"window": "30s", "window_calls": "off"}},
            }
        }
    )

    assert Breaker(failures=None, failure_rate=0.5, window_calls=100) == config.for_scope("anything").breaker
    assert Breaker(failures=3, failure_rate=0.5, window=Duration(30 * SECOND)) == config.for_scope("github").breaker


def test_python_may_say_limits_and_tables_as_objects() -> None:
    config = Config.from_mapping(
        {
            "global": GlobalSettings(requests_per_minute=5),
            "outbound": {
                "github": {"limits": (InFlight(3), "1/s"), "breaker": Breaker(failures=7)},
                "gitlab": ScopeSettings(limits=()),
            },
            "inbound": {"preset": "venom", "chat": InboundGroup(paths=("/talk",)), "default": {"limits": []}},
            "logging": {"enabled": True, "directory": Path("/var/log/governor")},
        }
    )

    assert 5 == config.global_.requests_per_minute
    assert ScopeSettings(limits=(InFlight(3), parse_limit("1/s")), breaker=Breaker(failures=7)) == config.for_scope("github")
    assert ScopeSettings(limits=()) == config.for_scope("gitlab:get")
    assert InboundGroup(paths=("/talk",)) == config.inbound["chat"]
    assert LoggingSettings(enabled=True, directory=Path("/var/log/governor")) == config.logging


def test_an_inbound_group_inherits_the_limits_of_the_default_and_not_its_paths() -> None:
    config = Config.from_mapping({"inbound": {"default": {"limits": ["5/s"]}, "up": {"paths": ["/up"]}}})

    assert InboundGroup(paths=("/up",), limits=(parse_limit("5/s"),)) == config.inbound["up"]


def test_sections_cannot_be_changed_afterwards() -> None:
    config = Config.from_mapping({})

    with pytest.raises(TypeError):
        cast(dict[str, ScopeSettings], config.outbound)["github"] = ScopeSettings()


def route(said: str) -> str:
    """A route of a group, of which one key says something else."""
    keys = {"paths": '["/api/v1/chat/{id}"]', "limits": '["1/s"]', said.partition(" = ")[0]: said.partition(" = ")[2]}
    return '[inbound]\npreset = "venom"\n[[inbound.chat.routes]]\n' + "\n".join(
        f"{key} = {value}" for key, value in keys.items()
    )


MISTAKES = [
    ('outbound.github.limits = ["1/s", "60/minut"]', "outbound.github.limits[1] is '60/minut'", "a limit as text"),
    ('outbound.github.limits = "60/minute"', "outbound.github.limits is '60/minute'", "a list of limits"),
    (
        'outbound.github.limits = ["60 per minute"]',
        "outbound.github.limits[0] is '60 per minute'",
        "a limit whose kind is said",
    ),
    (
        'outbound.llm.limits = ["5 stars/s"]\noutbound.nlp.limits = ["7 star per hour strict"]',
        "outbound.nlp.limits[0] is '7 star per hour strict'",
        "one spelling of a unit in all limits (did you mean 'stars'?)",
    ),
    (
        'provider.llm.limits = ["5 usd per day strict"]',
        "provider.llm.limits[0] is '5 usd per day strict'",
        "a limit of requests or tokens; money is bounded by [budget.NAME]",
    ),
    ('provider."github:post".limits = []', "provider.\"github:post\" is 'github:post'", "a name without ':'"),
    (
        'provider."llm/gpt-5".hosts = ["a.com"]',
        "provider.\"llm/gpt-5\".hosts is ['a.com']",
        "only 'limits' and 'cost' in the section",
    ),
    ('provider."llm/a:post".limits = []', "provider.\"llm/a:post\" is 'llm/a:post'", "a name without ':'"),
    ('outbound."default/x".limits = []', "outbound.\"default/x\" is 'default/x'", "'default' alone"),
    ("provider.github.cost.psot = 5", "provider.github.cost is {'psot': 5}", "a method (did you mean 'post'?)"),
    ("provider.github.cost.post = -1", "provider.github.cost.post is -1", "a whole number from 0 to 1000000"),
    ("provider.github.cost.post.token = 1", "provider.github.cost.post.token is 'token'", "one lower-case word"),
    ("provider.github.cost = { post = 1, POST = 2 }", "provider.github.cost is {'post': 1, 'POST': 2}", "each method once"),
    ("provider.github.hosts = ['a/b']", "provider.github.hosts[0] is 'a/b'", "a host such as"),
    ("provider.default.hosts = ['a.com']", "provider.default.hosts is 'a.com'", "hosts in the section of a single provider"),
    (
        'provider.a.hosts = ["A.com"]\nprovider.b.hosts = ["a.com."]',
        "provider.b.hosts[0] is 'a.com.'",
        "a host of one provider only, and a has this one",
    ),
    (
        'outbound.llm.limits = ["5 stars/s"]\nprovider.nlp.limits = ["7 star per hour strict"]',
        "provider.nlp.limits[0] is '7 star per hour strict'",
        "one spelling of a unit in all limits (did you mean 'stars'?)",
    ),
    ('outbound."github:post".limits = [5]', 'outbound."github:post".limits[0] is 5', "a limit as text"),
    ("outbound.github.breaker = 3", "outbound.github.breaker is 3", "a table"),
    ('outbound.github.breaker.probes = "3"', "outbound.github.breaker.probes is '3'", "a whole number"),
    ("outbound.github.breaker.probes = true", "outbound.github.breaker.probes is True", "a whole number"),
    ("outbound.github.breaker.probes = 0", "outbound.github.breaker.probes is 0", "a whole number from 1"),
    ('outbound.github.breaker.failures = "no"', "outbound.github.breaker.failures is 'no'", "a whole number; or 'off'"),
    ("outbound.github.breaker.open_for = 60", "outbound.github.breaker.open_for is 60", "a duration"),
    ('outbound.github.breaker.open_for = "0s"', "outbound.github.breaker.open_for is '0s'", "a duration from 1"),
    ('outbound.github.breaker.slow_call = "5"', "outbound.github.breaker.slow_call is '5'", "a duration"),
    ("outbound.github.breaker.failure_rate = 0.5", "outbound.github.breaker.window is 'off'", "exactly one of"),
    ('outbound.github.retry.base = "2"', "outbound.github.retry.base is '2'", "a number"),
    ('outbound.github.retry.jitter = "ful"', "outbound.github.retry.jitter is 'ful'", "one of 'full', "),
    ('outbound.github.retry.methods = "GET"', "outbound.github.retry.methods is 'GET'", "a list of texts"),
    ('outbound.github.retry.statuses = ["x"]', "outbound.github.retry.statuses is ['x']", "a list of whole numbers"),
    ('outbound."git hub".limits = []', """outbound."git hub" is 'git hub'""", "a scope such as 'github' or 'github:post', of"),
    ('outbound."default:get".limits = []', "outbound.\"default:get\" is 'default:get'", "'default' alone"),
    ("outbound = []", "outbound is []", "a table"),
    ("global.max_scopes = 0", "global.max_scopes is 0", "a whole number from 1"),
    ("global.max_waiting = 0", "global.max_waiting is 0", "a whole number from 1"),
    ("global.requests_per_minute = 0", "global.requests_per_minute is 0", "a whole number from 1"),
    ("global.degraded_after_failures = 0", "global.degraded_after_failures is 0", "a whole number from 1"),
    ("global.degraded_after_providers = 0", "global.degraded_after_providers is 0", "a whole number from 1 to 256"),
    ('global.degraded_after_providers = "off"', "global.degraded_after_providers is 'off'", "a whole number"),
    ("global.degraded_after_excess = 0", "global.degraded_after_excess is 0", "a number above 0 and at most 100"),
    ("global.degraded_after_excess = nan", "global.degraded_after_excess is nan", "a number above 0 and at most 100"),
    ('global.degraded_after_excess = "half"', "global.degraded_after_excess is 'half'", "a number; or 'off'"),
    ('global.degraded_cooldown = "0s"', "global.degraded_cooldown is '0s'", "a duration from 1"),
    ('global.idle_after = "0s"', "global.idle_after is '0s'", "a duration from 1"),
    ('global.degraded_exempt = ["a:b"]', "global.degraded_exempt is ['a:b']", "a name without ':', which separates"),
    ('inbound.chat.paths = ["chat"]', "inbound.chat.paths[0] is 'chat'", "a path that begins with '/'"),
    ("inbound.talk.limits = []", "inbound.talk.paths is []", "at least one path"),
    (
        'inbound = { preset = "venom", talk = { paths = ["/api/v1/chat"] } }',
        "inbound.talk.paths is '/api/v1/chat'",
        "a path of one group only",
    ),
    ("inbound.Talk.limits = []", "inbound.Talk is 'Talk'", "a name such as"),
    ('inbound.exempt_paths = ["up"]', "inbound.exempt_paths[0] is 'up'", "a path that begins with '/'"),
    ('inbound.exempt_paths = ["/up/{id}"]', "inbound.exempt_paths[0] is '/up/{id}'", "a path without"),
    (
        'inbound.exempt_paths = ["/up/<int:id>"]',
        "inbound.exempt_paths[0] is '/up/<int:id>'",
        "a path without {}, <>, *, ? and #",
    ),
    (
        'inbound.chat.paths = ["/users/{id}/export"]',
        "inbound.chat.paths[0] is '/users/{id}/export'",
        "a path without {}, <>, *, ? and #",
    ),
    ('inbound.chat.paths = ["/chat", "/talk/*"]', "inbound.chat.paths[1] is '/talk/*'", "a path without"),
    ('inbound.chat.paths = ["/talk?loud=1"]', "inbound.chat.paths[0] is '/talk?loud=1'", "a path without"),
    ('inbound.chat.paths = ["/Docs//chat"]', "inbound.chat.paths is '/Docs//chat'", "a path that is not exempt, and"),
    (
        'inbound = { preset = "venom", default.paths = ["/api/v1/chat"] }',
        "inbound.chat.paths is '/api/v1/chat'",
        "a path of one group only",
    ),
    ('inbound.chat.limits = ["5 tokens/s"]', "inbound.chat.limits[0] is '5 tokens/s burst 5'", "a limit of requests"),
    (
        'inbound.chat.total_limits = ["3 in flight", "9 tokens per minute strict"]',
        "inbound.chat.total_limits[1] is '9 tokens per minute strict'",
        "a limit of requests",
    ),
    ("inbound.chat.tiers = []", "inbound.chat.tiers is []", "a table"),
    ("inbound.chat.tiers.pro = {}", "inbound.chat.tiers.pro is {}", "a table with 'limits'"),
    ('inbound.chat.tiers.pro.limits = ["5"]', "inbound.chat.tiers.pro.limits[0] is '5'", "a limit as text"),
    ('inbound.chat.tiers.Pro.limits = ["5/s"]', "inbound.chat.tiers is {'Pro': {'limits': ['5/s']}}", "a name such as"),
    ("inbound.chat.routes = {}", "inbound.chat.routes is {}", "a list of tables"),
    (
        '[[inbound.chat.routes]]\nlimits = ["1/s"]',
        "inbound.chat.routes[0] is {'limits': ['1/s']}",
        "a table with 'paths' and 'limits'",
    ),
    (route("paths = []"), "inbound.chat.routes[0].paths is []", "at least one path"),
    (route("limits = []"), "inbound.chat.routes[0].limits is []", "at least one limit"),
    (route('methods = ["get"]'), "inbound.chat.routes[0].methods[0] is 'get'", "an HTTP method in upper case"),
    (route('methods = ["POST", "PSOT"]'), "inbound.chat.routes[0].methods[1] is 'PSOT'", "an HTTP method in upper case"),
    (
        route('paths = ["/api/v1/chat/{id}.json"]'),
        "inbound.chat.routes[0].paths[0] is '/api/v1/chat/{id}.json'",
        "a path whose",
    ),
    (
        route('paths = ["/api/v1/chat/{a:path}/b"]'),
        "inbound.chat.routes[0].paths[0] is '/api/v1/chat/{a:path}/b'",
        "a path whose",
    ),
    (route('paths = ["/api/v1/chat/<id>"]'), "inbound.chat.routes[0].paths[0] is '/api/v1/chat/<id>'", "a path whose"),
    (route('paths = ["/api/v1/memory"]'), "inbound.chat.routes[0].paths[0] is '/api/v1/memory'", "a path of this group"),
    (route('paths = ["/elsewhere/{id}"]'), "inbound.chat.routes[0].paths[0] is '/elsewhere/{id}'", "a path of this group"),
    (route('by = "ip"'), "inbound.chat.routes[0].by is 'ip'", "one of 'client', 'address'"),
    (route('name = "Export"'), "inbound.chat.routes[0].name is 'Export'", "a name such as"),
    ('inbound.chat.total_limits = "5/s"', "inbound.chat.total_limits is '5/s'", "a list of limits"),
    ("inbound.chat.dry_run = 1", "inbound.chat.dry_run is 1", "true or false"),
    ('inbound.preset = "vemon"', "inbound.preset is 'vemon'", "one of 'venom' (did you mean 'venom'?); or 'off'"),
    ("inbound.preset = 1", "inbound.preset is 1", "one of 'venom'; or 'off'"),
    (
        'inbound.chat.limits = ["5/s"]',
        "inbound.chat.paths is []",
        "at least one path, for instance ['/api/v1/chat']; or preset = 'venom' in [inbound], which has this group",
    ),
    ("inbound.announce = 1", "inbound.announce is 1", "true or false"),
    ('inbound.actor_headers = "x-actor"', "inbound.actor_headers is 'x-actor'", "a list of texts"),
    ('inbound.actor_headers = ["x-actor", "x actor"]', "inbound.actor_headers[1] is 'x actor'", "the name of a header field"),
    ('inbound.session_headers = [""]', "inbound.session_headers[0] is ''", "the name of a header field"),
    ('inbound.session_headers = ["x:y"]', "inbound.session_headers[0] is 'x:y'", "the name of a header field"),
    ('inbound.trusted_proxies = ["10.0.0.1/8"]', "inbound.trusted_proxies[0] is '10.0.0.1/8'", "a network"),
    ('inbound.trusted_proxies = ["unix:/run/app.sock"]', "inbound.trusted_proxies[0] is 'unix:/run/app.sock'", "a network"),
    ('inbound.identity = "claims"', "inbound.identity is 'claims'", "one of 'claimed', 'trusted', 'address'"),
    (
        'inbound.forwarded_header = "x-real-ip"',
        "inbound.forwarded_header is 'x-real-ip'",
        "one of 'auto', 'x-forwarded-for', 'forwarded'",
    ),
    ('inbound.default.on_overload = "refuse"', "inbound.default.on_overload is 'refuse'", "one of 'pass', 'deny'"),
    ('inbound.trusted_proxies = ["::1", "localhost"]', "inbound.trusted_proxies[1] is 'localhost'", "a network"),
    ("inbound.ipv6_prefix = 31", "inbound.ipv6_prefix is 31", "a whole number from 32 to 128"),
    ("inbound.ipv6_prefix = 129", "inbound.ipv6_prefix is 129", "a whole number from 32 to 128"),
    ('inbound.ipv6_prefix = "/64"', "inbound.ipv6_prefix is '/64'", "a whole number"),
    ("inbound.max_clients = 0", "inbound.max_clients is 0", "a whole number from 1"),
    ("inbound.max_clients = 1000000000001", "inbound.max_clients is 1000000000001", "a whole number from 1"),
    ("logging.enabled = 1", "logging.enabled is 1", "true or false"),
    ("logging.directory = 1", "logging.directory is 1", "a path"),
    ('logging.directory = ""', "logging.directory is ''", "a path"),
    ('logging.directory = "a\\u0000b"', "logging.directory is 'a\\x00b'", "a path"),
    ("logging.max_size_mb = 0", "logging.max_size_mb is 0", "a whole number from 1"),
    ('logging.max_size_mb = "5 MB"', "logging.max_size_mb is '5 MB'", "a whole number"),
    (
        'budget.a.labels = ["agent one"]',
        "budget.a.labels[0] is 'agent one'",
        "a label, such as 'agent-7', or a pattern, such as",
    ),
    ("budget.a.labels = ['b']", "budget.a is {}", "an amount such as '2000000 per day' for at least one of requests"),
    ('budget."agent-*".requests = "1 per day"', 'budget."agent-*".labels is []', "labels, because 'agent-*' is none: a label"),
    ('prices."".input = 1.0', "prices.\"\" is ''", "the name of a model, or a pattern such as 'gpt-5*'"),
    ("machine.spawn = true", "machine.spawn is True", "false, or a `socket` beside it"),
    ("machine.share = 0", "machine.share is 0", "a number above 0 and at most 1"),
    ('machine.name = "a\\tb"', "machine.name is 'a\\tb'", "a name of at most 64 printable characters"),
    (f'machine.socket = "/{"a" * 103}"', f"machine.socket is '/{'a' * 103}'", "a path of at most 103 bytes"),
    ('machine.on_daemon_loss = "share it"', "machine.on_daemon_loss is 'share it'", "one of 'share', 'deny', 'open'"),
]


@pytest.mark.promise("R19", "R53")
@pytest.mark.parametrize(("toml", "what", "allowed"), MISTAKES)
def test_a_mistake_is_named_by_its_path_with_the_value_and_what_is_allowed(toml: str, what: str, allowed: str) -> None:
    assert mistake(toml).startswith(f"{what}; expected {allowed}")


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("toml", "what", "known"),
    [
        (
            "globl.max_scopes = 5",
            "unknown section [globl]; did you mean 'global'?",
            "global, provider, outbound, inbound, budget, prices, logging",
        ),
        (
            "xyz = 1",
            "unknown section [xyz]; known keys: global, provider, outbound, inbound, budget, prices, logging",
            "global, provider,",
        ),
        (
            "xyz.limits = []",
            (
                "unknown section [xyz]; known keys: global, provider, outbound, inbound, budget, prices, logging, machine; "
                "a name is in [provider.xyz], [outbound.xyz] or [inbound.xyz]"
            ),
            "global, provider,",
        ),
        ("global.max_scope = 5", "unknown key 'max_scope' in [global]; did you mean 'max_scopes'?", "requests_per_minute, "),
        (
            "inbound.chat.tiers.pro = { limits = [], burst = 5 }",
            "unknown key 'burst' in [inbound.chat.tiers.pro]; known keys: limits",
            "limits",
        ),
        ("global.x = 5", "unknown key 'x' in [global]; known keys: requests_per_minute, degraded", "requests_per_minute, "),
        ("outbound.github.limit = []", "unknown key 'limit' in [outbound.github]; did you mean 'limits'?", "limits, breaker, "),
        ("outbound.x.retry.atempts = 2", "unknown key 'atempts' in [outbound.x.retry]; did you mean 'attempts'?", "attempts, "),
        (
            'outbound.x.preset = "github"',
            "unknown key 'preset' in [outbound.x]; it is a key of [provider.NAME], with NAME the provider",
            "",
        ),
        ('inbound.exempt_path = "/up"', "unknown key 'exempt_path' in [inbound]; did you mean 'exempt_paths'?", "exempt_paths"),
    ],
)
def test_an_unknown_key_is_a_mistake_that_names_the_nearest_known_one_or_all(toml: str, what: str, known: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(tomllib.loads(toml))

    assert str(caught.value).startswith(what)
    assert caught.value.allowed.startswith(f"one of the keys {known}")


class _Text(str):
    __slots__ = ()


_DEEP: list[object] = []
_DEEP.append(_DEEP)
for _ in range(5000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize("path", [Path("\ud800"), Path("a\0b"), "", b"a", 3])
@pytest.mark.parametrize(
    "build",
    [
        lambda path: MachineSettings(socket=path),
        lambda path: MachineSettings(state=path),
        lambda path: LoggingSettings(directory=path),
        lambda path: Config.from_mapping({"machine": {"socket": path}}),
    ],
)
def test_what_is_no_path_is_a_mistake_however_it_is_said(build: Callable[[object], object], path: object) -> None:
    with pytest.raises(ConfigError, match="expected a path"):
        build(path)


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"outbound": {5: {}}}, "outbound is 5; expected text as a key"),
        ({"outbound": {_Text("a b"): {}}}, "outbound.\"a b\" is 'a b'; expected a scope"),
        ({"\udcff": {}}, 'unknown section ["\\\\udcff"]; known keys'),
        ({"global": {"max_scopes": 10**5000}}, "global.max_scopes is an object of type int; expected a whole number"),
        ({"global": {"max_scopes": _DEEP}}, "global.max_scopes is an object of type list; expected a whole number"),
        ({"machine": {"share": "\udcff"}}, "machine.share is '\\udcff'; expected a number"),
        ({"machine": {"socket": "\ud800"}}, "machine.socket is '\\ud800'; expected a path"),
        ({"provider": {"x": {"cost": range(3)}}}, "provider.x.cost is range(0, 3); expected a table of costs"),
        ([("global", {})], "the configuration is [('global', {})]; expected a table of sections"),
        (None, "the configuration is None; expected a table of sections"),
    ],
)
def test_a_mapping_that_no_policy_file_could_be_is_a_mistake_like_any_other(said: object, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping(cast("dict[str, object]", said))

    assert str(caught.value).startswith(what)


@pytest.mark.promise("R01")
def test_a_provider_inherits_each_key_that_it_does_not_set_from_the_default() -> None:
    said = {"default": {"limits": ["9 in flight"], "cost": {"POST": 2}}, "Hub": {"cost": {"get": {"points": 3}, "default": 4}}}
    config = Config.from_mapping({"provider": said})
    hub = config.for_provider("HUB")

    assert (InFlight(9),) == hub.limits == config.for_provider("other").limits
    costs = [(1, {"points": 3}), (4, {}), (4, {}), (2, {})]
    assert costs == [*map(hub.cost_of, ("get", "post", "put")), config.for_provider("other").cost_of("post")]


@pytest.mark.promise("R01", "R14")
def test_a_scope_with_a_key_inherits_from_its_key_then_its_method_then_its_provider() -> None:
    sections = {"llm": 1, "llm:post": 2, "llm/org/big": 3, "llm/org/big:put": 4}
    outbound: dict[str, dict[str, object]] = {name: {"retry": {"attempts": number}} for name, number in sections.items()}
    outbound["llm/org/big:put"] = {"max_debt": 0.0}
    config = Config.from_mapping({"outbound": {"llm": {**outbound.pop("llm"), "limits": []}, **outbound}})
    scopes = ("llm/org/big:get", "llm/org/big:put", "LLM/small:POST", "llm/small:get", "llm/small")
    found = [config.for_scope(scope) for scope in scopes]

    assert [(3, 1.0), (3, 0.0), (2, 1.0), (1, 1.0), (1, 1.0)] == [(one.retry.attempts, one.max_debt) for one in found]
    assert {()} == {one.limits for one in found}
    assert config == Config.from_mapping(tomllib.loads("\n".join(differences(config))))


@pytest.mark.promise("R14")
def test_the_section_of_a_key_inherits_the_cost_of_its_provider_and_not_its_limits() -> None:
    provider = {"limits": ["9 in flight"], "cost": {"post": 5}, "hosts": ["llm.example"]}
    said = {"llm": provider, "llm/Big": {"limits": ["2 in flight"]}, "llm/free": {"cost": {"post": 0}}}
    config = Config.from_mapping({"provider": said})
    big, free = config.provider["llm/big"], config.provider["llm/free"]

    assert ((InFlight(2),), {"post": 5}, ()) == (big.limits, big.cost, big.hosts)
    assert ((), {"post": 0}) == (free.limits, free.cost)
    assert ["llm/big", "llm/free", None, None] == [
        config.keyed_section(scope) for scope in ("llm/big:post", "llm/free", "llm/x:get", "llm:post")
    ]
    assert config == Config.from_mapping(tomllib.loads("\n".join(differences(config))))
