"""What all tests share: event loops, numbers of examples, published data.

Hypothesis profiles: `dev` by default, `ci` where CI=true, and by `--hypothesis-profile` `few` and `thorough`.
"""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.certificates import AUTHORITIES, NO_AUTHORITY

CI: Final = os.environ.get("CI") == "true"
SHARED: Final = Path(__file__).resolve().parents[2] / "shared"

# A run in the background of a shell ignores Ctrl-C, and the programs that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An HTTP client reads all authorities that the machine trusts when it is made, which takes 50 ms. No test speaks with their
# servers, but those that install packages: they look for what was set before.
os.environ.setdefault(AUTHORITIES, os.environ.get("SSL_CERT_FILE", ""))
os.environ["SSL_CERT_FILE"] = str(NO_AUTHORITY)

# How fast a machine is belongs to no claim, so nothing fails for being slow: no deadline, and no check of the time it takes to
# draw. The profile is loaded before the command line is read, which can therefore name another one.
settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI plays the same examples each time: more of them would find in each run what they have found in the first.
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
# For the second build of what the other properties have been checked on.
settings.register_profile("few", settings.get_profile("ci"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=5_000, derandomize=False, print_blob=True)
settings.load_profile("ci" if CI else "dev")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Finds names of tests that differ from process to process, with which nothing runs in several processes."""
    if " at 0x" in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid} has an address in its name: give `parametrize` other `ids`")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spares the garbage collector what is loaded for all tests: to look through it would take 0.3 seconds each time.

    And has it look less often than after every 700 objects, which took 8 % of the time of all tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The event loops on which every test marked `anyio` runs, unless its folder or module says otherwise."""
    return request.param


@pytest.fixture(scope="module", autouse=True)
def no_governor_is_left() -> Iterator[None]:
    """A governor that a module leaves running would be that of the process for the tests of other modules."""
    before = _running()
    yield
    left = _running() - before
    assert not left, f"left running: {left}"


def _running() -> set[object]:
    """The governors that run in this process; none where nothing has loaded the package."""
    loaded = sys.modules.get("governor._governor")
    return set() if loaded is None else {one for one in loaded.running if one.state is loaded.GovernorState.RUNNING}


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of test vectors that other projects published."""
    return _shared("vectors")


@pytest.fixture(scope="session")
def traces() -> Path:
    """The folder of recorded traffic."""
    return _shared("data")


def _shared(name: str) -> Path:
    folder = SHARED / name
    if folder.is_dir():
        return folder
    missing = f"needs the folder ../shared/{name} beside the repository"
    if CI:
        pytest.fail(missing)
    pytest.skip(missing)
