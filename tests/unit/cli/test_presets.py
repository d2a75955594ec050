"""`governor presets`, and what `governor check` says of presets."""

import tomllib
from pathlib import Path

import pytest

from governor.cli import main
from governor.config import Config
from governor.presets import built_in, references

pytestmark = pytest.mark.promise("R13")

ACME = """
title = "Acme API"

[[figures]]
says = "1 request per second"
source = "https://acme.example/limits"
date = 2026-11-26
unverified = "A rumour."
limits = ["1 per s strict"]
"""


def test_the_list_names_every_preset_its_limits_and_its_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["presets"])

    printed = capsys.readouterr().out
    assert [] == [preset for preset in references() if f"\n{preset}: " not in f"\n{printed}" and f"  {preset}" not in printed]
    sources = {(figure.source, figure.date) for preset in built_in().values() for figure in preset.figures}
    assert [] == [source for source, date in sources if f"  {source}, {date}" not in printed]
    assert "  github/token  (personal access token" in printed
    assert "    5000 per hour strict, 900 points per minute strict, " in printed


@pytest.mark.parametrize("preset", ["github/token", "discord", "acme.toml"])
def test_what_is_printed_of_a_preset_is_a_policy_file_that_says_the_same(
    preset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("acme.toml").write_text(ACME, encoding="utf-8")

    assert 0 == main(["presets", preset])

    name = preset.partition("/")[0].removesuffix(".toml")
    said = tomllib.loads(capsys.readouterr().out)
    used = Config.from_mapping({"provider": {name: {"preset": preset}}})
    assert (
        Config.from_mapping({**said, "provider": {**said["provider"], name: {**said["provider"][name], "preset": preset}}})
        == used
    )


def test_an_unknown_preset_is_named_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["presets", "githib"])
    assert "PRESET is 'githib'; expected a preset (did you mean 'github'?)\n" == capsys.readouterr().err


def test_check_shows_the_sources_of_the_presets_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    Path("acme.toml").write_text(ACME, encoding="utf-8")
    Path("governor.toml").write_text('[provider.acme]\npreset = "acme.toml"\n', encoding="utf-8")

    assert 0 == main(["check", "governor.toml"])
    assert (
        "OK governor.toml\n"
        "\n"
        '# provider.acme: preset "acme.toml"\n'
        "#   1 request per second: https://acme.example/limits, 2026-11-26, not verified\n"
        "\n"
        "[provider.acme]\n"
        'preset = "acme.toml"\n'
    ) == capsys.readouterr().out
