"""Whole numbers of other types than `int`, such as those of numpy, in settings, costs and uses."""

import tomllib
from typing import Final

import pytest

from governor import Config, ConfigError, Governor, Permit, PermitDenied
from governor.config import show
from governor.policies._checks import whole
from governor.testing import ManualClock
from tests.support.numbers import Number

FIVE: Final = Number(5)


def test_a_mapping_of_settings_may_hold_them_too() -> None:
    said = {
        "global": {"max_scopes": FIVE},
        "outbound": {"x": {"breaker": {"failures": FIVE}, "retry": {"statuses": [Number(500)], "base": Number(3)}}},
    }
    config = Config.from_mapping(said)

    assert (5, 5) == (config.global_.max_scopes, config.for_scope("x").breaker.failures)
    assert (frozenset({500}), 3.0) == (config.for_scope("x").retry.statuses, config.for_scope("x").retry.base)
    assert config == Config.from_mapping(tomllib.loads("\n".join(show(config))))


@pytest.mark.parametrize("value", [5.0, "5", True, None, Number(0), object])
def test_what_is_no_whole_number_in_range_stays_a_mistake(value: object) -> None:
    with pytest.raises(ConfigError, match="a whole number from 1"):
        whole("field", value)


@pytest.mark.anyio
async def test_costs_and_uses_take_them_and_are_counted_exactly() -> None:
    config = Config.from_mapping({"outbound": {"llm": {"limits": ["9 per hour strict", "100 tokens per hour strict"]}}})
    async with Governor(config, clock=ManualClock()) as governor:
        permit = governor.try_permit("llm", cost={"requests": Number(4), "tokens": Number(60)})  # type: ignore[dict-item]  # what is tested
        assert isinstance(permit, Permit)
        permit.record(status=200, used={"tokens": Number(70)})  # type: ignore[dict-item]  # what is tested
        assert isinstance(governor.try_permit("llm", cost=FIVE), Permit)  # type: ignore[arg-type]  # what is tested
        left = [limit.available for limit in governor.statistics().scopes["llm"].limits]

    assert [0, 30] == left


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [1e12, 31_622_401, 1e308, float("inf"), 10**400])
async def test_a_timeout_beyond_the_longest_duration_waits_as_long_as_it_takes(timeout: float) -> None:
    config = Config.from_mapping({"outbound": {"x": {"limits": ["1 in flight"]}}})
    async with Governor(config) as governor:
        request = governor.permit("x", timeout=timeout)
        async with request:
            with pytest.raises(PermitDenied):
                async with governor.permit("x", timeout=0):
                    pass

    assert "<PermitRequest for x, entered>" == repr(request)
