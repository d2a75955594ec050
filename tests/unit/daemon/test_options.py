"""Options of `governor serve`."""

import pytest

from governor.daemon.options import Options, parse


@pytest.mark.promise("R33")
def test_it_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    said = parse([])

    assert Options(config=None, host="127.0.0.1", port=8787, allow_host=(), drain=1.0) == said
    assert {"localhost", "127.0.0.1", "[::1]"} == set(said.allowed_hosts())


def test_everything_can_be_said() -> None:
    typed = [
        "--config",
        "a.toml",
        "--host",
        "::",
        "--port",
        "0",
        "--allow-host",
        "one",
        "--allow-host",
        "two",
        "--drain",
        "2.5",
        "--socket",
        "g.sock",
        "--exit-idle",
        "600",
    ]
    said = parse(typed)
    named = Options(config="a.toml", host="::", port=0, allow_host=("one", "two"), drain=2.5, socket="g.sock", exit_idle=600.0)

    assert named == said
    assert ("", None) == (parse(["--socket"]).socket, parse([]).socket)
    assert {"localhost", "127.0.0.1", "[::1]", "[::]", "one", "two"} == set(said.allowed_hosts())


def test_the_admin_token_comes_from_the_option_or_else_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    none = parse([]).admin_token
    monkeypatch.setenv("GOVERNOR_ADMIN_TOKEN", "from-the-environment")

    assert (None, "from-the-environment") == (none, parse([]).admin_token)
    assert "from-the-command-line" == parse(["--admin-token", "from-the-command-line"]).admin_token


@pytest.mark.promise("R35")
@pytest.mark.parametrize("token", ["fifteen-letters", "sixteen letters!", "sixteen-lettérs!"])
def test_a_token_that_cannot_be_used_is_a_mistake_and_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["--admin-token", token])
    monkeypatch.setenv("GOVERNOR_ADMIN_TOKEN", token)
    with pytest.raises(SystemExit) as caught:
        parse([])
    said = capsys.readouterr().err

    assert 2 == caught.value.code
    assert 2 == said.count("the admin token must have at least 16 visible ASCII characters, without spaces")
    assert token not in said


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--port", "65536"], "'65536' is not a port; allowed: 0 to 65535"),
        (["--port", "-1"], "'-1' is not a port"),
        (["--port", "http"], "'http' is not a port"),
        (["--drain", "nan"], "'nan' is not a time to drain; allowed: 0 to 3600 seconds"),
        (["--drain", "-1"], "'-1' is not a time to drain"),
        (["--drain", "soon"], "'soon' is not a time to drain"),
        (["--host", ""], "'' is no address; 0.0.0.0 and :: are all addresses of this machine"),
        (["--hos", "x"], "unrecognized arguments"),
        (["extra"], "unrecognized arguments"),
    ],
)
def test_a_mistake_ends_with_2(typed: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(typed)

    assert 2 == caught.value.code
    assert words in capsys.readouterr().err
