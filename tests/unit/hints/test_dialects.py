"""Dialects are data: one file each, found by the name of the provider."""

import re
from datetime import date
from pathlib import Path
from typing import Final

import pytest

from governor._units import MINUTE, SECOND
from governor.errors import ConfigError
from governor.hints import Severity, built_in_dialects, dialect_of, is_throttled, read_hints
from governor.hints.dialect import read_dialects
from tests.support.programs import run

GUIDE: Final = Path(__file__).resolve().parents[3] / "CONTRIBUTING.md"
#: What the guide for contributors shows.
EXAMPLE: Final = re.search(r"```toml\n(title = .*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[1]  # type: ignore[index]  # the page has one


def test_a_new_dialect_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "weather.toml").write_text(EXAMPLE, encoding="utf-8")
    weather = read_dialects(tmp_path)["weather"]
    headers = {"x-weather-quota": "100", "x-weather-left": "0", "x-weather-next": "1500"}

    (hint,) = read_hints(weather, 200, headers, now=0.0)
    assert ("forecasts", 100, 0, 1_500_000, 1_500_000) == (
        hint.dimension,
        hint.limit,
        hint.remaining,
        hint.reset,
        hint.retry_after,
    )
    assert [True, True, False] == [
        is_throttled(weather, status, said) for status, said in ((509, {}), (403, headers), (403, {}))
    ]
    assert [5 * SECOND] == [hint.retry_after for hint in read_hints(weather, 509, {}, now=0.0)]


@pytest.mark.parametrize(
    "text", ["title = 1", EXAMPLE + "[[limit]]\n", EXAMPLE.replace('"5s"', '"5"'), 'title = "a', "[[limits]]\nname = 'x'"]
)
def test_a_file_that_is_not_a_dialect_is_rejected_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "weather.toml").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"dialect weather\.toml: "):
        read_dialects(tmp_path)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("GitHub", "GitHub"),
        ("openai/gpt-5", "OpenAI"),
        ("github:post", "GitHub"),
        ("azure_openai", "Azure OpenAI"),
        ("github-enterprise", "GitHub"),
        ("stack_exchange-eu.1", "Stack Exchange"),
        ("x", "X"),
        ("x-ray", "any other provider"),
        ("", "any other provider"),
        ("a" * 10_000, "any other provider"),
    ],
)
def test_a_dialect_is_found_by_the_name_of_the_provider(name: str, title: str) -> None:
    assert title == dialect_of(name).title


@pytest.mark.parametrize("name", built_in_dialects())
def test_every_dialect_names_its_source_and_date(name: str) -> None:
    dialect = built_in_dialects()[name]

    assert dialect.source.startswith("https://")
    assert date(2015, 1, 1) < dialect.date <= date(2026, 12, 31)


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("github", b'{"data": null, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}'),
        ("shopify", b'{"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}'),
        ("slack", b'{"ok": false, "error": "ratelimited"}'),
        ("some-provider", b'{"errors": [{"extensions": {"code": "RATELIMITED"}}]}'),
    ],
)
def test_an_answer_200_whose_body_says_rate_limited_is_a_denial(provider: str, body: bytes) -> None:
    assert is_throttled(provider, 200, {}, body)
    assert [Severity.THROTTLED] == [hint.severity for hint in read_hints(provider, 200, {}, now=0.0, body=body)]
    assert () == read_hints(provider, 200, {}, now=0.0, body=b'{"data": {}}')


@pytest.mark.parametrize("provider", ["gemini", "some-provider"])
def test_the_wait_of_google_is_in_the_body(provider: str) -> None:
    body = (
        b'{"error": {"status": "RESOURCE_EXHAUSTED", "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}'
    )

    assert [34_500_000] == [hint.retry_after for hint in read_hints(provider, 429, {}, now=0.0, body=body)]


def test_a_bucket_of_discord_holds_its_scope_and_the_global_limit_the_provider() -> None:
    bucket = {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.5", "x-ratelimit-bucket": "abc"}

    assert ["scope"] == [hint.scope for hint in read_hints("discord", 200, bucket, now=0.0)]
    assert {"provider"} == {
        hint.scope for hint in read_hints("discord", 429, {**bucket, "x-ratelimit-global": "true"}, now=0.0)
    }


def test_units_that_are_not_known_say_nothing() -> None:
    unknown = {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}
    unlimited = {"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"}

    assert all(hint.retry_after is None for hint in read_hints("azure", 200, unknown, now=0.0))
    assert all(hint.retry_after is None for hint in read_hints("some-provider", 200, unlimited, now=0.0))


def test_a_limit_of_a_minute_without_a_reset_is_available_after_a_minute() -> None:
    headers = {"x-ratelimit-limit-minute": "20", "x-ratelimit-remaining-minute": "0"}

    assert [MINUTE] == [hint.retry_after for hint in read_hints("kong", 200, headers, now=0.0)]


def test_policies_of_the_ietf_are_limits_in_every_draft() -> None:
    forms = [
        {"ratelimit-policy": '"burst";q=100;w=60;qu="requests"', "ratelimit": '"burst";r=50;t=30'},
        {"ratelimit-policy": "100;w=60", "ratelimit": "limit=100, remaining=50, reset=30"},
        {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
    ]

    for headers in forms:
        (hint,) = read_hints("some-provider", 200, headers, now=0.0)
        assert (100, 50, 30 * SECOND, MINUTE) == (hint.limit, hint.remaining, hint.reset, hint.window)


@pytest.mark.promise("R11", "R64")
def test_names_are_text_that_can_be_sent_to_a_daemon() -> None:
    said = {"ratelimit": '"a\udcff";r=5;t=1', "ratelimit-policy": '"a\udcff";q=9;w=60'}
    (hint,) = read_hints("weather", 200, said, now=0.0)

    assert (9, "a?") == (hint.limit, hint.name)


def test_a_policy_without_a_state_is_a_limit() -> None:
    (hint,) = read_hints("some-provider", 200, {"ratelimit-policy": '"day";q=1000;w=86400'}, now=0.0)

    assert (1_000, None, None, "day") == (hint.limit, hint.remaining, hint.retry_after, hint.name)


def test_threads_may_read_their_first_answers_at_once() -> None:
    # Two threads that have msgspec learn the same type at once crash the process.
    program = """
    import sys, threading, time
    from governor.hints import dialect_of

    def slowly(frame, event, _):
        if event == "call" and "msgspec" in frame.f_code.co_filename:
            time.sleep(0.002)

    def first():
        barrier.wait()
        dialect_of("weather")

    sys.setswitchinterval(1e-6)
    threading.setprofile(slowly)
    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(dialect_of("weather").title)
    """
    assert run(program, fresh=True)
