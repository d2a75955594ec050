"""`governor check` and `governor demo`, as typed in a shell."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from governor.cli import main
from governor.config import Config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", {})


@pytest.mark.promise("R53")
def test_check_prints_what_is_in_force_as_a_policy_file_that_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text('outbound."github:post".limits = ["30 in flight"]', encoding="utf-8")

    assert 0 == main(["check", "governor.toml"])

    printed = capsys.readouterr()
    assert "" == printed.err
    assert Config.load("governor.toml", environ={}) == Config.from_mapping(tomllib.loads(printed.out))


def test_check_without_a_file_shows_defaults_and_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"GOVERNOR__GLOBAL__MAX_SCOPES": "7"})

    assert 0 == main(["check"])
    assert "max_scopes = 7" in capsys.readouterr().out.splitlines()


def test_check_without_a_file_takes_the_one_that_a_variable_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("governor.toml").write_text("global.max_scopes = 7", encoding="utf-8")
    Path("other.toml").write_text("global.max_scopes = 8", encoding="utf-8")
    Path(".env").write_text("GOVERNOR_CONFIG=governor.toml", encoding="utf-8")

    assert 0 == main(["check"])
    assert "max_scopes = 7" in capsys.readouterr().out.splitlines()

    monkeypatch.setattr("os.environ", {"GOVERNOR_CONFIG": "other.toml"})

    assert 0 == main(["check"])
    assert "max_scopes = 8" in capsys.readouterr().out.splitlines()


def test_serve_takes_the_file_that_a_variable_names(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("GOVERNOR_CONFIG=nowhere.toml", encoding="utf-8")

    assert 2 == main(["serve", "--port", "0"])
    assert "governor serve: .env: GOVERNOR_CONFIG is 'nowhere.toml'; allowed: a file" in capsys.readouterr().err


@pytest.mark.promise("R53")
def test_check_names_the_mistake_with_its_path_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text('outbound.github.limits = ["60/minut"]', encoding="utf-8")

    assert 2 == main(["check", "governor.toml"])

    printed = capsys.readouterr()
    assert "" == printed.out
    assert printed.err.startswith(
        "governor.toml: outbound.github.limits[0] is '60/minut'; allowed: a limit as text, for instance "
    )


def test_check_of_a_missing_file_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["check", "nowhere.toml"])
    assert "policy file is 'nowhere.toml'; allowed: a file that can be read" in capsys.readouterr().err


def test_the_demo_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["demo", "--speed", "10"])
    assert "run `make demo`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "module"), [("status", "governor.daemon.status_command"), ("serve", "governor.daemon.serve")]
)
def test_status_and_serve_are_handed_everything_that_was_typed_after_them(
    command: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: list[list[str]] = []

    def run(argv: list[str]) -> int:
        typed.append(argv)
        return 1

    monkeypatch.setitem(sys.modules, module, SimpleNamespace(main=run))

    assert 1 == main([command, "--watch", "--help", "x"])
    assert [["--watch", "--help", "x"]] == typed


def test_the_arguments_are_those_of_the_process_unless_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["governor", "check", "nowhere.toml"])

    assert 2 == main()
    assert "nowhere.toml" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [[], ["chek"], ["check", "a", "b"]])
def test_what_was_mistyped_exits_with_2(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(typed)

    assert 2 == caught.value.code
    assert "usage: governor" in capsys.readouterr().err


def test_help_names_both_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert 0 == caught.value.code
    assert {"check", "demo"} <= set(capsys.readouterr().out.split())
