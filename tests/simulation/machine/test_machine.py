"""Processes that share limits keep them, and every call is answered, whatever befalls them: the whole machine in virtual time.

Here a few runs. `python -m tests.simulation.machine.run 0 500` plays five hundred, and says which faults a failure needs.
"""

import pytest

from tests.simulation.machine.run import play
from tests.simulation.machine.scenario import Fault, Scenario

pytestmark = pytest.mark.promise("R02", "R04", "R14", "R60", "R61", "R62", "R63")


@pytest.mark.parametrize("seed", [4, 7, 13, 29])
def test_whatever_befalls_the_machine_every_promise_is_kept(seed: int) -> None:
    play(Scenario.drawn(seed))


def test_what_was_used_without_an_owner_is_known_before_one_that_ended_in_order_grants_again() -> None:
    play(Scenario(8, state=True, away="share", drifts=False, faults=(Fault(1200, "restart owner", 0, 2500),), lasts=5000))


def test_an_owner_that_stood_still_frees_no_place_of_calls_that_were_granted_without_it() -> None:
    play(Scenario(11, state=True, away="share", drifts=False, faults=(Fault(1500, "stop owner", 0, 2500, 40),), thinks=5))


def test_an_owner_that_stood_still_waits_for_all_who_have_used_a_share_before_it_grants() -> None:
    play(Scenario(46, state=True, away="share", drifts=False, faults=(Fault(1500, "stop owner", 0, 2500, 40),), thinks=5))


def test_a_seed_plays_the_same_run_again() -> None:
    first, second = (play(Scenario.drawn(15, lasts=2000)) for _ in range(2))

    assert first.provider.calls == second.provider.calls
    assert first.world.diary == second.world.diary
    assert first.world.steps == second.world.steps
