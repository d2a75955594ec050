"""`governor check`."""

import tomllib
from pathlib import Path

import pytest

from governor.cli import main
from governor.config import Config

OUTBOUND = """
[outbound.default]
limits = ["2/s burst 10"]

[outbound.hub]
limits = ["4900 per hour strict", "20 in flight"]
breaker = { failures = 3 }
"""


@pytest.mark.promise("R53")
@pytest.mark.parametrize("option", [[], ["--all"]], ids=["differences", "all"])
def test_what_check_prints_is_a_policy_file_that_says_the_same(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text('outbound."github:post".limits = ["30 in flight"]', encoding="utf-8")

    assert 0 == main(["check", "governor.toml", *option])

    printed = capsys.readouterr()
    assert "" == printed.err
    settings = printed.out.removeprefix("OK governor.toml\n")
    assert Config.load("governor.toml", environ={}) == Config.from_mapping(tomllib.loads(settings))


def test_check_prints_only_what_differs_from_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text(OUTBOUND, encoding="utf-8")

    assert 0 == main(["check", "governor.toml"])
    assert f"OK governor.toml\n{OUTBOUND}" == capsys.readouterr().out


def test_check_of_the_defaults_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["check"])
    assert ("OK: every setting has its default\n", "") == capsys.readouterr()


def test_check_without_a_file_says_of_one_beside_it_that_it_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text(OUTBOUND, encoding="utf-8")

    assert 0 == main(["check"])
    said = "governor.toml is not read: set GOVERNOR_CONFIG=governor.toml, or name it to this command\n"
    assert ("OK: every setting has its default\n", said) == capsys.readouterr()


def test_check_without_a_file_reads_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"GOVERNOR__GLOBAL__MAX_SCOPES": "7"})

    assert 0 == main(["check"])
    assert "OK\n\n[global]\nmax_scopes = 7\n" == capsys.readouterr().out


def test_check_without_a_file_takes_the_one_that_a_variable_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("governor.toml").write_text("global.max_scopes = 7", encoding="utf-8")
    Path("other.toml").write_text("global.max_scopes = 8", encoding="utf-8")
    Path(".env").write_text("GOVERNOR_CONFIG=governor.toml", encoding="utf-8")

    assert 0 == main(["check"])
    assert "OK governor.toml\n\n[global]\nmax_scopes = 7\n" == capsys.readouterr().out

    monkeypatch.setattr("os.environ", {"GOVERNOR_CONFIG": "other.toml"})

    assert 0 == main(["check"])
    assert "OK other.toml\n\n[global]\nmax_scopes = 8\n" == capsys.readouterr().out


@pytest.mark.promise("R53")
def test_check_names_the_mistake_with_its_path_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text('outbound.github.limits = ["60/minut"]', encoding="utf-8")

    assert 2 == main(["check", "governor.toml"])

    printed = capsys.readouterr()
    assert "" == printed.out
    assert "outbound.github.limits[0]" in printed.err
    assert "60/minut" in printed.err


def test_check_of_a_missing_file_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["check", "nowhere.toml"])
    assert "nowhere.toml" in capsys.readouterr().err
