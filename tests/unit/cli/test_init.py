"""`governor init`."""

from pathlib import Path

import pytest

from governor.cli import main
from governor.config import Config, parse_limit

FLAGS = ["--outbound", "hub=4900 per hour strict", "--outbound", "hub:post=80 per minute strict", "--inbound", "chat=/chat"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The answers to type, in order; then the input ends."""
    answers: list[str] = []

    def answer(question: str) -> str:
        if not answers:
            raise EOFError
        return answers.pop(0)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    return answers


def _loaded() -> Config:
    return Config.load("governor.toml", environ={}, env_file=None)


def test_init_writes_what_the_flags_say() -> None:
    assert 0 == main(["init", *FLAGS, "--cap", "300"])

    config = _loaded()
    assert 300 == config.global_.requests_per_minute
    assert [(parse_limit("4900 per hour strict"),)] == [config.for_scope("hub:get").limits]
    assert [(parse_limit("80 per minute strict"),)] == [config.for_scope("hub:post").limits]
    assert ("/chat",) == config.inbound["chat"].paths


def test_without_answers_init_writes_a_file_of_comments_that_changes_nothing() -> None:
    assert 0 == main(["init"])
    assert Config.from_mapping({}) == _loaded()


def test_every_setting_in_the_comments_is_valid() -> None:
    main(["init"])
    lines = Path("governor.toml").read_text(encoding="utf-8").splitlines()
    settings = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    Path("governor.toml").write_text("\n".join(settings), encoding="utf-8")

    assert 0 == main(["check", "governor.toml"])


def _is_setting(line: str) -> bool:
    return line.startswith("# ") and (line.startswith("# [") or " = " in line)


def test_the_first_line_names_the_schema_beside_the_file() -> None:
    main(["init"])

    first = Path("governor.toml").read_text(encoding="utf-8").splitlines()[0]
    assert "#:schema ./governor.schema.json" == first
    assert Path("governor.schema.json").is_file()


def test_init_on_a_terminal_asks_and_asks_again_after_a_wrong_answer(
    terminal: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal += ["hub", "60 per minute", "60 per minute strict", "", "chat", ""]

    assert 0 == main(["init"])
    assert [(parse_limit("60 per minute strict"),)] == [_loaded().for_scope("hub").limits]
    assert ("/api/v1/chat",) == _loaded().inbound["chat"].paths
    assert "'60 per minute'" in capsys.readouterr().out


def test_answers_that_end_early_write_nothing(terminal: list[str]) -> None:
    terminal += ["hub"]

    assert 2 == main(["init"])
    assert [] == list(Path().iterdir())


def test_init_replaces_a_file_only_with_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("governor.toml").write_text("global.max_scopes = 7", encoding="utf-8")

    assert 2 == main(["init", *FLAGS])
    assert "governor.toml exists already; --force replaces it" in capsys.readouterr().err
    assert 7 == _loaded().global_.max_scopes
    Path("governor.schema.json").touch()

    assert 2 == main(["init", *FLAGS])
    assert "governor.schema.json exist already; --force replaces them" in capsys.readouterr().err
    Path("governor.schema.json").unlink()

    assert 0 == main(["init", *FLAGS, "--force", "--no-schema"])
    assert "hub" in _loaded().outbound
    assert not Path("governor.schema.json").exists()


MISTAKES = [
    ["--outbound", "hub"],
    ["--outbound", "hub=60 per minute"],
    ["--outbound", "the hub=60 per minute strict"],
    ["--inbound", "chat=chat"],
    ["--cap", "0"],
    ["-"],
]


@pytest.mark.parametrize("flags", MISTAKES, ids=" ".join)
def test_a_mistake_in_a_flag_exits_with_2_and_writes_nothing(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["init", *flags])
    assert "" != capsys.readouterr().err
    assert [] == list(Path().iterdir())


@pytest.mark.parametrize("file", ["nowhere/governor.toml", "", "."])
def test_a_file_that_cannot_be_written_exits_with_2(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["init", file, "--force"])
    assert f"cannot write {Path(file)}" in capsys.readouterr().err
