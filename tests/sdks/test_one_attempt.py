"""SDKs whose retries have no switch, under a policy of one attempt: they repeat, and each request takes a permit."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import pytest

from governor import CounterRecord, Governor
from tests.sdks.driver import Driver, run
from tests.sdks.setup import Setup
from tests.support.governors import only_retries
from tests.support.provider import Provider, status

PACKAGES: Final = ("huggingface_hub",)


@pytest.fixture
def governor() -> Iterator[Governor]:
    """A governor that repeats nothing."""
    with Governor(only_retries("1ms", retry={"attempts": 1})) as governor:
        yield governor


def test_each_request_of_the_sdk_takes_a_permit(
    driver: Driver, provider: Provider, governor: Governor, counted: Callable[[], CounterRecord]
) -> None:
    provider.at(driver.path, status(503))
    for setup in (Setup(url=provider.url), Setup(url=provider.url, governor=governor)):
        with suppress(Exception):
            run(driver.call, setup)

    alone = len(provider.to(driver.path)) - counted().requests
    assert {"huggingface_hub": 6, "huggingface_hub, inference": 1}[driver.name] == alone == counted().requests
