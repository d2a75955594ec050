"""Retries that are planned, and counted."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from governor import CallFailure, Config, ConfigError, Governor, NoRetry
from governor.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R05")]


def governed(clock: ManualClock | None = None, **retry: object) -> Governor:
    section: Mapping[str, object] = {"limits": [], "retry": {"jitter": "none", **retry}}
    config = Config.from_mapping({"global": {"requests_per_minute": 10**6}, "outbound": {"default": section}})
    return Governor(config, clock=clock or ManualClock(), random=Random(1))


async def test_the_wait_grows_until_the_attempts_are_used_up() -> None:
    async with governed(attempts=4, base=3.0, max_delay="5s") as governor:
        waits = [governor.plan_retry("weather", "GET", attempt=attempt).delay for attempt in (1, 2, 3, 4)]

    assert [1.0, 3.0, 5.0, None] == waits


@pytest.mark.parametrize(
    ("method", "repeated"), [("GET", True), ("get", True), ("PUT", True), ("POST", False), ("PATCH", False)]
)
async def test_only_what_may_be_done_twice_is_done_twice(method: str, repeated: bool) -> None:
    async with governed() as governor:
        plain = governor.plan_retry("weather", method, attempt=1, status=503).delay
        keyed = governor.plan_retry("weather", method, attempt=1, status=503, idempotency_key=True).delay

    assert repeated == (plain is not None)
    assert keyed is not None


@pytest.mark.parametrize(("status", "repeated"), [(None, True), (503, True), (429, True), (404, False), (501, False)])
async def test_only_failures_that_may_pass_are_worth_another_attempt(status: int | None, repeated: bool) -> None:
    async with governed() as governor:
        wait = governor.plan_retry("weather", "GET", attempt=1, status=status).delay

    assert repeated == (wait is not None)


@pytest.mark.parametrize(
    ("failure", "listed", "other"),
    [
        (CallFailure.UNSENT, None, None),
        (CallFailure.BROKEN, None, NoRetry.METHOD),
        (CallFailure.TIMEOUT, NoRetry.UNCERTAIN, NoRetry.METHOD),
        (None, NoRetry.UNCERTAIN, NoRetry.METHOD),
    ],
)
async def test_a_call_that_got_no_answer_is_repeated_by_the_kind_of_its_failure(
    failure: CallFailure | None, listed: NoRetry | None, other: NoRetry | None
) -> None:
    async with governed(methods=["POST"]) as governor:
        plans = [governor.plan_retry("weather", method, attempt=1, failure=failure) for method in ("POST", "PATCH")]
        plans += [await governor.aplan_retry("weather", method, attempt=1, failure=failure) for method in ("POST", "PATCH")]

    assert [listed, other] * 2 == [plan.reason for plan in plans]


async def test_a_denied_call_is_repeated_even_if_its_method_is_not() -> None:
    async with governed() as governor:
        limited = governor.plan_retry("weather", "POST", attempt=1, status=429)
        down = governor.plan_retry("weather", "POST", attempt=1, status=503)
        back_soon = governor.plan_retry("weather", "POST", attempt=1, status=503, server_wait=7.0)

    assert [1.0, None, 7.0] == [limited.delay, down.delay, back_soon.delay]


async def test_a_kind_of_failure_that_does_not_exist_is_an_error() -> None:
    async with governed() as governor:
        with pytest.raises(ConfigError, match="failure is 'lost'; expected one of 'unsent', 'timeout', 'broken', or None"):
            governor.plan_retry("weather", "GET", attempt=1, failure="lost")  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"method": None}, "^method is None; expected text such as 'POST'$"),
        ({"method": 5}, "^method is 5; expected text such as 'POST'$"),
        ({"url": 5}, "^url is 5; expected text such as 'https://"),
        ({"body": {"a": 1}}, "^body is {'a': 1}; expected bytes, text, or None$"),
    ],
)
async def test_a_part_of_a_request_of_another_type_is_named_by_plans_and_fingerprints(named: Any, said: str) -> None:
    async with governed() as governor:
        with pytest.raises(ConfigError, match=said):
            governor.fingerprint(**{"method": "POST", "url": "https://api.example/", **named})
        if "method" in named:
            with pytest.raises(ConfigError, match=said):
                governor.plan_retry("weather", **named, attempt=1, status=503)


async def test_asked_as_a_task_it_says_the_same() -> None:
    async with governed() as governor:
        waits = [(await governor.aplan_retry("weather", "GET", attempt=attempt, status=503)).delay for attempt in (1, 2, 3)]

    assert [1.0, 2.0, None] == waits


async def test_the_wait_that_the_server_asks_for_wins() -> None:
    async with governed() as governor:
        wait = governor.plan_retry("weather", "GET", attempt=1, status=429, server_wait=17.0).delay

    assert 17.0 == wait


@pytest.mark.parametrize("field", ["server_wait", "remaining"])
async def test_a_wait_as_text_such_as_that_of_a_header_is_a_mistake(field: str) -> None:
    wait: dict[str, Any] = {field: "17"}
    async with governed() as governor:
        with pytest.raises(ConfigError, match=f"^{field} is '17'; expected a number of seconds"):
            governor.plan_retry("weather", "GET", attempt=1, status=429, **wait)


async def test_a_wait_beyond_what_is_left_of_the_callers_time_ends_the_retries() -> None:
    async with governed() as governor:
        plans = [governor.plan_retry("weather", "GET", attempt=1, remaining=remaining) for remaining in (1.0, 0.999, 0.0, -5.0)]
        waits = [plan.delay for plan in plans]

    assert [1.0, None, None, None] == waits


async def test_a_retry_is_counted_when_it_gets_its_permit() -> None:
    async with governed() as governor:
        for attempt in (None, 1, 2, 3):
            async with governor.permit("weather", attempt=attempt):
                pass
        governor.plan_retry("weather", "GET", attempt=1)
        counters = governor.statistics().counters

    assert (4, 2) == (counters.requests, counters.retries)


async def test_with_the_provider_down_retries_stay_within_the_budget() -> None:
    """1,000 calls in one window, each of which fails and wants to be retried."""
    sent = 0
    async with governed() as governor:
        for _ in range(1_000):
            for attempt in (1, 2, 3):
                async with governor.permit("weather", attempt=attempt) as permit:
                    permit.record(status=404)
                    sent += 1
                if governor.plan_retry("weather", "GET", attempt=attempt, status=503).delay is None:
                    break
        counters = governor.statistics().counters

    assert 1_000 + 10 + 200 == sent == counters.requests
    assert 210 == counters.retries


async def test_a_plan_that_is_not_followed_lapses_one_window_after_its_time() -> None:
    clock = ManualClock()
    async with governed(clock) as governor:
        spent = [governor.plan_retry("weather", "GET", attempt=1).delay for _ in range(11)]
        clock.advance(10 + max(wait for wait in spent if wait is not None))
        again = governor.plan_retry("weather", "GET", attempt=1).delay

    assert 10 == len([wait for wait in spent if wait is not None])
    assert again is not None


async def test_a_plan_without_a_retry_says_why() -> None:
    async with governed(attempts=3) as governor:
        plans = [
            governor.plan_retry("weather", "POST", attempt=1, status=503),
            governor.plan_retry("weather", "GET", attempt=1, status=404),
            governor.plan_retry("weather", "GET", attempt=3),
            governor.plan_retry("weather", "GET", attempt=1, remaining=0.5),
            *[governor.plan_retry("weather", "GET", attempt=1) for _ in range(11)],
        ]
    plans.append(governor.plan_retry("weather", "GET", attempt=1))
    why = [
        NoRetry.METHOD,
        NoRetry.STATUS,
        NoRetry.ATTEMPTS,
        NoRetry.DEADLINE,
        *[None] * 10,
        NoRetry.BUDGET,
        NoRetry.UNAVAILABLE,
    ]

    assert why == [plan.reason for plan in plans]
    assert [reason is None for reason in why] == [bool(plan) for plan in plans]
