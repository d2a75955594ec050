"""The simulation of a machine finds each fault that is planted in the way in which its processes share limits."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final
from unittest.mock import patch

import pytest

from governor._actors.leases.leasing import Leasing
from governor._actors.leases.remote_holder import RemoteHolder
from governor._member.calls import Calls
from governor._owner.places import Places
from governor._owner.session import Session
from governor.policies.account import Account
from tests.simulation.machine import planted
from tests.simulation.machine.run import play
from tests.simulation.machine.scenario import Fault, Scenario

#: So many runs are tried at most before a fault counts as not found.
TRIES: Final = 12


def rush(at: int, *members: int, lasts: int = 200) -> tuple[Fault, ...]:
    return tuple(Fault(at, "rush", who, lasts) for who in members)


def scenario(seed: int, *faults: Fault, state: bool = True, away: str = "deny", **given: object) -> Scenario:
    lasts = max(fault.at + fault.lasts for fault in faults) + 500
    drawn: dict[str, object] = {"drifts": False, "thinks": 60, "lasts": lasts, **given}
    return Scenario(seed, state, away, faults=faults, **drawn)  # type: ignore[arg-type] # as the fields are


def rushes(seed: int) -> Scenario:
    return scenario(seed, *rush(300, 0, 1, 2, 3), *rush(600, 0, 1), *rush(900, 2, 3))


def owner_killed(seed: int) -> Scenario:
    return scenario(
        seed, *rush(400, 0, 1, 2, 3), Fault(500 + 20 * seed, "kill owner", 0, 50), *rush(1600, 0, 1, 2, 3, lasts=500)
    )


def owner_away(seed: int) -> Scenario:
    return scenario(
        seed,
        *rush(300, 0, 1, 2, 3),
        Fault(500, "restart owner", 0, 3500),
        *rush(1600, 0, 1, 2, 3, lasts=4500),
        away="share",
    )


def member_killed(seed: int) -> Scenario:
    return scenario(seed, *(Fault(500 + 400 * number, "kill member", number % 4, 300) for number in range(6)), thinks=5)


@pytest.mark.promise("R02", "R60", "R61", "R62", "R63")
@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        (rushes, patch.object(RemoteHolder, "settled", planted.return_without_counting)),
        (rushes, patch.object(Leasing, "recall", planted.recall_settled_at_once)),
        (owner_killed, patch.object(Account, "spend", planted.grant_not_in_the_journal)),
        (owner_away, patch.object(Calls, "used", planted.use_not_told)),
        (member_killed, patch.object(Places, "give_up", planted.place_lost)),
        (member_killed, patch.object(Session, "lost", planted.waiter_left_in_the_queue)),
        (rushes, patch.object(Places, "find", planted.place_freed_twice)),
    ],
    ids=lambda value: getattr(value, "__name__", "") or value.new.__name__,
)
def test_a_planted_fault_is_found(scenario: Callable[[int], Scenario], fault: AbstractContextManager[object]) -> None:
    with fault, pytest.raises(AssertionError):
        for seed in range(TRIES):
            play(scenario(seed))


@pytest.mark.promise("R61")
@pytest.mark.parametrize("scenario", [rushes, owner_killed])
def test_and_without_one_there_is_nothing_to_find(scenario: Callable[[int], Scenario]) -> None:
    play(scenario(0))
