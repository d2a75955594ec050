"""Typed uses of the public interface. Checked by mypy, never run."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import assert_type

from governor import (
    Breaker,
    CallFailure,
    CircuitOpen,
    Config,
    CounterRecord,
    Denied,
    Governor,
    InFlight,
    Instant,
    Permit,
    PermitDenied,
    PermitRequest,
    Reason,
    Retry,
    RetryBudget,
    ScopeStatistics,
    Statistics,
    StrictWindow,
    TokenBucket,
    default,
    limit,
)
from governor.testing import ManualClock, denying, loop_clock, unlimited


async def a_governor_in_a_loop() -> None:
    async with Governor.from_file("governor.toml") as governor:
        assert_type(governor, Governor)
        async with governor.permit("github", "GET", cost=1, timeout=5.0, attempt=1) as permit:
            assert_type(permit, Permit)
            permit.record(status=200, used={"tokens": 1234})


def a_governor_on_a_thread() -> None:
    with Governor() as governor, governor.permit("github", timeout=None) as permit:
        assert_type(governor, Governor)
        assert_type(permit, Permit)
        permit.record(error=TimeoutError())


def an_answer_is_a_permit_or_a_refusal(governor: Governor) -> float | None:
    answer = governor.try_permit("openai", "POST", cost={"requests": 1, "tokens": 900})
    assert_type(answer, Permit | Denied)
    if isinstance(answer, Denied):
        assert_type(answer.reason, Reason)
        assert_type(answer.exception(), PermitDenied)
        return answer.retry_after
    with answer as same:
        assert_type(same, Permit)
    return None


def every_answer_is_one_of_two(answer: Permit | Denied) -> str:
    match answer:
        case Permit():
            return answer.scope
        case Denied():
            return answer.reason.value


def a_request_can_be_kept(governor: Governor) -> PermitRequest:
    return governor.permit("github")


def a_refusal_has_three_facts(refusal: CircuitOpen) -> tuple[str, Reason, float | None]:
    return refusal.scope, refusal.reason, refusal.retry_after


def retries_are_planned_in_seconds(governor: Governor) -> float | None:
    return governor.plan_retry(
        "github",
        "GET",
        attempt=1,
        remaining=10.0,
        status=503,
        server_wait=None,
        idempotency_key=False,
        failure=CallFailure.UNSENT,
    ).delay


def figures_are_frozen_records(governor: Governor) -> Mapping[str, ScopeStatistics]:
    statistics = governor.statistics()
    assert_type(statistics, Statistics)
    assert_type(statistics.counters, CounterRecord)
    assert_type(statistics.counters + statistics.counters, CounterRecord)
    assert_type(statistics.degraded_for, float)
    return statistics.scopes


def policies_can_be_written_as_objects() -> Config:
    return Config.from_mapping(
        {
            "outbound": {
                "github": {
                    "limits": [TokenBucket(60, "1m", 10), StrictWindow(5000, timedelta(hours=1)), InFlight(30)],
                    "breaker": Breaker(failures=3, open_for="30s"),
                    "retry": Retry(attempts=2),
                    "retry_budget": RetryBudget(share=0.1),
                }
            }
        }
    )


def clocks_are_functions() -> list[Callable[[], Instant]]:
    clock = ManualClock(start=1.5)
    clock.advance(0.5)
    return [clock, loop_clock()]


def tests_can_command_the_answers() -> None:
    governor = Governor(unlimited(), clock=ManualClock())
    with governor, denying(governor, "github", "GET", reason=Reason.CIRCUIT_OPEN, retry_after=None):
        governor.try_permit("github", "GET")


@limit("github", "GET", cost=1, timeout=5.0, classify=None)
async def issues(repository: str, *, page: int = 1) -> list[str]:
    return [repository] * page


class Connector:
    @limit("github")
    def fetch(self, number: int) -> bytes:
        return bytes(number)


async def decorated_functions_keep_their_types(governor: Governor) -> None:
    assert_type(await issues("a/b", page=2), list[str])
    assert_type(Connector().fetch(1), bytes)
    assert_type(governor.limit("github", "GET")(len)("abc"), int)
    await issues(1)  # type: ignore[arg-type]  # the mistake
    Connector().fetch("1")  # type: ignore[arg-type]  # the mistake


def the_default_is_a_governor() -> Governor:
    return default()
