"""After `reset` the process begins anew: nothing is left of the governor that it has started."""

import asyncio
from collections.abc import Iterator

import pytest

from governor import Denied, Governor, GovernorState, Permit, default
from governor._default import current
from governor._governor import running
from governor.testing import reset
from governor_client import GovernorClient

pytestmark = pytest.mark.promise("R51")


@pytest.fixture(autouse=True)
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process without a governor, whose governor grants one at a time."""
    reset()
    monkeypatch.setenv("GOVERNOR__OUTBOUND__WEATHER__LIMITS", '["1 per hour strict"]')
    yield
    reset()


def test_the_next_use_begins_anew_for_clients_too() -> None:
    client = GovernorClient()
    answers, found = [], []
    for _ in range(3):
        answers += [type(client.try_permit("weather")) for _ in range(2)]
        found.append(default())
        reset()

    assert 3 == len(set(map(id, found)))
    assert [False, True] * 3 == [kind is Denied for kind in answers]
    assert [True] * 3 == [governor.state is GovernorState.CLOSED for governor in found]


def test_it_may_be_said_at_any_time() -> None:
    reset()
    reset()
    answer = default().try_permit("weather")

    assert isinstance(answer, Permit)


def test_one_whose_loop_is_gone_is_forgotten_and_one_that_runs_is_not() -> None:
    gone = Governor()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(gone.start())
    loop.close()
    with Governor() as governor:
        reset()
        left = [one for one in running if one in (gone, governor)], current()

    assert ([governor], governor) == left
