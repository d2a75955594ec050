"""Counters count what they say, and sums add up."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import CounterRecord, Reason
from governor._actors.counters import Counters
from governor.policies.contract import Result
from governor.statistics import COUNTS, CounterSum

RECORDS: Final = st.builds(
    CounterRecord,
    **dict.fromkeys(COUNTS, st.integers(0, 3)),
    denied=st.dictionaries(st.sampled_from(Reason), st.integers(1, 3), max_size=2),
    dropped=st.dictionaries(st.sampled_from(["tokens", "usd"]), st.integers(1, 3)),
)


def test_nothing_has_happened_at_first() -> None:
    assert CounterRecord() == Counters().record()


@pytest.mark.parametrize(
    ("status", "result", "counted"),
    [
        (200, Result.SUCCESS, CounterRecord(answered_2xx=1)),
        (299, Result.SUCCESS, CounterRecord(answered_2xx=1)),
        (300, Result.SUCCESS, CounterRecord(others=1)),
        (101, Result.SUCCESS, CounterRecord(others=1)),
        (400, Result.SUCCESS, CounterRecord(answered_4xx=1)),
        (429, Result.SUCCESS, CounterRecord(answered_4xx=1, answered_429=1)),
        (500, Result.FAILURE, CounterRecord(answered_5xx=1)),
        (599, Result.FAILURE, CounterRecord(answered_5xx=1)),
        (200, Result.FAILURE, CounterRecord(failures=1)),
        (None, Result.SUCCESS, CounterRecord(others=1)),
        (None, Result.FAILURE, CounterRecord(failures=1)),
        (None, Result.NEUTRAL, CounterRecord(neutral=1)),
        (200, Result.NEUTRAL, CounterRecord(neutral=1)),
    ],
)
def test_an_outcome_is_counted_in_one_place(status: int | None, result: Result, counted: CounterRecord) -> None:
    counters, several = Counters(), Counters()
    counters.ended(status, result)
    several.ended(status, result, 3)

    assert counted == counters.record()
    assert counted + counted + counted == several.record()


def test_a_record_is_of_its_moment() -> None:
    counters = Counters()
    counters.requests = 1
    counters.some_denied()[Reason.RATE_LIMIT] = 2
    counters.some_dropped()["tokens"] = 3
    record = counters.record()
    counters.requests = 5
    counters.denied[Reason.RATE_LIMIT] = counters.dropped["tokens"] = 9

    assert CounterRecord(requests=1, denied={Reason.RATE_LIMIT: 2}, dropped={"tokens": 3}) == record


def test_what_no_scope_has_denied_cannot_be_added_to() -> None:
    with pytest.raises(TypeError):
        Counters().denied[Reason.RATE_LIMIT] = 1
    with pytest.raises(TypeError):
        Counters().dropped["tokens"] = 1

    assert CounterRecord() == Counters().record()


def test_records_add_up_field_by_field() -> None:
    one = CounterRecord(requests=1, answered_2xx=2, retries=3, neutral=1, denied={Reason.OVERLOADED: 1, Reason.LOOP: 2})
    other = CounterRecord(requests=10, answered_5xx=20, failures=30, denied={Reason.OVERLOADED: 5})

    assert (
        CounterRecord(
            requests=11,
            answered_2xx=2,
            answered_5xx=20,
            failures=30,
            neutral=1,
            retries=3,
            denied={Reason.OVERLOADED: 6, Reason.LOOP: 2},
        )
        == one + other
    )


@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_a_sum_of_many_records_is_what_their_addition_gives(records: list[CounterRecord]) -> None:
    total = CounterSum(records[0])
    total.add(records[1:2])
    total.add(records[2:])

    assert sum(records[1:], records[0]) == total.record()
