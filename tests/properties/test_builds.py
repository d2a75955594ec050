"""The compiled kernel and pure Python mean the same: equal answers, and equal states after each step of a history.

This needs both builds: `make test-compiled`.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic_ns
from types import ModuleType
from typing import Final

import pytest

from governor import Config, Governor, Permit, _build
from tests.support import build_history, inbound_history

pytestmark = pytest.mark.skipif(not _build.is_compiled(), reason="pure Python runs here; `make test-compiled` runs this")

STEPS: Final = 800
#: With 1, the numbers of a bucket grow beyond 64 bits in the middle of the history.
SEEDS: Final = (1, 3)
#: What the histories must contain to be worth comparing.
SEEN: Final = ("CIRCUIT_OPEN", "CONCURRENCY", "RATE_LIMIT", "REQUEST_CAP", "HeldPermit", "'Permit'")


#: What those of inbound requests must contain.
SEEN_INBOUND: Final = ("all clients", "this address", "this client", "for this route", "same time", "ZeroDivisionError")


def history(seed: int, *plants: str, pure: bool, of: ModuleType = build_history) -> Sequence[str]:
    """Each step of a history, by a process of this environment."""
    command = [sys.executable, "-m", of.__name__, str(seed), str(STEPS), *plants]
    environment = os.environ | {_build.SWITCH: "1" if pure else "0", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


def first_difference(one: Sequence[str], other: Sequence[str]) -> tuple[str, str] | None:
    return next((pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]), None)


@pytest.fixture(scope="module")
def compiled() -> dict[int, Sequence[str]]:
    return {seed: history(seed, pure=False) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_both_builds_answer_the_same_and_are_in_the_same_state_after_each_step(
    seed: int, compiled: dict[int, Sequence[str]]
) -> None:
    assert first_difference(history(seed, pure=True), compiled[seed]) is None


def test_the_histories_reach_what_they_are_for(compiled: dict[int, Sequence[str]]) -> None:
    steps = [step for history in compiled.values() for step in history]
    instants = [int(step.split("\t")[1]) for step in compiled[SEEDS[0]]]

    assert [] == [word for word in SEEN if not any(word in step for step in steps)]
    assert STEPS == len(instants)
    assert instants[STEPS // 20] < build_history.LARGE_AFTER < instants[-1]


@pytest.mark.parametrize("plant", [*build_history.SPENT, *build_history.GRANTED, *build_history.ELSEWHERE])
def test_the_smallest_difference_between_the_builds_is_found(plant: str, compiled: dict[int, Sequence[str]]) -> None:
    assert first_difference(history(SEEDS[0], plant, pure=True), compiled[SEEDS[0]]) is not None


def kept_apart(governor: Governor) -> object:
    return governor._access.latest


@pytest.mark.anyio
async def test_the_address_that_is_kept_apart_is_gone_once_another_life_begins_or_this_one_has_ended() -> None:
    async with Governor() as governor:
        access, life = governor._access, governor._lives._life
        assert life is not None
        assert access.backend is not None
        governor.try_permit("weather")  # Nothing is found yet: the message makes the actor.
        governor.try_permit("weather")

        assert kept_apart(governor) is access.addresses[None]["weather"]
        access.begin(life, access.backend)

        assert kept_apart(governor) is None
        governor.try_permit("weather")
        assert kept_apart(governor) is not None
    assert kept_apart(governor) is None


@pytest.mark.anyio
async def test_the_clock_that_is_read_in_c_is_the_clock_of_the_system() -> None:
    async with Governor(Config.from_mapping({"outbound": {"default": {"limits": ["1000/s burst 1000"]}}})) as governor:
        governor.try_permit("weather")
        for _ in range(100):
            before = monotonic_ns() // 1000
            permit = governor.try_permit("weather")
            after = monotonic_ns() // 1000

            assert isinstance(permit, Permit)
            assert before <= permit._granted_at <= after


@pytest.fixture(scope="module")
def compiled_inbound() -> Sequence[str]:
    return history(SEEDS[0], pure=False, of=inbound_history)


def test_both_builds_admit_the_same_inbound_requests_and_answer_others_alike(compiled_inbound: Sequence[str]) -> None:
    instants = [int(step.split("\t")[1]) for step in compiled_inbound]

    assert first_difference(history(SEEDS[0], pure=True, of=inbound_history), compiled_inbound) is None
    assert [] == [word for word in SEEN_INBOUND if not any(word in step for step in compiled_inbound)]
    assert instants[STEPS // 20] < inbound_history.LARGE_AFTER < instants[-1]


@pytest.mark.parametrize("plant", inbound_history.PLANTS)
def test_the_smallest_difference_of_an_admission_is_found(plant: str, compiled_inbound: Sequence[str]) -> None:
    planted = history(SEEDS[0], plant, pure=True, of=inbound_history)

    assert first_difference(planted, compiled_inbound) is not None
