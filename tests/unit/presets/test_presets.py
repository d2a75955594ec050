"""The data of the presets, and how a preset is found."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.config import parse_limit
from governor.errors import ConfigError
from governor.policies.contract import REQUESTS, Limit
from governor.policies.in_flight import InFlight
from governor.policies.windows.parameters import StrictWindow
from governor.presets import Figure, Preset, built_in, find, read, reference

ACME = """
title = "Acme API"
hosts = ["api.acme.example"]
tiers = { free = "no contract", gold = "with a contract" }

[[figures]]
tiers = ["free"]
says = "1 request per second"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["1 per s strict"]

[[figures]]
tiers = ["gold"]
says = "20 requests per second"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["20 per s strict"]
cost = { post.points = 2 }

[[figures]]
says = "900 points per hour"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["900 points per hour strict"]
cost = { post.requests = 3, get.points = 1 }

[[figures]]
key = "search"
says = "30 searches per minute"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["30 per minute strict"]

[[figures]]
method = "delete"
says = "5 deletions per minute"
source = "https://acme.example/limits"
date = 2026-11-26
limits = ["5 per minute strict"]
"""
FIGURE = '[[figures]]\nsays = "x"\nsource = "https://x.example"\ndate = 2026-11-26\n'


def limits(preset: Preset, tier: str) -> Iterator[tuple[Figure, Limit]]:
    for figure in preset.of(tier):
        for text in figure.settings.get("limits", ()):  # type: ignore[attr-defined] # a list, or the test fails
            yield figure, parse_limit(text)


def rate(preset: Preset, tier: str) -> float:
    """The lowest rate of requests that the limits of a tier allow for calls without a key, in one microsecond."""
    found = [
        limit.amount / limit.per
        for figure, limit in limits(preset, tier)
        if isinstance(limit, StrictWindow) and limit.unit == REQUESTS and figure.key in (None, "default")
    ]
    return min(found, default=0.0)


@pytest.mark.parametrize("name", built_in())
def test_each_figure_has_a_source_and_a_date_and_each_limit_is_strict(name: str) -> None:
    preset = built_in()[name]

    assert preset.title
    for figure in preset.figures:
        assert figure.says
        assert figure.source.startswith("https://")
        assert datetime.date(2012, 1, 1) < figure.date <= datetime.date.today()  # noqa: DTZ011 (a date of a page)
        assert figure.settings
    for tier in preset.tiers or ("",):
        found = list(limits(preset, tier))
        assert all(isinstance(limit, (StrictWindow, InFlight)) for _, limit in found)
        # A call without a key is limited as well.
        assert any(isinstance(limit, StrictWindow) for figure, limit in found if figure.key in (None, "default"))


@pytest.mark.parametrize("name", built_in())
def test_what_costs_something_is_limited_and_what_is_limited_is_charged_by_a_call(name: str) -> None:
    preset = built_in()[name]
    for tier in preset.tiers or ("",):
        charged = {
            unit
            for figure in preset.of(tier)
            for cost in figure.settings.get("cost", {}).values()  # type: ignore[attr-defined] # a table, or the test fails
            for unit in cost
        }
        limited = {limit.unit for figure, limit in limits(preset, tier) if figure.key is None}

        assert charged <= limited | {REQUESTS}
        # Tokens are charged by the adapters, or by the call itself.
        assert limited <= charged | {REQUESTS, "tokens"}


@pytest.mark.parametrize("name", [name for name, preset in built_in().items() if preset.tiers])
def test_the_tier_that_is_meant_without_one_is_the_strictest(name: str) -> None:
    preset = built_in()[name]

    assert (preset, preset.default, name) == find(name)
    assert all(rate(preset, preset.default) <= rate(preset, tier) for tier in preset.tiers)


def test_no_host_belongs_to_two_presets() -> None:
    hosts = [host for preset in built_in().values() for host in preset.hosts]

    assert sorted(set(hosts)) == sorted(hosts)


def test_the_settings_of_a_tier_are_those_of_its_figures_together() -> None:
    preset = read(ACME, name="acme.toml")

    assert {
        "provider": {
            "shop": {
                "hosts": ["api.acme.example"],
                "limits": ["20 per s strict", "900 points per hour strict"],
                "cost": {"post": {"points": 2, "requests": 3}, "get": {"points": 1}},
            },
            "shop/search": {"limits": ["30 per minute strict"]},
        },
        "outbound": {"shop": {"limits": []}, "shop:delete": {"limits": ["5 per minute strict"]}},
    } == preset.settings("shop", "gold")


@pytest.mark.parametrize(("said", "tier"), [("acme.toml", "free"), ("acme.toml/gold", "gold"), ("./acme.toml/free", "free")])
def test_a_preset_may_be_a_file(said: str, tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("acme.toml").write_text(ACME, encoding="utf-8")

    assert (read(ACME, name="acme.toml"), tier, "acme") == find(said)


def test_a_reference_names_the_preset_and_the_tier() -> None:
    assert ("github/token", "discord") == (reference("github", "token"), reference("discord", ""))
    assert (built_in()["github"], "token", "github") == find("github/token")
    assert (built_in()["discord"], "", "discord") == find("discord")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("GitHib", "preset is 'GitHib'; expected a preset (did you mean 'github'?)"),
        (
            "github/tokn",
            "preset is 'github/tokn'; expected a tier of 'github': unauthenticated, actions, token, app, enterprise",
        ),
        ("discord/gold", "preset is 'discord/gold'; expected no tier, because 'discord' has none"),
        ("nothing.toml", "preset: cannot read preset 'nothing.toml': No such file or directory"),
        ("~no-such-user/x.toml", "preset: cannot read preset '~no-such-user/x.toml': Could not determine home directory."),
        ("\0.toml", "preset: cannot read preset '\\x00.toml': embedded null byte"),
        (".toml", "preset: cannot read preset '.toml': No such file or directory"),
        ("nope", "preset is 'nope'; expected a preset: " + ", ".join(built_in())),
        ("", "preset is ''; expected a preset: " + ", ".join(built_in())),
        ("bytes.toml", "preset: preset 'bytes.toml' is not a text file in UTF-8"),
        ("large.toml", "preset: preset 'large.toml' is larger than 1000000 bytes"),
        ("empty.toml/x", "preset: preset empty.toml: Object missing required field `title`"),
    ],
)
def test_an_unknown_preset_is_a_mistake_that_names_the_nearest_one(
    said: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bytes.toml").write_bytes(b'title = "\xff"')
    Path("large.toml").write_text("# " + "x" * 1_000_000, encoding="utf-8")
    Path("empty.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        find(said)

    assert message == str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title", "preset acme.toml: Expected '=' after a key in a key/value pair (at end of document)"),
        ("title = 3", "preset acme.toml: Expected `str`, got `int` - at `$.title`"),
        ('title = "x"\nlimits = []', "preset acme.toml: Object contains unknown field `limits`"),
        (f"title = {'[' * 5_000}", "preset acme.toml: maximum recursion depth exceeded"),
        ('title = "x"', "preset acme.toml: figures is []; expected at least one table [[figures]]"),
        ('title = "x"\nfigures = [3]', "preset acme.toml: figures[0] is 3; expected a table [[figures]]"),
        (
            'title = "x"\n[[figures]]\nsays = "x"\nsource = "https://x.example"',
            "preset acme.toml: figures[0]: Object missing required field `date`",
        ),
        (
            f'title = "x"\n{FIGURE}tiers = ["gold"]',
            "preset acme.toml: figures[0].tiers is 'gold'; expected one of the tiers of the file, which has none",
        ),
        (
            f'title = "x"\n{FIGURE.replace("https", "ftp")}',
            "preset acme.toml: figures[0].source is 'ftp://x.example'; expected the address of a page, https://...",
        ),
        (
            f'title = "x"\n{FIGURE}key = "a"\nmethod = "get"',
            "preset acme.toml: figures[0].method is 'get'; expected no method, because the figure has a key",
        ),
    ],
)
def test_a_file_that_is_no_preset_is_a_mistake(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(text, name="acme.toml")

    assert message == str(raised.value)
