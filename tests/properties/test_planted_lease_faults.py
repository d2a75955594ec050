"""The model of leases across processes finds faults that need messages to arrive in an order that is rare."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Final
from unittest.mock import patch

import pytest

from governor._actors.leases.leasing import Leasing
from governor._actors.leases.remote_holder import RemoteHolder
from governor._owner import leases
from governor._owner.checks import ProtocolError
from governor._owner.members import TTL
from governor._owner.session import Session
from governor._units import SECOND
from tests.properties.test_machine_leases import MachineLeases
from tests.simulation.machine import planted

#: So many walks are tried at most before a fault counts as not found, each of so many steps.
TRIES: Final = 300
SEED: Final = 110
STEPS: Final = 25


def walk(random: Random) -> None:
    """Does at random what the rules of the model allow. Raises `AssertionError` where it breaks an invariant."""
    model, draw, choice = MachineLeases(), random.randrange, random.choice
    slower = tuple(choice([0, 5, 8]) for _ in range(3))
    model.begin(amount=50, burst=choice([30, 100]), cap=10_000, failures=1000, places=3, slower=slower)
    rules: list[Callable[[int], object]] = [
        lambda who: model.exchange(who, choice([5, 500])),
        lambda who: model.ask(who, "bucket:get", draw(1, 9), choice([0.0, 0.0, 1.0, None])),
        lambda who: model.use(who, draw(1, 100)),
        lambda who: model.report(who, choice([0, 50, 500])),
        lambda who: model.read(who, draw(1, 20)),
        lambda who: model.owner_reads(who, draw(1, 20)),
        lambda who: model.owner_looks(),
        lambda who: model.pass_time(choice([0, 1000, 100_000, TTL, TTL + TTL // 10, 3 * SECOND])),
        lambda who: model.takes_all(who),
        lambda who: model.is_stopped(who, draw(6), choice([TTL * 9 // 10, TTL * 105 // 100, TTL + TTL // 10]), looks=True),
        lambda who: model.uses_the_last_of_its_time(who, draw(1, TTL // 12)),
        lambda who: model.lose(who, survives=choice([True, False]), arrives=draw(6)),
        model.reconnect,
    ]
    for _ in range(STEPS):
        choice(rules)(draw(3))
        model.no_limit_is_exceeded()
        model.what_is_leased_is_known()
    for _ in range(5):
        model.owner_looks()
    queued = sum(len(actor.logic.queue) for actor in model.actors.values())
    assert queued <= sum(process.session.waiting for process in model.processes if process.session is not None)
    model.teardown()


@pytest.mark.promise("R60", "R61")
@pytest.mark.parametrize(
    "fault",
    [
        patch.object(RemoteHolder, "settled", planted.return_without_counting),
        patch.object(RemoteHolder, "settled", planted.old_generation_accepted),
        patch.object(Leasing, "recall", planted.recall_settled_at_once),
        patch.object(leases, "outlasting", planted.no_margin_for_drift),
        patch.object(Session, "lost", planted.waiter_left_in_the_queue),
    ],
    ids=lambda value: value.new.__name__,
)
def test_a_planted_fault_is_found(fault: AbstractContextManager[object]) -> None:
    with fault, pytest.raises((AssertionError, ProtocolError)):  # The owner is the first to find some of them.
        for seed in range(TRIES):
            walk(Random(SEED + seed))


def test_and_without_one_there_is_nothing_to_find() -> None:
    for seed in range(TRIES // 10):
        walk(Random(seed))
