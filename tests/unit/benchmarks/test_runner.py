"""The order of measurement, and the figures that are made of it."""

import pytest

from benchmarks.catalogue import CONTENDERS
from benchmarks.contract import BenchmarkError, Contender, Family, Sample
from benchmarks.machine import Machine
from benchmarks.measure import check_count, percentile
from benchmarks.results import Results, Spread
from benchmarks.runner import run

MACHINE = Machine(measured_at="today", processor="one", cpus=2, system="Linux", python="CPython 3", packages={}, load=None)


def contender(name: str, family: Family = Family.PAIRS) -> Contender:
    return Contender(name=name, family=family, entry="nowhere:never", size=100, quick_size=10, title=name, does="nothing")


def test_every_contender_takes_its_turn_in_each_round_and_each_begins_one() -> None:
    samples = run([contender("a"), contender("b")], quick=True, measure=lambda _, size: {"size": size})

    assert ["a", "b", "b", "a", "a", "b", "b", "a", "a", "b"] == [sample.contender for sample in samples]


def test_families_are_measured_one_after_the_other() -> None:
    samples = run([contender("m", Family.MEMORY), contender("p")], quick=True, measure=lambda _, size: {"size": size})

    assert ["p"] * 5 + ["m"] * 5 == [sample.contender for sample in samples]


def test_every_full_measurement_has_at_least_five_rounds() -> None:
    samples = list(run(CONTENDERS, quick=False, measure=lambda _, size: {"size": size}))

    assert [] == [one.name for one in CONTENDERS if sum(sample.contender == one.name for sample in samples) < 5]


def test_names_of_contenders_are_unique() -> None:
    names = [one.name for one in CONTENDERS]

    assert sorted(set(names)) == sorted(names)


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    figures = {("a", 0): 2.0, ("b", 0): 1.0, ("a", 1): 30.0, ("b", 1): 10.0, ("a", 2): 8.0, ("b", 2): 2.0}
    results = Results(MACHINE, tuple(Sample(name, number, {"us": value}) for (name, number), value in figures.items()))

    assert Spread(3.0, 2.0, 4.0) == results.ratio("a", "b", "us")


def test_what_was_not_measured_has_no_figure() -> None:
    results = Results(MACHINE, (Sample("a", 0, {"us": 1.0}),))

    assert (None, None) == (results.spread("b", "us"), results.ratio("a", "b", "us"))


def test_a_denied_permit_ends_the_measurement() -> None:
    with pytest.raises(BenchmarkError, match="99 permits were granted where it should have been 100"):
        check_count(99, 100)


def test_the_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert (50.0, 99.0, 100.0) == (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0))
