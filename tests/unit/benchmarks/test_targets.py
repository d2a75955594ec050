"""The targets: what counts as kept."""

import pytest

from benchmarks.contract import Sample
from benchmarks.machine import Machine
from benchmarks.results import Results, Spread
from benchmarks.targets import Target

MACHINE = Machine(measured_at="today", processor="one", cpus=2, system="Linux", python="CPython 3", packages={}, load=None)
AT_LEAST = Target(title="fast", contender="a", metric="eight", unit="times", least=0.7, base="a", base_metric="one")
AT_MOST = Target(title="quick", contender="a", metric="eight", unit="us", most=100.0)


@pytest.mark.parametrize(("value", "kept"), [(0.69, False), (0.7, True), (7.0, True)])
def test_a_lower_bound_is_kept_from_there_on(value: float, kept: bool) -> None:
    assert kept == AT_LEAST.kept_by(value)


@pytest.mark.parametrize(("value", "kept"), [(0.1, True), (100.0, True), (100.1, False)])
def test_an_upper_bound_is_kept_up_to_there(value: float, kept: bool) -> None:
    assert kept == AT_MOST.kept_by(value)


def test_the_goal_says_which_bound_it_is() -> None:
    assert ("at least 0.7 times", "at most 100 us") == (AT_LEAST.goal, AT_MOST.goal)


def test_a_ratio_may_be_to_another_figure_of_the_same_process() -> None:
    samples = [Sample("a", number, {"one": 10.0, "eight": eight}) for number, eight in enumerate((5.0, 7.0, 9.0))]

    assert Spread(0.7, 0.5, 0.9) == AT_LEAST.measured(Results(MACHINE, tuple(samples)))
