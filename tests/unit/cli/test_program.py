"""The program `governor`, as typed in a shell."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from governor import _build
from governor.cli import main


def test_serve_takes_the_file_that_a_variable_names(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("GOVERNOR_CONFIG=nowhere.toml", encoding="utf-8")

    assert 2 == main(["serve", "--port", "0"])
    said = "governor serve: cannot read policy file 'nowhere.toml' (set by GOVERNOR_CONFIG in .env): No such file or directory"
    assert said in capsys.readouterr().err


def test_the_demo_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["demo", "--speed", "10"])
    assert "run `make demo`" in capsys.readouterr().err


def test_serve_says_that_it_does_not_read_a_file_that_nothing_names(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").touch()

    assert 1 == main(["serve", "--host", "192.0.2.1"])
    advice = "governor serve: governor.toml is not read: set GOVERNOR_CONFIG=governor.toml, or use --config\n"
    assert capsys.readouterr().err.startswith(advice)


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


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "required: COMMAND"),
        (["-x"], "required: COMMAND"),
        (["weather"], "(choose from "),
        (["check", "a", "b"], "unrecognized arguments: b"),
        (["check", "--al"], "unrecognized arguments: --al; did you mean '--all'?"),
        (["--verion"], "unknown option '--verion'; did you mean '--version'?"),
        (["serve", "--prot=80"], "unrecognized arguments: --prot=80; did you mean '--port'?"),
        (["ctl", "rest", "github"], "governor ctl: error: unknown command 'rest'; did you mean 'reset'?"),
        (["ctl", "close", "github", "--fro", "5m"], "unrecognized arguments: --fro 5m; did you mean '--for'?"),
        (["ctl", "--socket", "x", "close", "github"], "--socket comes before the command; write the options"),
        *(
            ([f"{command}x", "--watch"], f"unknown command '{command}x'; did you mean '{command}'?\n")
            for command in ("check", "completion", "ctl", "demo", "init", "presets", "schema", "serve", "status")
        ),
    ],
)
def test_what_was_mistyped_exits_with_2(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(typed)
    printed = capsys.readouterr().err

    assert 2 == caught.value.code
    assert printed.startswith("usage: governor")
    assert said in printed


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert 0 == caught.value.code
    commands = {"check", "completion", "demo", "init", "schema", "serve", "status"}
    assert set() == commands - set(capsys.readouterr().out.split())


def test_the_package_runs_as_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "governor", "--version"], capture_output=True, text=True, check=True)

    assert f"governor {version('traffic-governor')} ({_build.name()})\n" == done.stdout


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    assert (0, "") == schema_to(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk_is_a_mistake() -> None:
    full = os.open("/dev/full", os.O_WRONLY)

    assert (2, "governor: the output cannot be written: No space left on device\n") == schema_to(full)


def test_output_may_be_closed_or_lack_the_letters_of_a_name(tmp_path: Path) -> None:
    policy = tmp_path / "größe.toml"
    policy.write_text("")
    command = ["sh", "-c", '"$0" -m governor check "$1" && "$0" -m governor schema >&-', sys.executable, str(policy)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)

    assert (0, b"", True) == (done.returncode, done.stderr, b"gr\\xf6\\xdfe.toml" in done.stdout)


def schema_to(output: int) -> tuple[int, str]:
    """The status of a command that prints to this file, which is closed, and its errors."""
    command = [sys.executable, "-m", "governor", "schema"]
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    os.close(output)
    return done.returncode, done.stderr


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_completion_knows_the_options_of_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["completion", shell])

    printed = capsys.readouterr().out
    assert [] == [word for word in ("allow-host", "completion", "no-schema", "outbound", "watch") if word not in printed]


def test_a_missing_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)

    assert 2 == main(["completion", "bash"])
    assert "pip install 'traffic-governor[completion]'" in capsys.readouterr().err
