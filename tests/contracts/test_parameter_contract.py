"""The contract of parameters, over every record of settings: whole numbers, durations as text or `timedelta`, units."""

import math
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from functools import partial
from pickle import dumps, loads
from types import MappingProxyType, NoneType
from typing import Final, cast

import msgspec
import pytest

from governor import ConfigError
from governor._units import Duration
from governor.config import Config, GlobalSettings, InboundSettings, LoggingSettings, MachineSettings, ScopeSettings
from governor.policies.breakers.parameters import Breaker
from governor.policies.degraded import Degraded
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import kinds
from governor.policies.loops import Loops
from governor.policies.request_cap import RequestCap
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget
from governor.policies.windows.parameters import StrictWindow
from tests.support.numbers import Number

Make = Callable[..., msgspec.Struct]

#: Each kind of record, with every number and duration set that may be absent. Each of its durations may be 30 s or 5 min.
RECORDS: Final[list[Make]] = [
    partial(TokenBucket, amount=60, per="1m", burst=10),
    partial(StrictWindow, amount=60, per="1m"),
    partial(InFlight, amount=30),
    partial(RequestCap),
    partial(Breaker, failure_rate=0.5, window="1m", slow_call="1m"),
    partial(Breaker, failure_rate=0.5, window_calls=100),
    partial(Degraded, excess=5),
    partial(Retry, max_delay="1h"),
    partial(RetryBudget),
    partial(Loops),
    partial(GlobalSettings),
    partial(cast("Make", ScopeSettings), arrival_margin="1m", linger="1m"),
    partial(InboundSettings),
    partial(LoggingSettings),
    partial(MachineSettings),
]
#: What they cover, and what a configuration holds beside records.
COVERED: Final = {*(type(make()) for make in RECORDS), tuple, float, str, MappingProxyType, NoneType}
#: The smallest value of a whole number that may not be 1.
LEAST: Final = {"excess": 0, "floor": 0, "ipv6_prefix": 32, "repeats": 3, "similar": 3}
#: No whole number that any setting takes.
WRONG: Final = [-1, True, False, 1.0, 0.5, math.nan, math.inf, "1", [], object, 10**15]
BARE: Final = [(1, 1), (90, 90), (0, 60), (-1, 60), (1.5, 60), (True, 60), (math.nan, 60), (10**7, 60), (b"1", 60)]
NO_SPANS: Final = ["0s", "367d", "5", "5 parsecs", timedelta(0), timedelta(days=367), timedelta(seconds=-1)]


def each(kind: type[int]) -> pytest.MarkDecorator:
    """Every field of every record that holds such a value."""
    found = [
        pytest.param(make, field, id=f"{type(record).__name__}.{field}")
        for make in RECORDS
        for record in [make()]
        for field in record.__struct_fields__
        if type(getattr(record, field)) is kind
    ]
    return pytest.mark.parametrize(("make", "field"), found)


def refusal(make: Make, field: str, value: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make(**{field: value})
    assert (field, value) == (caught.value.field, caught.value.value)
    return caught.value


def test_every_record_with_numbers_is_covered() -> None:
    limits = {kind.limit for kind in kinds()}
    sections = {type(section) for section in msgspec.structs.astuple(Config.from_mapping({}))}

    assert set() == {*limits, *sections, *map(type, msgspec.structs.astuple(ScopeSettings()))} - COVERED


@each(int)
def test_a_number_that_cannot_be_is_rejected_by_name(make: Make, field: str) -> None:
    least = LEAST.get(field, 1)
    (described,) = (known for known in msgspec.structs.fields(type(make())) if known.name == field)
    wrong = [*WRONG, least - 1, *([None] if described.type is int else [])]

    for value in wrong:
        assert f"; expected a whole number from {least} to " in str(refusal(make, field, value))


@each(int)
def test_a_whole_number_of_another_type_is_kept_as_a_plain_one(make: Make, field: str) -> None:
    value = getattr(make(), field)

    assert repr(make()) == repr(make(**{field: Number(value)}))


@each(Duration)
def test_text_and_a_timedelta_mean_the_same_and_are_shown_as_text(make: Make, field: str) -> None:
    made = make(**{field: "5m"})

    assert made == make(**{field: timedelta(minutes=5)}) == make(**{field: Duration(300_000_000)})
    assert f"{field}='5m'" in repr(made)


@each(Duration)
def test_a_bare_number_is_rejected_with_both_forms(make: Make, field: str) -> None:
    for number, shown in BARE:
        said = f"expected a duration with a unit, for instance '{shown}s' or timedelta(seconds={shown})"

        assert said in str(refusal(make, field, number))


@each(Duration)
def test_a_span_out_of_range_is_rejected(make: Make, field: str) -> None:
    for span in NO_SPANS:
        assert f"{field} is " in (said := str(refusal(make, field, span)))
        assert "; expected a duration " in said


@each(Duration)
def test_a_record_may_be_copied_pickled_and_changed(make: Make, field: str) -> None:
    made = make(**{field: "5m"})

    assert made == loads(dumps(made)) == deepcopy(made) == msgspec.structs.replace(made)
    assert "30s" == str(getattr(msgspec.structs.replace(made, **{field: "30s"}), field))


@pytest.mark.parametrize("make", RECORDS[:2])
def test_a_unit_is_one_lower_case_word(make: Make) -> None:
    for unit in ("", "Tokens", "two words", "9lives", "a-b", None, 1):
        assert "; expected one lower-case word" in str(refusal(make, "unit", unit))
