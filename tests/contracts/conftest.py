"""What the tests of adapters share: the drivers that are installed, a provider, and sessions of a driver."""

from collections.abc import Iterator
from contextlib import ExitStack
from threading import get_ident
from time import monotonic, sleep
from typing import Any, Final, Protocol

import pytest

from governor import CounterRecord, Denied, Governor, Permit
from governor._access import Access
from governor_client._terms import Terms
from tests.contracts.adapters import DRIVERS, TIMEOUT, Driver, Session, Setup
from tests.support.governors import brief_denials, only_retries
from tests.support.provider import Provider, loopback_provider

#: The adapters whose permits are at hand.
AT_HAND: Final = ("httpx2", "httpx2-async", "client", "client-async", "requests", "urllib3", "aiohttp", "aiohttp-middleware")
#: Seconds in which other threads do what they are about to do.
SOON: Final = 5.0


class Opened(Protocol):
    """Makes a session of the driver, with a governor of its own that has only retries but for what is said of the scope."""

    def __call__(self, *, scope: dict[str, Any] | None = None, **setup: Any) -> Session:
        """`setup` are the fields of `Setup`; all others are arguments of the adapter."""
        ...


def pytest_configure(config: pytest.Config) -> None:
    """Declares the markers of these tests."""
    config.addinivalue_line("markers", "needs(ability): for adapters that have this ability")
    config.addinivalue_line("markers", "blocking: for adapters of blocking libraries")
    config.addinivalue_line("markers", "asynchronous: for adapters of async libraries")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test of adapters with each driver; one about blocking or async code with the drivers of that kind."""
    if "driver" not in metafunc.fixturenames:
        return
    kinds = [name for name in ("blocking", "asynchronous") if metafunc.definition.get_closest_marker(name)]
    drivers = [driver for driver in DRIVERS if not kinds or (kinds[0] == "asynchronous") is driver.is_async]
    metafunc.parametrize("driver", drivers, ids=str)


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Skips an adapter that is not there, and claims that an adapter has no ability that it is said to lack."""
    if "driver" not in request.fixturenames:
        return
    driver: Driver = request.getfixturevalue("driver")
    if not driver.exists:
        pytest.skip(f"no {driver.module} here")
    for marker in request.node.iter_markers("needs"):
        if (reason := driver.cannot.get(marker.args[0])) is not None:
            pytest.skip(f"{driver} cannot {marker.args[0].value}: {reason}")


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on loopback."""
    with loopback_provider() as provider:
        yield provider


@pytest.fixture
def _permits_at_hand(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grants the permits of some adapters without a message where they can be granted at once, as if all were leased.

    Such a request is sent on another way until it needs more. Each way has adapters that share their code with one of the
    other way.
    """
    if str(driver) not in AT_HAND:
        return
    monkeypatch.setattr(Terms, "any_by_host", False)  # As if `instrument` had not been called in this process.
    take = Access.take

    def taken(access: Access, provider: str, method: str, *args: Any, unwatched: bool = False, **options: Any) -> Permit | None:
        permit = take(access, provider, method, *args, unwatched=unwatched, **options)
        if permit is not None or not unwatched or get_ident() == access.thread or access.by_label:
            return permit
        actor = access.find(provider, method, None)
        return None if isinstance(actor, Denied) or access.watches(provider, method) else access.running().call(actor.grab)

    monkeypatch.setattr(Access, "take", taken)


@pytest.fixture
def opened(driver: Driver, provider: Provider) -> Iterator[Opened]:
    """Makes sessions, and closes them at the end."""
    with ExitStack() as stack:
        stack.enter_context(brief_denials())

        def opened(*, scope: dict[str, Any] | None = None, **given: Any) -> Session:
            setup = {name: given.pop(name) for name in given.keys() & Setup.__dataclass_fields__.keys()}
            governor = stack.enter_context(Governor(only_retries("1ms", **(scope or {}))))
            terms = {"wait": TIMEOUT, **given}
            return stack.enter_context(Session(driver, Setup(governor=governor, terms=terms, **setup)))

        yield opened


def counted(governor: Governor, method: str = "GET", provider: str = "provider") -> CounterRecord:
    """Counters of the scope of all calls in these tests, as soon as each permit has an outcome, or after `SOON`.

    An outcome that is reported on another event loop than the governor's is on its way for a moment.
    """
    deadline = monotonic() + SOON
    while True:
        scope = governor.statistics().scopes.get(f"{provider}:{method.lower()}")
        counters = CounterRecord() if scope is None else scope.counters
        if counters.under_way == 0 or monotonic() > deadline:
            return counters
        sleep(0.001)


def received(provider: Provider, number: int) -> int:
    """The number of requests, as soon as it is this one, or after `SOON`: one that timed out may still be on its way."""
    deadline = monotonic() + SOON
    while len(provider.requests) < number and monotonic() < deadline:
        sleep(0.001)
    return len(provider.requests)
