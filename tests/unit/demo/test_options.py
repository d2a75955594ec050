"""Options of the demo; a mistake exits with status 2."""

from pathlib import Path

import pytest

from demo import main
from demo.options import Options, parse
from governor import StrictWindow
from governor._units import MINUTE, SECOND


def test_nothing_said_means_the_defaults() -> None:
    assert Options() == parse([])


def test_everything_can_be_said() -> None:
    times = ["--trace", "a.csv", "--speed", "2", "--seed", "9", "--duration", "4.5"]
    limits = ["--limit", "7 per minute strict", "--write-limit", "3 per s strict"]

    assert Options(
        trace=Path("a.csv"),
        speed=2.0,
        seed=9,
        duration=4.5,
        reads=StrictWindow(7, MINUTE),
        writes=StrictWindow(3, SECOND),
    ) == parse([*times, *limits])


def test_the_bad_moment_lies_in_the_middle_of_a_run() -> None:
    rules = parse(["--duration", "9"]).rules()

    assert (4 * SECOND, 5 * SECOND) == (rules.outage_from, rules.outage_until)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "0"], "--speed is 0.0; expected a number from 0.01 to 10000"),
        (["--speed", "nan"], "--speed is nan; expected "),
        (["--duration", "2"], "--duration is 2.0; expected a number from 3 to 600"),
        (["--limit", "5/s"], "--limit is '5/s'; expected a strict limit on requests"),
        (["--limit", "many"], "--limit is 'many'; expected a limit as text"),
        (["--limit", "5 per 1ms strict"], "--limit is '5 per 1ms strict'; expected at most 10000 requests, in at least 100ms"),
        (["--limit", "10001 per s strict"], "--limit is '10001 per s strict'; expected at most 10000 requests"),
        (["--write-limit", "5 tokens per s strict"], "--write-limit is '5 tokens per s strict'; expected "),
        (["--trace", "/no/such/file"], "--trace is '/no/such/file'; expected a file that can be read"),
    ],
)
def test_a_mistake_is_reported_and_nothing_runs(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(arguments)
    assert capsys.readouterr().err.startswith(f"demo: {message}")


def test_a_mistake_in_a_trace_is_reported_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text('{"timestamp": 0}\n{"timestamp": null}\n')

    assert 2 == main(["--trace", str(path)])
    assert f"{path}: line 2 is '{{\"timestamp\": null}}'" in capsys.readouterr().err


def test_an_unknown_option_ends_with_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--no-such-option"])

    assert 2 == caught.value.code
