"""Python calls of each kind of denial on the governor's own loop. What is granted is counted in tests/counts."""

from collections.abc import Callable, Mapping

import pytest

from governor import Config, Denied, Governor, _build
from governor.clock import system_clock
from tests.support.answers import granted
from tests.support.counting import python_calls

pytestmark = pytest.mark.anyio

MAX_DENIAL = 15


def governed(scope: Mapping[str, object]) -> Governor:
    return Governor(Config.from_mapping({"outbound": {"default": scope}}))


def open_breaker(governor: Governor) -> object:
    granted(governor.try_permit("weather")).record(status=500)
    return None


def use_up(governor: Governor) -> object:
    """Returns the permits: a permit that is dropped gives its place back."""
    return [granted(governor.try_permit("weather")) for _ in range(2)]


def end_in_window(governor: Governor) -> object:
    for permit in [granted(governor.try_permit("weather")) for _ in range(2)]:
        permit.record(status=200)
    return None


def pause(governor: Governor) -> object:
    for provider in ("weather", "traffic") * 5:
        granted(governor.try_permit(provider)).record(status=500)
    return None


@pytest.mark.parametrize(
    ("scope", "spoil", "reason"),
    [
        ({"limits": ["2/hour burst 2"]}, use_up, "rate_limit_exceeded"),
        ({"limits": ["2 per hour strict"]}, use_up, "rate_limit_exceeded"),
        ({"limits": ["2 per hour strict"]}, end_in_window, "rate_limit_exceeded"),
        ({"limits": ["2 in flight"]}, use_up, "concurrency_exceeded"),
        ({"limits": ["9/hour burst 9"], "breaker": {"failures": 1}}, open_breaker, "circuit_breaker_open"),
        ({"limits": ["9/s burst 9"], "breaker": {"failures": 1000}}, pause, "degraded_mode_active"),
    ],
    ids=["bucket", "window", "window of ended calls", "in flight", "breaker", "degraded"],
)
async def test_a_denial_is_15_python_calls_at_most_and_reads_the_clock_once(
    scope: Mapping[str, object], spoil: Callable[[Governor], object], reason: str
) -> None:
    async with governed(scope) as governor:
        held = spoil(governor)
        before = governor.try_permit("weather")
        denials: list[object] = []
        called = python_calls(lambda: denials.append(governor.try_permit("weather")))
        counted = sum(governor.statistics().scopes["weather"].counters.denied.values())
        del held

    assert isinstance(before, Denied)
    assert [reason] == [denial.reason for denial in denials if isinstance(denial, Denied)]
    assert len(called) <= MAX_DENIAL, called
    # The compiled kernel reads the clock in C, which no profile shows.
    assert (0 if _build.is_compiled() else 1) == called.count(system_clock.__qualname__), called
    assert 2 == counted
