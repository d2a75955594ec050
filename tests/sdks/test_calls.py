"""Calls of SDKs through a governor: permits, outcomes, outages and denials, counted at the server."""

from collections.abc import Callable

import pytest

from governor import CounterRecord, Governor, PermitDenied
from governor.testing import denying
from tests.sdks.conftest import SDKS, in_progress
from tests.sdks.driver import Driver, run
from tests.sdks.setup import Setup
from tests.support.provider import NO_ANSWER, Provider, Reply, status

Counted = Callable[[], CounterRecord]

OUTAGES = {"503": status(503), "503 with a wait": status(503, retry_after="0"), "broken": NO_ANSWER}


def test_every_sdk_is_installed(missing: list[str]) -> None:
    if missing and not SDKS:
        pytest.skip(f"not installed: {', '.join(missing)}; `make test-sdks` installs them")

    assert [] == missing


def test_an_sdk_understands_the_provider(driver: Driver, provider: Provider) -> None:
    said = run(driver.call, Setup(url=provider.url))

    assert ("pong", 1) == (said, len(provider.to(driver.path)))


def test_a_request_takes_one_permit_and_records_one_outcome(
    driver: Driver, provider: Provider, governor: Governor, counted: Counted
) -> None:
    said = run(driver.call, Setup(url=provider.url, governor=governor))

    assert ("pong", 1) == (said, len(provider.to(driver.path)))
    assert (1, 1, 0) == (counted().requests, counted().answered_2xx + counted().others, in_progress(counted()))


@pytest.mark.promise("R56")
@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_in_an_outage_a_call_sends_as_many_requests_as_the_policy_allows(
    driver: Driver, outage: Reply, provider: Provider, governor: Governor, counted: Counted
) -> None:
    provider.at(driver.path, outage)

    with pytest.raises(Exception):  # noqa: B017, PT011 - each SDK has its own
        run(driver.call, Setup(url=provider.url, governor=governor, own_retries=False))

    sent = len(provider.to(driver.path))
    assert (driver.attempts, driver.attempts) == (sent, counted().requests)
    assert (sent, 0) == (counted().answered_5xx + counted().failures, in_progress(counted()))


@pytest.mark.promise("R58")
def test_a_denial_as_an_answer_is_an_error_of_the_sdk(
    driver: Driver, provider: Provider, governor: Governor, counted: Counted
) -> None:
    with denying(governor, "provider", driver.method, retry_after=1.0), pytest.raises(Exception) as raised:  # noqa: PT011 - each SDK has its own
        run(driver.call, Setup(url=provider.url, governor=governor, on_refusal="response", own_retries=False))

    assert driver.denied == type(raised.value).__name__
    assert (0, 0, 1) == (len(provider.to(driver.path)), counted().requests, sum(counted().denied.values()))


@pytest.mark.promise("R58")
def test_a_denial_as_an_exception_can_be_found_in_that_of_the_sdk(
    driver: Driver, provider: Provider, governor: Governor, counted: Counted
) -> None:
    with denying(governor, "provider", driver.method, retry_after=1.0), pytest.raises(Exception) as raised:  # noqa: PT011 - each SDK has its own
        run(driver.call, Setup(url=provider.url, governor=governor, own_retries=False))

    assert any(isinstance(error, PermitDenied) for error in causes(raised.value))
    assert (0, 0, 1) == (len(provider.to(driver.path)), counted().requests, sum(counted().denied.values()))


def causes(error: BaseException | None) -> list[BaseException]:
    """The exception and those behind it, of which SDKs keep some in attributes."""
    found: list[BaseException] = []
    queue = [error]
    while queue:
        one = queue.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            queue += [one.__cause__, one.__context__, getattr(one, "original_exception", None)]
    return found
