"""The figures to look at while working."""

import asyncio

import pytest

from benchmarks import quick
from benchmarks.catalogue import CONTENDERS
from benchmarks.contract import BenchmarkError
from benchmarks.quick import LOCK_ENGINE, PLAIN, ROWS, TEXTBOOK, Figure, Row


def test_every_row_is_measured() -> None:
    figures = asyncio.run(quick.measure(turns=1, calls=10))

    assert [row.title for row in ROWS] == [figure.title for figure in figures]
    assert all(0 <= figure.ns < float("inf") for figure in figures)


def test_a_row_that_does_not_do_what_it_is_measured_for_is_no_measurement() -> None:
    denied = next(row for row in ROWS if row.denied)

    with pytest.raises(BenchmarkError, match="0 permits were granted where it should have been 10"):
        asyncio.run(quick.measure([Row(denied.title, denied.opens)], turns=1, calls=10))


def test_each_figure_stands_beside_both_baselines_and_the_plain_pair() -> None:
    figures = [Figure(TEXTBOOK, 500), Figure(LOCK_ENGINE, 6_000), Figure(PLAIN, 1_500), Figure("other", 3_000)]
    lines = quick.table(figures, {"governor": 20_000}).splitlines()

    assert ["other", "3,000", "6.00x", "2.00x", "2.00x"] == lines[4].split()
    assert ["governor", "20,000"] == lines[-1].split()


def test_the_memory_is_that_of_contenders_there_are() -> None:
    assert set(quick.MEMORY.values()) <= {contender.name for contender in CONTENDERS}
