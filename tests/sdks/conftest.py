"""What the tests of SDKs share: the provider, the governor, the drivers that are installed, and short pauses."""

import asyncio
import importlib.metadata
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from governor import Config, CounterRecord, Governor
from tests.sdks.catalog import DRIVERS
from tests.sdks.driver import Driver
from tests.support.governors import only_retries
from tests.support.provider import Provider, loopback_provider

#: `SDKS=required` makes an SDK that is not installed a failure, and `SDKS=write` writes the table as well.
FOLDER: Final = Path(__file__).parent

SDKS: Final = os.environ.get("SDKS", "")

# LiteLLM fetches a list of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@cache
def version(package: str) -> str | None:
    """The installed version; None if the package is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test with each driver whose SDK is installed, and tests of streams with those that have one.

    A module may name the `PACKAGES` that its tests are about.
    """
    if "driver" in metafunc.fixturenames:
        packages = getattr(metafunc.module, "PACKAGES", None)
        chosen = [driver for driver in DRIVERS if version(driver.package) and (packages is None or driver.package in packages)]
        if "stream" in metafunc.fixturenames:
            chosen = [driver for driver in chosen if driver.stream]
        metafunc.parametrize("driver", chosen, ids=str)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignores the warnings of SDKs about themselves, and keeps the tests of one SDK together, so that few processes load it."""
    order = {str(driver): position for position, driver in enumerate(DRIVERS)}
    ours = [item for item in items if item.path.parent == FOLDER]
    for item in ours:
        item.add_marker(pytest.mark.filterwarnings("ignore"))
    ours.sort(key=lambda item: order.get(str(_driver(item)), -1))
    items[:] = [*(item for item in items if item.path.parent != FOLDER), *ours]


def _driver(item: pytest.Item) -> object:
    return item.callspec.params.get("driver") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None


@pytest.fixture(scope="session")
def missing() -> list[str]:
    """The packages that are not installed."""
    return sorted({driver.package for driver in DRIVERS if not version(driver.package)})


@pytest.fixture
def provider(driver: Driver) -> Iterator[Provider]:
    """A provider on loopback that answers what the driver expects."""
    with loopback_provider() as provider:
        for path, reply in driver.others.items():
            provider.at(path, reply)
        provider.at(driver.path, driver.reply)
        yield provider


def policy() -> Config:
    """Settings under which nothing but retries matters: three attempts, also with POST."""
    retry = {"attempts": 3, "first_delay": "1ms", "max_delay": "1ms", "methods": ["GET", "POST"]}
    return only_retries("1ms", retry=retry)


@pytest.fixture
def governor() -> Iterator[Governor]:
    """A governor with the settings of these tests."""
    with Governor(policy()) as governor:
        yield governor


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends at once the pauses between the attempts of SDKs, some of which are many seconds. Other threads pause as ever."""
    tests = threading.get_ident()
    sleep, async_sleep = time.sleep, asyncio.sleep

    def pause(seconds: float) -> None:
        if threading.get_ident() != tests:
            sleep(seconds)

    async def async_pause(seconds: float, result: Any = None) -> Any:
        return await async_sleep(0 if threading.get_ident() == tests else seconds, result)

    monkeypatch.setattr(time, "sleep", pause)
    monkeypatch.setattr(asyncio, "sleep", async_pause)
    monkeypatch.setattr(anyio, "sleep", async_pause)


@pytest.fixture
def counted(governor: Governor, driver: Driver) -> Callable[[], CounterRecord]:
    """Counters of the scope of the driver's calls."""

    def counted() -> CounterRecord:
        scope = governor.statistics().scopes.get(f"provider:{driver.method.lower()}")
        return scope.counters if scope else CounterRecord()

    return counted


def in_progress(counted: CounterRecord) -> int:
    """The permits without an outcome."""
    answered = counted.answered_2xx + counted.answered_4xx + counted.answered_5xx
    return counted.requests - (answered + counted.failures + counted.neutral + counted.others)
