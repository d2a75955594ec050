"""Settling what a call has really used, before its outcome is reported."""

import pytest

from governor import ConfigError, UsageError
from tests.support.answers import granted
from tests.support.governors import governed

pytestmark = [pytest.mark.anyio, pytest.mark.promise("R03")]


async def test_what_was_used_is_refunded_or_charged_at_once_and_once() -> None:
    async with governed("100 tokens/minute burst 100", "1000 tokens per minute strict", "50 in flight") as governor:

        def left() -> list[int]:
            return [limit.available for limit in governor.statistics().scopes["weather"].limits]

        less, more = (granted(governor.try_permit("weather", cost={"tokens": 30})) for _ in range(2))
        before = left()
        less.settle(tokens=10)
        refunded = left()
        more.settle(tokens=60)
        charged = left()
        less.record(status=200)
        more.record(status=200)

        assert ([40, 940, 48], [60, 960, 48], [30, 930, 48], [30, 930, 50]) == (before, refunded, charged, left())


async def test_an_amount_is_said_once_and_while_the_outcome_is_open() -> None:
    async with governed("100 tokens/minute burst 100") as governor:
        permit = granted(governor.try_permit("weather", cost={"tokens": 30}))
        with pytest.raises(ConfigError, match="tokens"):
            permit.settle(tokens=-1)
        permit.settle(tokens=20)
        with pytest.raises(UsageError, match="was said before"):
            permit.settle(tokens=10)
        with pytest.raises(UsageError, match="was said before"):
            permit.record(used={"tokens": 10})
        permit.record(status=200)
        with pytest.raises(UsageError, match="has been reported before"):
            permit.settle(tokens=10)

        assert 80 == governor.statistics().scopes["weather"].limits[0].available
