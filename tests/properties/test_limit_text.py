"""Laws of limits and durations as text."""

import re
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governor._units import DAY, HOUR, LONGEST, MINUTE, SECOND, Duration
from governor.config import describe, describe_duration, parse_duration, parse_limit
from governor.errors import ConfigError
from governor.policies._checks import MOST
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.window import StrictWindow

AMOUNTS = st.integers(1, 2_000) | st.integers(1, MOST)
SPANS = st.builds(
    Duration,
    st.builds(lambda count, unit: count * unit, st.integers(1, 366), st.sampled_from([1, 1_000, SECOND, MINUTE, HOUR, DAY]))
    | st.integers(1, LONGEST),
)
UNITS = (
    st.just("requests")
    | st.sampled_from(["tokens", "per", "strict", "burst", "in", "flight", "s", "minute"])
    | st.text(max_size=100).map(str.lower).filter(lambda unit: unit.isidentifier() and unit == unit.lower())
)
LIMITS: st.SearchStrategy[Limit] = st.one_of(
    st.builds(TokenBucket, AMOUNTS, SPANS, AMOUNTS, UNITS),
    st.builds(StrictWindow, AMOUNTS, SPANS, UNITS),
    st.builds(InFlight, AMOUNTS),
)
#: Pieces of the grammar in any order: near misses, where a parser is most likely to fall over.
PIECES = st.lists(
    st.sampled_from(
        ["60", "8.33", "0", "1_0", "/", "per", "s", "m", "minute", "burst", "strict", "in", "flight", "tokens", " ", "."]
    )
).map("".join)


@pytest.mark.promise("R53")
@given(LIMITS)
def test_the_description_of_a_limit_is_read_as_the_same_limit(limit: Limit) -> None:
    assert limit == parse_limit(describe(limit))


@pytest.mark.promise("R53")
@given(st.just(Duration(0)) | SPANS)
def test_the_description_of_a_duration_is_read_as_the_same_duration(span: Duration) -> None:
    assert span == parse_duration(describe_duration(span))


@given(st.decimals(min_value="0.001", max_value=100_000, places=3), st.sampled_from([("s", SECOND), ("minute", MINUTE)]))
def test_a_decimal_rate_is_kept_exactly(amount: object, period: tuple[str, Duration]) -> None:
    name, span = period
    bucket = parse_limit(f"{amount}/{name}")

    assert isinstance(bucket, TokenBucket)
    assert Fraction(str(amount)) / span == Fraction(bucket.amount, bucket.per)


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.sampled_from([("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)])), min_size=1
    )
)
def test_the_parts_of_a_duration_add_up(parts: list[tuple[int, tuple[str, Duration]]]) -> None:
    total = sum(count * span for count, (_, span) in parts)
    assume(total <= LONGEST)
    text = " ".join(f"{count}{symbol}" for count, (symbol, _) in parts)
    assume(len(text) <= 200)

    assert total == parse_duration(text)


@given(st.text() | PIECES)
def test_a_text_is_read_or_refused_and_never_anything_else(text: str) -> None:
    for parse in (parse_duration, parse_limit):
        with suppress(ConfigError):
            parse(text)


@given(PIECES)
def test_what_is_read_starts_with_a_digit_and_names_its_kind(text: str) -> None:
    try:
        limit = parse_limit(text)
    except ConfigError:
        return

    assert re.match(r"\s*[0-9]", text)
    assert isinstance(limit, StrictWindow) == text.strip().endswith("strict")
    assert isinstance(limit, InFlight) == text.strip().endswith("flight")
