"""The adaptive retry mode of the AWS SDKs: their rows agree with `cubic`, and their closed loops with the learned rate.

Rows of their token bucket are not compared: theirs begins empty, and calls wait in a loop of sleeps. What they assert about it
holds here as laws, in `tests/properties/test_learned_rate.py`.
"""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from governor.policies.learning.cubic import BETA, SCALE, SMOOTHING, Cubic, MeasuredRate

#: What their limiter adds to the two functions: the least rate, and how much faster than measured it may be.
MIN_RATE: Final = 0.5
FASTER: Final = 2.0


@pytest.fixture(scope="module")
def rows(vectors: Path) -> Any:
    return json.loads((vectors / "aws_adaptive_cubic.json").read_text(encoding="utf-8"))


class Limiter:
    """Their limiter, made of ours."""

    def __init__(self) -> None:
        self.sent = MeasuredRate()
        self.curve = Cubic()
        self.enabled = False
        self.rate = MIN_RATE

    def answered(self, now: float, *, throttled: bool) -> None:
        self.sent.add(now)
        if throttled:
            rate = min(self.sent.rate, self.rate) if self.enabled else self.sent.rate
            self.enabled = True
            wanted = self.curve.throttled(now, rate)
        else:
            wanted = self.curve.rate(now)
        self.rate = max(min(wanted, FASTER * self.sent.rate), MIN_RATE)


def test_the_constants_are_theirs(rows: Any) -> None:
    said = rows["constants"]

    assert (said["beta"], said["scale_constant"], said["smoothing"]) == (BETA, SCALE, SMOOTHING)


def test_the_parameters_of_the_curve(rows: Any) -> None:
    plain, throttled, same_time, decrease = rows["cubic_params"]

    assert Cubic(plain["starting_max_rate"]).flat_after == pytest.approx(plain["expect_k"], abs=plain["tol"])
    curve = Cubic(throttled["start"]["starting_max_rate"])
    assert curve.throttled(throttled["t"], throttled["current_rate"]) == pytest.approx(throttled["expect_new_rate"])
    assert (curve.peak, curve.throttled_at) == (throttled["expect_w_max"], throttled["expect_last_fail"])
    assert curve.flat_after == pytest.approx(throttled["expect_k"])
    curve = Cubic(same_time["start"]["starting_max_rate"], beta=same_time["start"]["beta"])
    assert curve.throttled(same_time["t"], same_time["current_rate"]) == pytest.approx(same_time["expect_new_rate"])
    assert curve.rate(same_time["t"]) == pytest.approx(same_time["then_success_at_same_t"])
    assert Cubic().throttled(0.0, decrease["beta_decrease_only"]) == pytest.approx(decrease["expect"])


def test_the_curve_grows_and_passes_the_rate_of_the_denial_after_its_time(rows: Any) -> None:
    said = rows["cubic_monotone"]
    curve = Cubic(said["starting_max_rate"])
    below, above = said["below_or_equal_w_max_at_fraction_of_k"], said["at_or_above_w_max_at_fraction_of_k"]
    rates = [curve.rate(part * curve.flat_after) for part in (*below, 1.0, *above)]

    assert all(first <= second for first, second in pairwise(rates))
    assert rates[len(below)] == pytest.approx(curve.peak)


def test_rates_after_a_denial_and_after_several(rows: Any) -> None:
    for name in ("cubic_success_series", "cubic_mixed_series"):
        said = rows[name]
        curve, rate = Cubic(said["last_max_rate"], said["last_throttle_t"]), 0.0
        for row in said["rows"]:
            if row.get("throttled"):
                rate = curve.throttled(row["t"], rate)
                curve = Cubic(rate, row["t"])  # Their test goes on from the reduced rate.
            else:
                rate = curve.rate(row["t"])
            assert rate == pytest.approx(row["expect_rate"], rel=1e-9)


def test_the_rate_that_is_measured_and_the_rate_that_is_allowed(rows: Any) -> None:
    limiter = Limiter()
    for row in rows["sending_rate_series"]["rows"]:
        limiter.answered(row["t"], throttled=row["throttled"])
        assert (limiter.sent.rate, limiter.rate) == pytest.approx(
            (row["expect_measured_tx_rate"], row["expect_fill_rate"]), rel=1e-9
        )


def test_a_single_denial_of_a_new_limiter(rows: Any) -> None:
    for row in rows["cubic_throttle_ts_rows"]["rows"]:
        sent = MeasuredRate()
        sent.add(row["t"])
        assert Cubic().throttled(row["t"], sent.rate) == pytest.approx(row["expect_rate"], abs=1e-8)


def test_measured_rates(rows: Any) -> None:
    for case in rows["rate_clocker"]["cases"]:
        sent = MeasuredRate()
        for at in case["events_t"]:
            sent.add(at)
        assert _holds(case, sent.rate), case


def _holds(case: Mapping[str, Any], rate: float) -> bool:
    if "expect_between" in case:
        low, high = case["expect_between"]
        return bool(low <= rate <= high)
    if "expect_at_least" in case:
        return bool(rate >= case["expect_at_least"])
    return rate == pytest.approx(case.get("expect", case.get("expect_approx")), abs=case.get("tol", 1e-9))
