"""The label of a caller in the header of a request: it reaches the permit of each attempt, and not the server."""

from typing import Any

import pytest

import governor
from governor import ConfigError, Governor
from governor_client import _operation
from tests.contracts.conftest import Opened
from tests.support.provider import Provider, Reply, status

pytestmark = pytest.mark.promise("R56")

LABELED = {"X-Governor-Caller": "agent-7", "x-other": "is sent"}


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The labels with which permits were asked for, in order."""
    seen: list[str | None] = []
    blocking, own = Governor.acquire_blocking, Governor.acquire

    def acquire_blocking(self: Governor, *names: Any, **options: Any) -> Any:
        seen.append(options["caller"])
        return blocking(self, *names, **options)

    def acquire(self: Governor, *names: Any, **options: Any) -> Any:
        seen.append(options["caller"])
        return own(self, *names, **options)

    monkeypatch.setattr(Governor, "acquire_blocking", acquire_blocking)
    monkeypatch.setattr(Governor, "acquire", acquire)
    return seen


def test_a_request_that_is_made_anew_because_it_waited_hands_its_label_to_its_redirect(
    provider: Provider, opened: Opened, labels: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_operation, "_REPORTED", 0)  # Each permit that is asked for has taken so long.
    moved = provider.at("/moved", Reply(status=302, headers={"location": provider.at("/", status(200))}))

    redirected = opened().get(moved, headers=LABELED).status == 200

    assert ["agent-7"] * (1 + redirected) == labels


def test_the_header_labels_each_attempt_and_is_not_sent(provider: Provider, opened: Opened, labels: list[str | None]) -> None:
    url = provider.at("/", status(503), status(200))
    moved = provider.at("/moved", Reply(status=302, headers={"location": url}))
    session = opened()

    session.get(url, headers=LABELED)
    session.get(url)
    redirected = session.get(moved, headers=LABELED).status == 200

    assert ["agent-7", "agent-7", None, *["agent-7"] * (1 + redirected)] == labels
    assert ["is sent", "is sent", None, *["is sent"] * (1 + redirected)] == [
        request.headers.get("x-other") for request in provider.requests
    ]
    assert [] == [request for request in provider.requests if "x-governor-caller" in request.headers]


def test_a_header_that_is_no_label_is_a_mistake_of_the_program(provider: Provider, opened: Opened) -> None:
    session = opened()

    with pytest.raises(ConfigError, match="label of a caller"):
        session.get(provider.at("/", status(200)), headers={"x-governor-caller": "a b"})
    with governor.caller("agent-7"):
        session.get(provider.at("/", status(200)))

    assert 1 == len(provider.requests)
