"""Durations and limits as text: every form, and every mistake."""

from functools import partial

import pytest

from governor._units import DAY, HOUR, MAX_DURATION, MILLISECOND, MINUTE, SECOND, Duration
from governor.config import describe, describe_duration, parse_duration, parse_limit
from governor.errors import ConfigError
from governor.policies.contract import Limit
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.windows.parameters import StrictWindow


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0s", 0),
        ("1us", 1),
        ("250ms", 250 * MILLISECOND),
        ("60s", MINUTE),
        ("1m", MINUTE),
        ("5min", 5 * MINUTE),
        ("2 minutes", 2 * MINUTE),
        ("1.5h", 90 * MINUTE),
        ("1h30m", 90 * MINUTE),
        ("1m30s", 90 * SECOND),
        ("1D 1 Hour", DAY + HOUR),
        ("0.000001s", 1),
        ("1_000ms", SECOND),
        ("366d", MAX_DURATION),
        ("2w", 14 * DAY),
        ("1 week", 7 * DAY),
        ("3 wks", 21 * DAY),
        ("30sec", 30 * SECOND),
        ("1hr 30mins", 90 * MINUTE),
        ("20 secs", 20 * SECOND),
    ],
)
def test_a_duration_is_text_with_a_unit(text: str, span: int) -> None:
    assert span == parse_duration(text)


@pytest.mark.parametrize(
    "value", ["", "60", 60, 60.0, None, True, "s", "-1s", "1 fortnight", "1s,", "1.s", ".5s", "1__0s", "٣s"]
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match=r"with a unit .* for instance '60s'") as caught:
        parse_duration(value, field="outbound.github.breaker.open_for")

    assert ("outbound.github.breaker.open_for", value) == (caught.value.field, caught.value.value)


def test_a_duration_has_whole_microseconds() -> None:
    with pytest.raises(ConfigError, match="whole microseconds"):
        parse_duration("0.5us")


def test_a_duration_ends_at_366_days_to_the_microsecond() -> None:
    with pytest.raises(ConfigError, match="at most 366 days"):
        parse_duration(f"{MAX_DURATION + 1}us")

    assert MAX_DURATION == parse_duration(f"{int(MAX_DURATION)}us")


def test_digits_without_end_are_rejected_and_not_calculated() -> None:
    with pytest.raises(ConfigError, match="duration"):
        parse_duration("9" * 5_000 + "s")


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (1, "1us"), (1_500, "1500us"), (90 * SECOND, "90s"), (MINUTE, "1m"), (90 * MINUTE, "90m"), (DAY, "1d")],
)
def test_a_duration_is_described_in_the_largest_unit_that_fits(span: int, text: str) -> None:
    assert text == describe_duration(Duration(span))


LIMITS = [
    ("60/minute burst 10", TokenBucket(60, MINUTE, 10)),
    ("10/s burst 100", TokenBucket(10, SECOND, 100)),
    ("8.33/s burst 500", TokenBucket(833, Duration(100 * SECOND), 500)),
    ("7.5/minute burst 7", TokenBucket(15, Duration(2 * MINUTE), 7)),
    ("1/2s burst 1", TokenBucket(1, Duration(2 * SECOND), 1)),
    ("20/2s burst 5", TokenBucket(20, Duration(2 * SECOND), 5)),
    ("60/60d burst 60", TokenBucket(60, Duration(60 * DAY), 60)),
    ("5/250ms burst 5", TokenBucket(5, Duration(250 * MILLISECOND), 5)),
    ("40000 tokens/minute burst 40000", TokenBucket(40_000, MINUTE, 40_000, "tokens")),
    ("60 per minute strict", StrictWindow(60, MINUTE)),
    ("5000 per hour strict", StrictWindow(5_000, HOUR)),
    ("1000 per day strict", StrictWindow(1_000, DAY)),
    ("100 per 10s strict", StrictWindow(100, Duration(10 * SECOND))),
    ("90000 tokens per minute strict", StrictWindow(90_000, MINUTE, "tokens")),
    ("30 in flight", InFlight(30)),
]


@pytest.mark.parametrize(("text", "limit"), LIMITS)
def test_a_limit_is_read_from_its_text(text: str, limit: Limit) -> None:
    assert limit == parse_limit(text)


@pytest.mark.parametrize(("text", "limit"), LIMITS)
def test_a_limit_is_described_by_its_text(text: str, limit: Limit) -> None:
    assert text == describe(limit)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("60 per minute burst 10", "60/minute burst 10"),
        ("60 / minute strict", "60 per minute strict"),
        ("  60/Minute   Burst 10 ", "60/minute burst 10"),
        ("90_000 tokens per 1 min strict", "90000 tokens per minute strict"),
        ("60 requests per minute strict", "60 per minute strict"),
        ("100 per 10 s strict", "100 per 10s strict"),
        ("10/seconds burst 1", "10/s burst 1"),
        ("0.5/s burst 1", "1/2s burst 1"),
        ("60.0 per minute strict", "60 per minute strict"),
        ("1 per 1m30s burst 1", "1/90s burst 1"),
        ("2 req/min", "2/minute"),
        ("2 request per hour strict", "2 per hour strict"),
        ("2 Calls / hr burst 1", "2/hour burst 1"),
        ("2 queries per wk strict", "2 per 7d strict"),
        ("2 token per hour strict", "2 tokens per hour strict"),
        ("2 input_token/sec", "2 input_tokens/s"),
    ],
)
def test_a_limit_may_be_written_in_other_ways(text: str, same: str) -> None:
    assert parse_limit(same) == parse_limit(text)


@pytest.mark.parametrize(("text", "burst"), [("60/minute", 60), ("8.33/s", 8), ("0.5/s", 1), ("1/10s", 1), ("1.999/s", 1)])
def test_without_a_burst_a_bucket_holds_the_amount_of_one_period_and_at_least_one(text: str, burst: int) -> None:
    limit = parse_limit(text)

    assert isinstance(limit, TokenBucket)
    assert burst == limit.burst


def test_a_limit_object_is_answered_as_it_is() -> None:
    limit = InFlight(3)

    assert limit is parse_limit(limit)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "60",
        60,
        None,
        ["60/minute"],
        "60/minut",
        "60 minute",
        "/minute",
        "-60/minute",
        "60/minute bust 10",
        "60/minute burst",
        "60/minute burst 1.5",
        "60/minute burst 10 strict",
        "60 per minute strict burst 10",
        "1e3/s",
        "60/0.5us",
        "60tokens/minute",
        "60 hot tokens/minute",
        "1.5 in flight",
        "in flight",
        "6" * 201,
    ],
)
def test_anything_else_is_no_limit(value: object) -> None:
    with pytest.raises(ConfigError, match="a limit as text, for instance '60/minute burst 10'") as caught:
        parse_limit(value, field="outbound.github.limits[0]")

    assert ("outbound.github.limits[0]", value) == (caught.value.field, caught.value.value)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("0/minute", "a limit whose amount is a whole number from 1 to"),
        ("0 in flight", "a limit whose amount is a whole number from 1 to"),
        ("60/minute burst 0", "a limit whose burst is a whole number from 1 to"),
        ("9999999999999 per minute strict", "a limit whose amount is a whole number from 1 to"),
        ("60/0s", "a limit whose per is a duration from 1"),
        ("0.01/30d", "a limit whose per is a duration from 1us to 366d"),
        ("8.33 per s strict", "a limit whose amount is a whole number, as every strict window needs"),
        ("60 9x per minute strict", "a limit whose unit is one lower-case word"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_rejected_with_the_text_and_the_reason(text: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limit(text)

    assert text == caught.value.value
    assert caught.value.allowed.startswith(allowed)


@pytest.mark.parametrize(
    ("text", "window", "bucket"),
    [
        ("60 per minute", "60 per minute strict", "60/minute"),
        ("2 calls per 10s", "2 per 10s strict", "2/10s"),
        ("900 token per hr", "900 tokens per hour strict", "900 tokens/hr"),
        ("8.33 per s", "833 per 100s strict", "8.33/s"),
    ],
)
def test_a_limit_that_does_not_say_its_kind_is_rejected_with_both_spellings(text: str, window: str, bucket: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_limit(text)

    assert (
        f"a limit whose kind is said: {window!r} for a strict window, or {bucket!r} for a token bucket" == caught.value.allowed
    )
    assert (StrictWindow, TokenBucket) == (type(parse_limit(window)), type(parse_limit(bucket)))


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *[(word, "requests") for word in ("requets", "reqeusts", "rquests", "requestss", "callls", "clals", "queris")],
        *[(word, "tokens") for word in ("tokns", "toknes", "tokenss", "tokkens")],
    ],
)
def test_a_unit_that_is_nearly_requests_or_tokens_is_rejected_with_the_near_name(word: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"\(did you mean '{meant}'\?\)"):
        parse_limit(f"5 {word}/minute")
    with pytest.raises(ConfigError, match=rf"\(did you mean '{meant}'\?\)"):
        StrictWindow(5, MINUTE, word)


@pytest.mark.parametrize("unit", ["images", "chars", "cells", "bits", "data", "subrequests", "input_tokens", "usd", "pages"])
def test_units_of_other_kinds_stay_as_they_are_written(unit: str) -> None:
    assert StrictWindow(5, MINUTE, unit) == parse_limit(f"5 {unit} per minute strict")


@pytest.mark.parametrize(("word", "meant"), [("token", "tokens"), ("call", "requests"), ("credit", "credits")])
def test_a_limit_object_names_its_unit_in_the_one_spelling(word: str, meant: str) -> None:
    for kind in (partial(TokenBucket, burst=5), StrictWindow):
        with pytest.raises(ConfigError, match=rf"^unit is '{word}'; .* \(did you mean '{meant}'\?\)"):
            kind(amount=5, per=MINUTE, unit=word)
