"""Answers and the hints in them."""

import pytest

from governor._units import HOUR, MINUTE, SECOND, Duration
from governor.hints import Hint, Severity, forbids_retry, is_throttled, read_hints

NOW = 1_700_000_000.0


def wait(provider: str, status: int, headers: dict[str, str], body: bytes | None = None) -> int | None:
    """The longest wait of all hints."""
    hints = read_hints(provider, status, headers, now=NOW, body=body)
    return max((hint.retry_after for hint in hints if hint.retry_after is not None), default=None)


def test_an_answer_that_says_nothing_of_limits_has_no_hint() -> None:
    assert () == read_hints("anyone", 200, {"content-type": "text/plain"}, now=NOW)
    assert () == read_hints("github", 500, {}, now=NOW)


@pytest.mark.parametrize(
    ("name", "no", "yes"),
    [
        (
            "x-should-retry",
            ["false", " False ", '"FALSE"', "?0", "0", "no", "true, false"],
            ["", "true", "?1", "1", "unfalse", "falsehood"],
        ),
        ("stripe-should-retry", ["false"], ["true"]),
        ("grpc-retry-pushback-ms", ["-1", "-2147483648", "soon", ""], ["0", "1500"]),
        ("x-acme-should-retry", [], ["false"]),
    ],
)
def test_a_server_may_ask_not_to_repeat_a_request(name: str, no: list[str], yes: list[str]) -> None:
    assert [text for text in no + yes if forbids_retry({name: text})] == no


def test_a_bare_429_means_a_second() -> None:
    assert (Hint("requests", retry_after=SECOND, severity=Severity.THROTTLED, assumed=True),) == read_hints(
        "anyone", 429, {}, now=NOW
    )


def test_a_limit_with_units_left_forbids_nothing() -> None:
    headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "59", "x-ratelimit-reset": "30"}

    assert (Hint("requests", 60, 59, Duration(30 * SECOND)),) == read_hints("anyone", 200, headers, now=NOW)


@pytest.mark.parametrize(
    "reset", ["1700000060", "1700000060000", "1700000060000000", "1700000060000000000", "60", "1m", "PT1M"]
)
def test_a_limit_without_units_left_forbids_calls_until_its_reset_however_that_is_said(reset: str) -> None:
    assert MINUTE == wait("anyone", 200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset})


def test_no_wait_is_longer_than_the_bound() -> None:
    assert HOUR == wait("anyone", 429, {"retry-after": "9" * 35})
    assert HOUR == wait("anyone", 429, {"retry-after": "1700000030"})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, True),
        ({"retry-after": "30", "x-ratelimit-remaining": "5"}, True),
        ({"x-ratelimit-remaining": "0"}, True),
        ({"x-ratelimit-remaining": "4999"}, False),
    ],
)
def test_a_403_of_github_is_a_limit_unless_units_remain(headers: dict[str, str], expected: bool) -> None:
    assert expected == is_throttled("github", 403, headers)
    assert not is_throttled("anyone", 403, headers)


def test_a_denial_that_says_only_when_the_limit_is_reset_means_that_long() -> None:
    assert 20_500_000 == wait("openai", 429, {"x-ratelimit-reset-requests": "20500.0ms"})
    assert 2_050_000 == wait("openai", 429, {"x-ratelimit-reset-requests": "2.05s"})
    assert MINUTE + 20_050 == wait("openai", 429, {"x-ratelimit-reset-tokens": "1m20.05ms"})


def test_a_secondary_limit_of_github_without_headers_means_a_minute() -> None:
    headers = {"x-ratelimit-remaining": "4999", "x-ratelimit-reset": "1700003000"}
    body = b'{"message": "You have exceeded a secondary rate limit."}'

    assert MINUTE == wait("github", 403, headers, body)
    assert wait("github", 403, headers, b'{"message": "Resource not accessible"}') is None
    assert MINUTE == wait("github", 429, {})
