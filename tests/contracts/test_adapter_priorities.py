"""The contract of every HTTP adapter for priorities: whether its calls wait as interactive or as batch calls."""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import httpx2
import pytest

from governor import ConfigError, Governor
from governor_client import GovernedTransport, TrafficControlledHttpClient, instrument
from governor_client.aiohttp import GovernedMiddleware
from governor_client.requests import GovernedAdapter
from governor_client.urllib3 import GovernedPoolManager
from tests.contracts.conftest import Opened
from tests.support.governors import only_retries
from tests.support.provider import Provider, status
from tests.support.waits import PATIENCE, until

pytestmark = pytest.mark.promise("R04", "R56")

ONE_AT_A_TIME = {"limits": ["1 in flight"]}


def has_waiting(governor: Governor, number: int) -> bool:
    return governor.statistics().scopes["provider:get"].waiting == number


def requests_before_a_later_interactive_call(governor: Governor, provider: Provider, call: Any) -> int:
    """How many requests the provider has when an interactive call is granted that came after `call` did."""
    before: list[int] = []

    def interactive() -> None:
        with governor.permit("provider", "GET"):
            before.append(len(provider.requests))

    threads = Thread(target=call), Thread(target=interactive)
    with governor.permit("provider", "GET"):
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(partial(has_waiting, governor, number))
    for thread in threads:
        thread.join(PATIENCE)
    return before[0]


def test_batch_calls_wait_behind_interactive_ones(provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(200), status(200))
    batch, plain = opened(scope=ONE_AT_A_TIME, priority="batch"), opened(scope=ONE_AT_A_TIME)

    overtaken = requests_before_a_later_interactive_call(batch.governor, provider, lambda: batch.get(url))
    in_turn = requests_before_a_later_interactive_call(plain.governor, provider, lambda: plain.get(url))

    assert (0, 2) == (overtaken, in_turn)


MAKE: dict[str, Callable[..., object]] = {
    "client": partial(TrafficControlledHttpClient, "provider"),
    "httpx2": partial(GovernedTransport, "provider"),
    "requests": partial(GovernedAdapter, "provider"),
    "urllib3": partial(GovernedPoolManager, "provider"),
    "aiohttp": partial(GovernedMiddleware, "provider"),
    "instrument": partial(instrument, {"api.example": "provider"}),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_priority_that_does_not_exist_is_rejected_when_the_adapter_is_made(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match="priority is 'low'; expected 'interactive' or 'batch'"):
        make(priority="low")


@pytest.mark.parametrize(("of_client", "of_call", "expected"), [("interactive", "batch", 0), ("batch", "interactive", 1)])
def test_a_call_may_have_another_priority_than_its_client(
    provider: Provider, of_client: Any, of_call: Any, expected: int
) -> None:
    url = provider.at("/", status(200), status(200))
    with Governor(only_retries("1ms", **ONE_AT_A_TIME)) as governor:
        terms: Any = {"governor": governor, "govern_loopback": True, "priority": of_client}
        with (
            TrafficControlledHttpClient("provider", **terms) as ours,
            httpx2.Client(transport=GovernedTransport("provider", **terms)) as theirs,
        ):
            calls = (
                lambda: ours.get(url, priority=of_call, headers={"x-other": "1"}),
                lambda: theirs.get(url, extensions={"governor.priority": of_call}),
            )
            found = [requests_before_a_later_interactive_call(governor, provider, call) for call in calls]
            with pytest.raises(ConfigError, match="priority is 'low'"):
                ours.get(url, priority="low")  # type: ignore[arg-type] # what is tested

    assert [expected, 1 + expected] == found
