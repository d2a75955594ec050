"""No call through an adapter takes more Python calls of this project than the table allows."""

from collections.abc import Iterator

import pytest

from governor_client._terms import Terms
from tests.contracts.adapters import Driver
from tests.contracts.conftest import Opened
from tests.counts.allowed import ADAPTERS, compare
from tests.support.counting import TRIES, calls_in, no_labels
from tests.support.leases import ahead
from tests.support.provider import Provider, status

pytestmark = pytest.mark.filterwarnings("default::tests.counts.allowed.CanBeLowered")


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No block has set a label, and `instrument` has not been called."""
    monkeypatch.setattr(Terms, "any_by_host", False)
    with no_labels():
        yield


def test_a_call_with_a_permit_at_hand_takes_no_more_than_allowed(driver: Driver, provider: Provider, opened: Opened) -> None:
    url = provider.at("/", status(200, b"pong"))
    session = opened()
    session.get(url)
    with ahead(session.governor, "provider", method="GET"):
        called = min((calls_in(lambda: session.get(url), "governor", "governor_client") for _ in range(TRIES)), key=len)

    compare(str(driver), "Python calls", ADAPTERS[str(driver)], len(called), called)
