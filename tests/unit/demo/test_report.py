"""The report says what happened, and its verdict follows the provider's log."""

from collections import Counter

import pytest

from demo.contender import DONE, Figures, GovernorFigures
from demo.report import Possible, Run, possible, spotless, table, verdict
from demo.rules import READ, WRITE, Ban, ProviderLog, Rules
from demo.workload import Driven
from governor import Duration, StrictWindow
from governor._units import SECOND


def seconds(number: float) -> Duration:
    return Duration(round(number * SECOND))


def run(reads: dict[str, int], *, bans: list[Ban] | None = None, governor: GovernorFigures | None = None) -> Run:
    return Run(
        title="with a governor" if governor else "without",
        driven=Driven(
            workload=Counter({DONE: 5, "503": 2, "403": 1}),
            loop=Counter({DONE: 3}),
            figures=Figures(sent=11, errors=1, retries=4, governor=governor),
        ),
        log=ProviderLog(answers={READ: reads, WRITE: {"201": 2}}, bans=bans or [], span=seconds(9)),
    )


GOVERNED = run({"200": 6, "503": 2}, governor=GovernorFigures(openings=3, degraded_spells=1, denied={"overloaded": 7}))
BANNED = run({"200": 1, "429": 3, "403": 1234}, bans=[Ban(seconds(1), seconds(2.5)), Ban(seconds(4), seconds(12))])


def rows(*runs: Run) -> dict[str, list[str]]:
    """The cells of the table by label; of a label with several lines those of the first."""
    found: dict[str, list[str]] = {}
    for line in table(runs, Possible(8, 2)):
        cells = [line[start : start + 28].strip() for start in (34, 62)]
        found.setdefault(line[:34].strip(), cells)
    return found


@pytest.mark.parametrize(
    ("label", "cells"),
    [
        ("workload: done, of all calls", ["5 of 8", "5 of 8"]),
        ("given up, and why", ["2 503", "2 503"]),
        ("requests at the provider [1]", ["1,240", "10"]),
        ("answered 2xx", ["3", "8"]),
        ("met a 503", ["0", "2"]),
        ("denied, 429", ["3", "0"]),
        ("denied, 403: banned", ["1,234", "0"]),
        ("banned", ["1.0 s to 2.5 s: 1.5 s", "never"]),
        ("retries", ["4", "4"]),
        ("breaker openings", ["-", "3"]),
        ("degraded spells", ["-", "1"]),
        ("denied by the governor", ["-", "7 overloaded"]),
        ("share of the possible [2]", ["30.0%", "80.0%"]),
    ],
)
def test_both_runs_stand_side_by_side(label: str, cells: list[str]) -> None:
    assert cells == rows(BANNED, GOVERNED)[label]


def test_a_ban_that_outlasts_the_run_is_reported_up_to_its_end() -> None:
    assert any("4.0 s to the end: 5.0 s" in line for line in table((BANNED, GOVERNED), Possible(8, 2)))


def test_the_report_of_three_runs_fits_into_120_columns() -> None:
    runs = (BANNED, GOVERNED, BANNED)
    lines = [*table(runs, Possible(123_456, 12_345)), *verdict(*runs)]

    assert 120 >= max(map(len, lines))


def test_a_run_without_refusals_is_spotless() -> None:
    assert spotless(GOVERNED)
    assert "The limits were kept." in verdict(BANNED, GOVERNED, BANNED)[1]


@pytest.mark.parametrize("status", ["429", "403"])
def test_one_refusal_is_one_too_many(status: str) -> None:
    denied = run({"200": 100, status: 1})

    assert not spotless(denied)
    assert "THE LIMITS WERE NOT KEPT." in verdict(BANNED, denied, GOVERNED)[1]


def test_doing_nothing_is_no_success() -> None:
    idle = Run(title="idle", driven=GOVERNED.driven, log=ProviderLog(answers={READ: {"503": 3}}, bans=[], span=seconds(1)))

    assert not spotless(idle)
    assert "BUT NOTHING WAS DONE." in verdict(BANNED, idle, GOVERNED)[1]


def test_the_possible_is_counted_in_windows_outside_the_spell_and_in_writes_that_were_wanted() -> None:
    rules = Rules(
        reads=StrictWindow(10, seconds(2)), writes=StrictWindow(5, seconds(2)), outage_from=seconds(4), outage_until=seconds(5)
    )

    # Two windows before the spell, and three begin after it.
    assert Possible(reads=50, writes=25) == possible(rules, 10.0, writes=99)
    assert Possible(reads=50, writes=7) == possible(rules, 10.0, writes=7)
