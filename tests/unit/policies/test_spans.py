"""Durations of settings: text or a timedelta, never a bare number."""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pickle import dumps, loads
from typing import Any

import msgspec
import pytest

from governor import Breaker, ConfigError, Duration, Retry, RetryBudget, StrictWindow, TokenBucket
from governor.config import GlobalSettings
from governor.policies.degraded import Degraded

#: Each kind of record with one of its durations, which may be 30 seconds or 5 minutes.
RECORDS: dict[str, Callable[[Any], msgspec.Struct]] = {
    "per": lambda span: TokenBucket(60, span, 10),
    "per ": lambda span: StrictWindow(60, span),
    "window": lambda span: Breaker(failure_rate=0.5, window=span),
    "slow_call": lambda span: Breaker(slow_call=span),
    "open_for": lambda span: Breaker(open_for=span),
    "probe_deadline": lambda span: Breaker(probe_deadline=span),
    "first_delay": lambda span: Retry(first_delay=span, max_delay="1h"),
    "max_delay": lambda span: Retry(max_delay=span),
    "window ": lambda span: RetryBudget(window=span),
    "cooldown": lambda span: Degraded(cooldown=span),
    "degraded_cooldown": lambda span: GlobalSettings(degraded_cooldown=span),
    "idle_after": lambda span: GlobalSettings(idle_after=span),
}
EACH = pytest.mark.parametrize("field", RECORDS)


@EACH
def test_text_and_a_timedelta_mean_the_same_and_are_shown_as_text(field: str) -> None:
    made = RECORDS[field]("5m")

    assert made == RECORDS[field](timedelta(minutes=5)) == RECORDS[field](Duration(300_000_000))
    assert f"{field.strip()}='5m'" in repr(made)


@EACH
@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, 1), (90, 90), (0, 60), (-1, 60), (1.5, 60), (True, 60), (float("nan"), 60), (10**7, 60), (b"1", 60)],
)
def test_a_bare_number_is_refused_with_both_forms(field: str, number: object, shown: int) -> None:
    with pytest.raises(ConfigError) as caught:
        RECORDS[field](number)

    assert field.strip() == caught.value.field
    assert f"expected a duration with a unit, for instance '{shown}s' or timedelta(seconds={shown})" in str(caught.value)


@EACH
@pytest.mark.parametrize("span", ["0s", "367d", "5", "5 parsecs", timedelta(0), timedelta(days=367), timedelta(seconds=-1)])
def test_a_span_out_of_range_is_refused(field: str, span: object) -> None:
    with pytest.raises(ConfigError, match=f"^{field.strip()} is .*; expected a duration "):
        RECORDS[field](span)


@EACH
def test_a_record_may_be_copied_pickled_and_changed(field: str) -> None:
    made = RECORDS[field]("30s") if field != "idle_after" else RECORDS[field]("5m")
    name = field.strip()

    assert made == loads(dumps(made)) == deepcopy(made) == msgspec.structs.replace(made)
    assert "2m" == str(getattr(msgspec.structs.replace(made, **{name: "2m"}), name))
