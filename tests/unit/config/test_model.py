"""What is in force: the built-in defaults, what is inherited, and every mistake in a mapping."""

import tomllib
from pathlib import Path
from typing import cast

import pytest

from governor._units import MINUTE, SECOND, Duration
from governor.config import (
    Config,
    GlobalPolicy,
    InboundGroup,
    InboundSettings,
    LoggingSettings,
    ScopePolicy,
    describe,
    parse_limit,
)
from governor.errors import ConfigError
from governor.policies.breaker import Breaker
from governor.policies.in_flight import InFlight
from governor.policies.retry import Retry
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
        ("openai", "8.33/s burst 500", 5),
    ],
)
def test_the_built_in_outbound_policies_are_those_that_users_rely_on(scope: str, limit: str, failures: int) -> None:
    expected = ScopePolicy(limits=(parse_limit(limit),), breaker=Breaker(failures=failures))

    assert expected == BUILT_IN.for_scope(scope)


def test_the_built_in_breaker_and_retries_are_those_that_users_rely_on() -> None:
    policy = BUILT_IN.for_scope("anything")

    assert Breaker(failures=5, successes=2, open_for=MINUTE, probes=3) == policy.breaker
    assert Retry(attempts=3, first_delay=SECOND, base=2.0, max_delay=MINUTE, jitter="full") == policy.retry
    assert RetryBudget() == policy.retry_budget


def test_the_built_in_global_policy_is_the_one_that_users_rely_on() -> None:
    expected = GlobalPolicy(
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
    exempt = ("/health", "/api/v1/status", "/docs", "/openapi.json", "/api/v1/traffic-control")

    assert InboundSettings(exempt_paths=exempt) == BUILT_IN.inbound_settings


def test_logging_is_off_by_default() -> None:
    assert LoggingSettings(enabled=False, directory=None) == BUILT_IN.logging


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
@pytest.mark.parametrize("scope", ["GitHub", "github:GET", "", "a:b:c"])
def test_a_name_that_is_no_scope_has_no_policy_not_even_the_default(scope: str) -> None:
    with pytest.raises(ConfigError, match="allowed: a scope such as 'github'"):
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

    assert config.for_scope("github:post") == ScopePolicy(
        limits=(parse_limit("5000 per hour strict"),),
        breaker=Breaker(failures=3, successes=1, open_for=Duration(90 * SECOND)),
        retry=Retry(attempts=5, base=3.0, methods=frozenset({"POST"})),
        retry_budget=RetryBudget(floor=0),
    )


def test_a_section_overrides_the_built_in_one_of_its_name_key_by_key() -> None:
    config = Config.from_mapping({"outbound": {"github": {"breaker": {"successes": 1}}}})

    assert ScopePolicy(
        limits=BUILT_IN.for_scope("github").limits, breaker=Breaker(failures=3, successes=1)
    ) == config.for_scope("github")


def test_the_default_is_beneath_the_built_in_sections_and_not_above_them() -> None:
    config = Config.from_mapping({"outbound": {"default": {"limits": ["9/s"], "breaker": {"failures": 9, "probes": 9}}}})

    assert ["1/s burst 60"] == limits(config, "github")
    assert Breaker(failures=3, probes=9) == config.for_scope("github").breaker


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
            "global": GlobalPolicy(requests_per_minute=5),
            "outbound": {
                "github": {"limits": (InFlight(3), "1/s"), "breaker": Breaker(failures=7)},
                "gitlab": ScopePolicy(limits=()),
            },
            "inbound": {"chat": InboundGroup(paths=("/talk",)), "default": {"limits": []}},
            "logging": {"enabled": True, "directory": Path("/var/log/governor")},
        }
    )

    assert 5 == config.global_.requests_per_minute
    assert ScopePolicy(limits=(InFlight(3), parse_limit("1/s")), breaker=Breaker(failures=7)) == config.for_scope("github")
    assert ScopePolicy(limits=()) == config.for_scope("gitlab:get")
    assert InboundGroup(paths=("/talk",)) == config.inbound["chat"]
    assert LoggingSettings(enabled=True, directory=Path("/var/log/governor")) == config.logging


def test_an_inbound_group_inherits_the_limits_of_the_default_and_not_its_paths() -> None:
    config = Config.from_mapping({"inbound": {"default": {"limits": ["5/s"]}, "up": {"paths": ["/up"]}}})

    assert InboundGroup(paths=("/up",), limits=(parse_limit("5/s"),)) == config.inbound["up"]


def test_sections_cannot_be_changed_afterwards() -> None:
    config = Config.from_mapping({})

    with pytest.raises(TypeError):
        cast(dict[str, ScopePolicy], config.outbound)["github"] = ScopePolicy()


MISTAKES = [
    ('outbound.github.limits = ["1/s", "60/minut"]', "outbound.github.limits[1] is '60/minut'", "a limit as text"),
    ('outbound.github.limits = "60/minute"', "outbound.github.limits is '60/minute'", "a list of limits"),
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
    ("outbound.GitHub.limits = []", "outbound.GitHub is 'GitHub'", "a scope such as 'github'"),
    ('outbound."default:get".limits = []', "outbound.\"default:get\" is 'default:get'", "'default' alone"),
    ("outbound = []", "outbound is []", "a table"),
    ("global.max_scopes = 0", "global.max_scopes is 0", "a whole number from 1"),
    ("global.max_waiting = 0", "global.max_waiting is 0", "a whole number from 1"),
    ("global.requests_per_minute = 0", "global.requests_per_minute is 0", "a whole number from 1"),
    ("global.degraded_after_failures = 0", "global.degraded_after_failures is 0", "a whole number from 1"),
    ('global.degraded_cooldown = "0s"', "global.degraded_cooldown is '0s'", "a duration from 1"),
    ('global.idle_after = "0s"', "global.idle_after is '0s'", "a duration from 1"),
    ('global.degraded_exempt = ["a:b"]', "global.degraded_exempt is ['a:b']", "a name such as 'github'"),
    ('inbound.chat.paths = ["chat"]', "inbound.chat.paths[0] is 'chat'", "a path that begins with '/'"),
    ("inbound.talk.limits = []", "inbound.talk.paths is []", "at least one path"),
    ('inbound.talk.paths = ["/api/v1/chat"]', "inbound.talk.paths is '/api/v1/chat'", "a path that belongs to no other group"),
    ("inbound.Talk.limits = []", "inbound.Talk is 'Talk'", "a name such as"),
    ('inbound.exempt_paths = ["up"]', "inbound.exempt_paths[0] is 'up'", "a path that begins with '/'"),
    ("logging.enabled = 1", "logging.enabled is 1", "true or false"),
    ("logging.directory = 1", "logging.directory is 1", "the path of a folder"),
    ('logging.directory = ""', "logging.directory is ''", "the path of a folder"),
]


@pytest.mark.promise("R53")
@pytest.mark.parametrize(("toml", "what", "allowed"), MISTAKES)
def test_a_mistake_is_named_by_its_path_with_the_value_and_what_is_allowed(toml: str, what: str, allowed: str) -> None:
    assert mistake(toml).startswith(f"{what}; allowed: {allowed}")


@pytest.mark.promise("R53")
@pytest.mark.parametrize(
    ("toml", "what", "hint"),
    [
        (
            "globl.max_scopes = 5",
            "globl is {'max_scopes': 5}",
            " (did you mean 'global'?), only global, outbound, inbound, logging",
        ),
        ("xyz = 1", "xyz is 1", ", only global, outbound, inbound, logging"),
        ("global.max_scope = 5", "global.max_scope is 5", " (did you mean 'max_scopes'?), only "),
        ("outbound.github.limit = []", "outbound.github.limit is []", " (did you mean 'limits'?), only limits, breaker, retry"),
        ("outbound.x.retry.atempts = 2", "outbound.x.retry.atempts is 2", " (did you mean 'attempts'?), only "),
        ('inbound.exempt_path = "/up"', "inbound.exempt_path is '/up'", " (did you mean 'exempt_paths'?), only exempt_paths"),
    ],
)
def test_an_unknown_key_is_a_mistake_that_names_the_known_ones(toml: str, what: str, hint: str) -> None:
    assert mistake(toml).startswith(f"{what}; allowed: no such key{hint}")


def test_a_key_that_is_no_text_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^outbound is 5; allowed: text as a key"):
        Config.from_mapping({"outbound": {5: {}}})
