"""`preset` in the settings of a provider."""

import tomllib
from pathlib import Path

import pytest

from governor import Config, ConfigError
from governor.config import ProviderSettings, describe, show
from governor.config.differences import differences
from governor.presets import references

pytestmark = pytest.mark.promise("R13")

ACME = """
title = "Acme API"
tiers = { free = "no contract", gold = "with a contract" }

[[figures]]
tiers = ["free"]
says = "1 request per second"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["1 per s strict"]

[[figures]]
says = "900 points per hour, of which a write is 5"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["900 points per hour strict"]
cost = { get = { points = 1 }, post = { points = 5 } }
"""


def github(**said: object) -> Config:
    return Config.from_mapping({"provider": {"github": {"preset": "github/token", **said}}})


def test_every_preset_is_valid_and_is_shown_as_it_is_read() -> None:
    providers = {f"provider-{number}": {"preset": preset, "hosts": []} for number, preset in enumerate(references())}
    config = Config.from_mapping({"provider": providers})

    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))
    said = tomllib.loads("\n".join(differences(config)))["provider"]
    assert {name: settings["preset"] for name, settings in providers.items()} == {
        name: settings.pop("preset") for name, settings in said.items()
    }
    assert all(settings in ({}, {"hosts": []}) for settings in said.values())


def test_a_preset_sets_limits_of_the_provider_in_place_of_those_of_its_scopes() -> None:
    config = github()

    assert "5000 per hour strict" == describe(config.for_provider("github").limits[0])
    assert ("api.github.com",) == config.for_provider("github").hosts
    assert ((), ()) == (config.for_scope("github:get").limits, config.for_scope("github").limits)
    # All else is that of a configuration without a preset.
    default = Config.from_mapping({})
    assert default.for_scope("github:get").breaker == config.for_scope("github:get").breaker
    assert default.for_scope("openai:post") == config.for_scope("openai:post")
    assert default.for_provider("openai") == config.for_provider("openai")


def test_what_the_policy_file_says_takes_precedence_key_by_key() -> None:
    config = Config.from_mapping(
        {
            "provider": {
                "github": {"preset": "github/token", "limits": ["9 per s strict"], "cost": {"post": {"points": 7}}},
            },
            "outbound": {"github": {"limits": ["3 in flight"]}, "github:post": {"limits": ["1 per s strict"]}},
        }
    )
    provider = config.for_provider("github")

    assert ["9 per s strict"] == [describe(limit) for limit in provider.limits]
    assert ({"points": 7}, {"points": 1}) == (provider.cost["post"], provider.cost["get"])
    assert ("api.github.com",) == provider.hosts
    assert ["3 in flight", "1 per s strict"] == [
        describe(limit) for scope in ("github:get", "github:post") for limit in config.for_scope(scope).limits
    ]
    assert config == Config.from_mapping(tomllib.loads("\n".join(differences(config))))


def test_no_preset_is_the_default_and_off_switches_it_off() -> None:
    assert None is ProviderSettings().preset
    assert Config.from_mapping({"provider": {"github": {"preset": "off"}}}).for_provider("github") == ProviderSettings()


def test_a_file_is_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acme.toml").write_text(ACME, encoding="utf-8")
    config = Config.load(environ={"GOVERNOR__PROVIDER__ACME__PRESET": "acme.toml/gold"})

    assert ["900 points per hour strict"] == [describe(limit) for limit in config.for_provider("acme").limits]
    assert config == Config.from_mapping(tomllib.loads("\n".join(differences(config))))


@pytest.mark.parametrize(
    ("section", "preset", "message"),
    [
        (
            "github",
            "github/tokens",
            (
                "provider.github.preset is 'github/tokens'; expected a tier of 'github': unauthenticated, actions, "
                "token, app, enterprise"
            ),
        ),
        ("github", "gitub", "provider.github.preset is 'gitub'; expected a preset (did you mean 'github'?)"),
        ("github", 3, "provider.github.preset is 3; expected a preset such as 'github/token', or the path of a file; or 'off'"),
        (
            "default",
            "github",
            "provider.default.preset is 'github'; expected a preset in the section of a single provider",
        ),
        ("acme", "no.toml", "provider.acme.preset: cannot read preset 'no.toml': No such file or directory"),
    ],
)
def test_a_preset_that_cannot_be_used_is_a_mistake(section: str, preset: object, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_mapping({"provider": {section: {"preset": preset}}})

    assert message == str(raised.value)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acme.toml").write_text(ACME.replace("1 per s strict", "1 per s"), encoding="utf-8")
    Path("governor.toml").write_text('[provider.acme]\npreset = "acme.toml"', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^governor\.toml:\d+:\d+: provider\.acme\.limits\[0\] is '1 per s'; expected"):
        Config.load("governor.toml", environ={})
    Path("acme.toml").write_text(ACME.replace("source", "sauce"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"preset: preset acme\.toml: figures\[0\]: Object missing required field `source`"):
        Config.load("governor.toml", environ={})
