"""How long a client waits for permits, from the pool timeout of httpx."""

import math

import pytest

from governor import ConfigError
from governor._units import MAX_DURATION, SECOND
from governor_client._operation import longest_wait


@pytest.mark.parametrize("timeout", [None, math.inf, 1e12, 31_622_401, 10**400])
def test_a_pool_timeout_beyond_the_longest_duration_is_none(timeout: float | None) -> None:
    assert longest_wait(timeout) is None


def test_the_longest_duration_is_still_one() -> None:
    assert (MAX_DURATION, SECOND, 0) == (longest_wait(31_622_400), longest_wait(1.0), longest_wait(0))


@pytest.mark.parametrize("timeout", [-1, math.nan, "5", True])
def test_what_is_no_time_to_wait_is_a_mistake(timeout: object) -> None:
    with pytest.raises(ConfigError, match=r"^timeout\.pool is "):
        longest_wait(timeout)  # type: ignore[arg-type]
