"""`governor status`: what it prints, and its exit status."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Final

import msgspec
import pytest

from governor import Reason
from governor.daemon import status_command
from governor.daemon.status_command import NoAnswer, Screen, main, read
from governor.daemon.table import Line, Tone
from governor.policies.breakers.states import BreakerStatus
from governor.wording import clock
from tests.unit.daemon.statuses import NOW, Scope, scope, status

URL: Final = "http://127.0.0.1:8787"
OPEN: Final[dict[str, Scope]] = {
    "outbound:github:get": scope(Reason.CIRCUIT_OPEN, 42.0, breaker=BreakerStatus.OPEN, probes_in=42.0)
}
CLOSED: Final = msgspec.json.encode(status())


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bytes | NoAnswer]:
    """What the governor answers, one after the other; then somebody presses Ctrl-C."""
    given: list[bytes | NoAnswer] = []
    left: Iterator[bytes | NoAnswer] = iter(given)

    def fetch(url: str) -> bytes:
        assert url == URL
        answer = next(left, None)
        if answer is None:
            raise KeyboardInterrupt
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    monkeypatch.setattr(status_command, "fetch", fetch)
    return given


def test_one_look_prints_a_table_without_any_code(answers: list[bytes | NoAnswer], capsys: pytest.CaptureFixture[str]) -> None:
    answers.append(msgspec.json.encode(status(OPEN)))

    assert 0 == main([])
    printed = capsys.readouterr()
    assert printed.out.startswith("1 scope denies calls\n  github:get denies calls: circuit breaker open, probes in 42 s\n")
    assert ("", False) == (printed.err, "\x1b" in printed.out)


def test_json_is_the_document_as_it_came(answers: list[bytes | NoAnswer], capsys: pytest.CaptureFixture[str]) -> None:
    answers.append(CLOSED)

    assert 0 == main(["--json"])
    assert json.loads(CLOSED) == json.loads(capsys.readouterr().out)


def test_json_of_a_watch_is_a_line_for_each_look(answers: list[bytes | NoAnswer], capsys: pytest.CaptureFixture[str]) -> None:
    answers += [CLOSED, NoAnswer("gone"), CLOSED]

    assert 0 == main(["--watch", "--json"], pause=lambda _: None)
    assert [CLOSED.decode()] * 2 == capsys.readouterr().out.splitlines()


def test_no_answer_is_1_and_said_on_standard_error(answers: list[bytes | NoAnswer], capsys: pytest.CaptureFixture[str]) -> None:
    answers.append(NoAnswer(f"no governor answers at {URL}: Connection refused"))

    assert 1 == main(["--watch"])
    assert ("", f"governor status: no governor answers at {URL}: Connection refused\n") == capsys.readouterr()


@pytest.mark.parametrize(
    "url",
    [
        "8787",
        "ftp://127.0.0.1",
        "http://",
        "http://a b",
        "http://host:0",
        "http://host:99999",
        "http://me@host",
        "http://h/?q",
        "http://h\n",
    ],
)
def test_an_address_that_cannot_be_is_2(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--url", url])

    assert 2 == caught.value.code
    assert f"{url!r} is not a URL of a daemon; use for instance 'http://127.0.0.1:8787'" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["--wacth"], ["extra"], ["--url"]])
def test_what_was_mistyped_is_2(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(typed)

    assert 2 == caught.value.code
    assert "usage: governor status" in capsys.readouterr().err


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b"\xff", b'{"status": "success"}'])
def test_an_answer_that_is_no_status_says_so(body: bytes) -> None:
    with pytest.raises(NoAnswer, match=r"^the answer from http://here is not that of a governor of this version: "):
        read("http://here", body)


@pytest.mark.parametrize(("typed", "scopes", "status_"), [([], OPEN, 0), (["--exit-code"], OPEN, 1), (["--exit-code"], {}, 0)])
def test_with_exit_code_anything_that_is_denied_is_1(
    answers: list[bytes | NoAnswer], typed: list[str], scopes: dict[str, Scope], status_: int
) -> None:
    answers.append(msgspec.json.encode(status(scopes)))

    assert status_ == main(typed)


def test_a_watch_waits_a_second_between_two_looks(answers: list[bytes | NoAnswer]) -> None:
    answers += [CLOSED, CLOSED, CLOSED]
    pauses: list[float] = []
    main(["--watch"], pause=pauses.append)

    assert [1.0, 1.0, 1.0] == pauses


def test_a_watch_outlives_the_governor_and_says_how_old_its_figures_are(
    answers: list[bytes | NoAnswer], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_command, "wall_clock", lambda: NOW + 12)
    answers += [CLOSED, NoAnswer("no governor answers"), CLOSED]

    assert 0 == main(["--watch"], pause=lambda _: None)
    lines = capsys.readouterr().out.splitlines()
    taken_at = clock(NOW)
    assert 1 == lines.count(f"These figures are 12 s old, from {taken_at}: no governor answers")
    assert 3 == lines.count("All calls are granted")


def _screen(output: StringIO, *, over: bool) -> str:
    screen = Screen(output)
    for word in ("one", "two"):
        screen.show([Line(word, Tone.BAD), Line("end")], over=over)
    screen.end()
    return output.getvalue()


def test_on_a_terminal_pictures_are_written_over_each_other_in_colour() -> None:
    assert "\x1b[2J\x1b[H\x1b[31mone\x1b[0m\x1b[K\nend\x1b[K\x1b[J\x1b[H\x1b[31mtwo\x1b[0m\x1b[K\nend\x1b[K\x1b[J\n" == _screen(
        Terminal(), over=True
    )


def test_elsewhere_pictures_stand_below_each_other() -> None:
    assert "one\nend\n\ntwo\nend\n" == _screen(StringIO(), over=True)


def test_no_color_has_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    assert "\x1b[2J\x1b[Hone\x1b[K\nend\x1b[K\x1b[J\x1b[Htwo\x1b[K\nend\x1b[K\x1b[J\n" == _screen(Terminal(), over=True)


def test_a_dumb_terminal_gets_no_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert "one\nend\n\ntwo\nend\n" == _screen(Terminal(), over=True)


def test_the_size_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    size: Callable[[], tuple[int, int]] = Screen(StringIO()).size
    for columns, lines in (("47", "11"), ("1", "1")):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("LINES", lines)
        sizes.append(size())

    assert [(47, 11), (1, 4)] == sizes
