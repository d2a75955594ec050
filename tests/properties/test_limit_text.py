"""Laws of limits and durations as text."""

import re
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from governor._units import DAY, HOUR, MAX_DURATION, MICROSECOND, MILLISECOND, MINUTE, SECOND, Duration
from governor.config import describe, describe_duration, parse_duration, parse_limit
from governor.errors import ConfigError
from governor.policies import unit_names
from governor.policies._checks import MAX_AMOUNT
from governor.policies.contract import Limit
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.windows.parameters import StrictWindow

AMOUNTS = st.integers(1, 2_000) | st.integers(1, MAX_AMOUNT)
SPANS = st.builds(
    Duration,
    st.builds(lambda count, unit: count * unit, st.integers(1, 366), st.sampled_from([1, 1_000, SECOND, MINUTE, HOUR, DAY]))
    | st.integers(1, MAX_DURATION),
)
UNITS = (
    st.just("requests")
    | st.sampled_from(["tokens", "per", "strict", "burst", "in", "flight", "s", "minute"])
    | st.text(max_size=100).map(str.lower).filter(lambda unit: unit.isidentifier() and unit == unit.lower())
).filter(lambda unit: unit_names.near(unit) is None)
LIMITS: st.SearchStrategy[Limit] = st.one_of(
    st.builds(TokenBucket, AMOUNTS, SPANS, AMOUNTS, UNITS),
    st.builds(StrictWindow, AMOUNTS, SPANS, UNITS),
    st.builds(InFlight, AMOUNTS),
)
WORDS = {
    "usec microsecond": MICROSECOND,
    "msec millisecond": MILLISECOND,
    "sec second": SECOND,
    "min minute": MINUTE,
    "hr hour": HOUR,
    "day": DAY,
    "wk week": Duration(7 * DAY),
}
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
    assume(total <= MAX_DURATION)
    text = " ".join(f"{count}{symbol}" for count, (symbol, _) in parts)
    assume(len(text) <= 200)

    assert total == parse_duration(text)


@given(st.text() | PIECES)
def test_a_text_is_read_or_denied_and_never_anything_else(text: str) -> None:
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
    assert isinstance(limit, TokenBucket) == ("/" in text or "burst" in text) or text.strip().endswith("strict")


#: A word for a period in as many spellings as people use.
PERIOD_WORDS = st.sampled_from(
    [(word + end, span) for words, span in WORDS.items() for word in words.split() for end in ("", "s")]
    + [
        ("us", MICROSECOND),
        ("ms", MILLISECOND),
        ("s", SECOND),
        ("m", MINUTE),
        ("h", HOUR),
        ("d", DAY),
        ("w", Duration(7 * DAY)),
    ]
)
REQUEST_WORDS = ["req", "reqs", "request", "requests", "call", "calls", "hit", "hits", "query", "queries", "Calls"]
UNIT_WORDS = st.sampled_from(
    [("", "requests")]
    + [(word, "requests") for word in REQUEST_WORDS]
    + [(word, "tokens") for word in ("token", "tokens", "TOKEN")]
    + [(word, word) for word in ("images", "input_tokens", "chars", "cells", "data")]
)


@pytest.mark.promise("R53")
@given(
    st.integers(1, 5000), UNIT_WORDS, PERIOD_WORDS, st.sampled_from([" per {} strict", "/{} strict", "/{}", " / {} burst 7"])
)
def test_every_usual_spelling_of_unit_and_period_is_the_same_limit(
    amount: int, unit: tuple[str, str], period: tuple[str, Duration], form: str
) -> None:
    limit = parse_limit(f"{amount} {unit[0]}{form.format(period[0])}")

    assert isinstance(limit, (TokenBucket, StrictWindow))
    assert (amount, unit[1], period[1]) == (limit.amount, limit.unit, limit.per)
    assert limit == parse_limit(describe(limit))


@given(st.integers(1, 5000), UNIT_WORDS, PERIOD_WORDS)
def test_both_spellings_that_are_offered_for_a_limit_without_a_kind_are_understood(
    amount: int, unit: tuple[str, str], period: tuple[str, Duration]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limit(f"{amount} {unit[0]} per {period[0]}")
    offered = [parse_limit(text) for text in re.findall("'([^']+)'", caught.value.allowed)]

    assert [
        StrictWindow(amount, period[1], unit[1]),
        TokenBucket(amount, period[1], amount, unit[1]),
    ] == offered
