"""The table of SDKs says what was measured."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

import pytest

from governor import Governor
from governor.testing import denying
from tests.sdks import table
from tests.sdks.catalog import DRIVERS
from tests.sdks.conftest import SDKS, policy, version
from tests.sdks.driver import Driver, run
from tests.sdks.setup import Setup
from tests.support.provider import NO_ANSWER, Provider, status

OUTAGES: Final = (status(503), NO_ANSWER)


def requests_in_outages(driver: Driver, provider: Provider, setup: Setup) -> tuple[int, int]:
    """The requests of one call after 503, and when connections break."""

    def sent() -> int:
        before = len(provider.to(driver.path))
        if setup.governor is None:
            with suppress(Exception):
                run(driver.call, setup)
        else:
            with Governor(policy()) as governor, suppress(Exception):
                run(driver.call, replace(setup, governor=governor))
        return len(provider.to(driver.path)) - before

    counts = []
    for outage in OUTAGES:
        provider.at(driver.path, outage)
        counts.append(sent())
    return counts[0], counts[1]


def measured(driver: Driver, provider: Provider, governor: Governor) -> table.Measured:
    """What the SDK does in outages, and with a denial."""
    alone = Setup(url=provider.url)
    governed = replace(alone, governor=governor, on_refusal="response")
    denied_before = denials(governor)
    with denying(governor, "provider", driver.method, retry_after=1.0), pytest.raises(Exception) as raised:  # noqa: PT011 - each SDK has its own
        run(driver.call, governed)
    return table.Measured(
        alone=requests_in_outages(driver, provider, alone),
        governed=requests_in_outages(driver, provider, replace(governed, own_retries=False)),
        both=requests_in_outages(driver, provider, governed),
        denied=type(raised.value).__name__,
        asked=denials(governor) - denied_before,
    )


def denials(governor: Governor) -> int:
    """The denials of all scopes."""
    return sum(governor.statistics().counters.denied.values())


@pytest.mark.skipif(not SDKS, reason="the versions are those of `make test-sdks`")
def test_the_table_says_what_was_measured(driver: Driver, provider: Provider, governor: Governor) -> None:
    found = version(driver.package)
    assert found is not None
    found_out = measured(driver, provider, governor)
    rows = table.rows(driver, found, found_out)
    if SDKS == "write":
        table.write(driver, rows)

    assert driver.multiplies == (max(found_out.both) > driver.attempts)
    assert rows == {name: table.committed(name).get(driver.name) for name in table.TABLES}


@pytest.mark.parametrize("name", table.TABLES)
def test_a_table_names_every_sdk_in_its_order(name: str) -> None:
    assert [driver.name for driver in DRIVERS] == list(table.committed(name))
