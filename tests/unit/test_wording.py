"""Numbers, spans and reasons as a person reads them at a glance."""

import pytest

from governor import wording as words
from governor.errors import Reason


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1.0, "0 s"),
        (0.0, "0 s"),
        (0.000_001, "0 s"),
        (0.01, "1 s"),
        (41.2, "42 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (200.0, "3 min 20 s"),
        (7_199.5, "2 h"),
        (7_500.0, "2 h 5 min"),
        (172_800.0, "2 d"),
        (273_600.0, "3 d 4 h"),
        (31_622_400.0, "366 d"),
    ],
)
def test_a_span_is_rounded_up_and_has_two_units_at_most(seconds: float, said: str) -> None:
    assert said == words.span(seconds)


@pytest.mark.parametrize(
    ("per_second", "said"),
    [(0.0, "0/s"), (1.0, "1/s"), (8.333, "8.3/s"), (1234.5, "1,235/s"), (0.5, "30/min"), (50 / 3600, "50/h"), (0.25, "15/min")],
)
def test_a_rate_has_the_unit_of_time_that_makes_it_readable(per_second: float, said: str) -> None:
    assert said == words.rate(per_second)


@pytest.mark.parametrize(("number", "said"), [(0, "0"), (0.05, "0.1"), (9.96, "10"), (99.94, "99.9"), (1000.4, "1,000")])
def test_a_number_has_a_decimal_only_where_that_tells_something(number: float, said: str) -> None:
    assert said == words.short(number)


def test_every_reason_has_words_without_underscores() -> None:
    assert [] == [reason for reason in Reason if "_" in words.reason(reason) or not words.reason(reason)]


def test_what_could_move_the_cursor_or_is_not_one_column_wide_is_not_printed() -> None:
    assert "?[2J tab? ? ok" == words.plain("\x1b[2J tab\t 漢 ok")


def test_things_are_counted_in_singular_and_plural() -> None:
    assert ("0 scopes", "1 scope", "2,000 scopes") == tuple(words.several(number, "scope") for number in (0, 1, 2000))
