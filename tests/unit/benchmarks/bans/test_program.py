"""The ban benchmark as a program: a quick run, its targets, its charts."""

from pathlib import Path

import pytest

from benchmarks.bans.__main__ import main
from benchmarks.bans.measures import Measures
from benchmarks.bans.report import BEGIN, END, publish
from benchmarks.bans.results import Results, read
from benchmarks.bans.sweep import one
from benchmarks.bans.targets import judge
from benchmarks.bans.timeline import draw


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Results:
    path = tmp_path_factory.mktemp("bans") / "quick.json"
    contenders = ("governor", "naive", "aiolimiter", "aws-adaptive")
    assert 0 == main(
        ["--quick", "--scenario", "fixed-minute", "--json", str(path), *(f"--contender={name}" for name in contenders)]
    )
    return read(path)


def run_of(results: Results, contender: str) -> Measures:
    found = results.first(contender, "fixed-minute")
    assert found is not None
    return found


@pytest.mark.promise("R02")
def test_a_governor_that_knows_the_limits_is_neither_denied_nor_banned(quick: Results) -> None:
    run = run_of(quick, "governor")

    assert (0, 0, run.calls) == (run.denied, run.bans, run.in_twice)


def test_clients_without_a_governor_are_banned(quick: Results) -> None:
    assert all(run_of(quick, name).bans for name in ("naive", "aiolimiter", "aws-adaptive"))


def test_no_client_answers_more_in_time_than_the_oracle(quick: Results) -> None:
    assert run_of(quick, "oracle").in_time == max(run.in_time for run in quick.measures)


def test_a_run_repeats_itself_exactly(quick: Results) -> None:
    assert run_of(quick, "aiolimiter") == one(("fixed-minute", "aiolimiter", 1, 6))


def test_targets_that_were_not_measured_are_neither_kept_nor_missed(quick: Results) -> None:
    verdicts = {verdict.target: verdict for verdict in judge(quick)}

    assert True is verdicts["limits known: denied requests"].kept
    assert None is verdicts["unknown, no hints: bans"].kept


def test_one_denied_request_misses_the_target(quick: Results) -> None:
    denied = [run if run.contender != "governor" else _with(run, denied=1, bans=1) for run in quick.measures]
    verdicts = judge(Results(denied, {}, {}))

    assert [False, False] == [verdict.kept for verdict in verdicts[:2]]
    assert ["fixed-minute (1)"] == verdicts[0].missed


def test_a_time_line_shows_answers_denials_and_bans(quick: Results) -> None:
    naive, governor = (draw("chart", [("one", run_of(quick, name))], 10.0) for name in ("naive", "governor"))

    assert all(f'class="{kind}"' in naive for kind in ("answered", "denied", "ban"))
    assert not any(f'class="{kind}"' in governor for kind in ("denied", "ban"))


def test_the_report_replaces_what_stands_between_the_markers() -> None:
    assert f"a\n{BEGIN}\n\nnew\n\n{END}\nz" == publish(f"a\n{BEGIN}\nold\n{END}\nz", "new\n")
    with pytest.raises(ValueError, match="needs the lines"):
        publish("no markers", "new")


def test_scenarios_and_contenders_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["--list"])

    told = capsys.readouterr().out
    assert all(name in told for name in ("fixed-minute", "github/silent", "governor-unknown", "pyrate"))


def test_the_page_has_a_place_for_the_report() -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "reference" / "ban-benchmark.md"

    assert 1 == page.read_text().count(BEGIN) == page.read_text().count(END)


def _with(run: Measures, **changes: int) -> Measures:
    return type(run)(**{**{field: getattr(run, field) for field in run.__struct_fields__}, **changes})
