"""The lifecycle of an actor: every cell of the table, and what a stopped actor answers."""

import itertools
from functools import partial

import pytest

from governor._actors.lifecycle import TABLE, Event, IllegalEventError, Lifecycle, State
from governor._units import SECOND, Instant
from governor.errors import Reason
from governor.messages import Denied

CELLS = list(itertools.product(State, Event))
DOWN = Denied("weather", Reason.OVERLOADED, 60.0)


def in_state(state: State) -> Lifecycle:
    life = Lifecycle()
    life.state = state
    return life


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell in TABLE])
def test_a_legal_event_leads_to_the_state_of_the_table(state: State, event: Event) -> None:
    life = in_state(state)
    life.apply(event)

    assert TABLE[state, event] is life.state


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell not in TABLE])
def test_an_illegal_event_raises_and_changes_nothing(state: State, event: Event) -> None:
    life = in_state(state)
    with pytest.raises(IllegalEventError, match=f"^{event.name} is illegal for an actor that is {state.name}$"):
        life.apply(event)

    assert state is life.state


@pytest.mark.parametrize("state", [state for state in State if state.name.endswith("BUSY")])
def test_no_step_begins_within_a_step_and_every_step_ends(state: State) -> None:
    assert (state, Event.BEGIN) not in TABLE
    assert in_state(state).busy
    assert not in_state(TABLE[state, Event.END]).busy


@pytest.mark.parametrize("state", State)
def test_from_every_state_an_actor_can_be_closed_and_a_closed_one_is_never_reopened(state: State) -> None:
    life = in_state(state)
    life.stop(DOWN, closed=True)

    assert life.closed
    assert {State.CLOSED, State.CLOSED_BUSY} >= {after for (before, _), after in TABLE.items() if before >= State.CLOSED}


@pytest.mark.parametrize("state", State)
def test_an_actor_is_live_passive_down_or_closed(state: State) -> None:
    life = in_state(state)

    assert 1 == life.live + life.passive + life.down + life.closed


def test_a_down_actor_answers_until_it_is_reopened() -> None:
    life = Lifecycle()
    before = life.answer(lambda: Instant(0))
    life.stop(DOWN)
    down = life.answer(lambda: Instant(0))
    life.reopen()

    assert (None, DOWN, None) == (before, down, life.answer(lambda: Instant(0)))


def test_one_that_is_down_until_an_instant_answers_what_is_left_and_at_least_a_microsecond() -> None:
    life = Lifecycle()
    life.stop(DOWN, until=Instant(10 * SECOND))
    answers = [life.answer(partial(Instant, at)) for at in (0, 4 * SECOND, 11 * SECOND)]

    assert [10.0, 6.0, 1e-06] == [answer.retry_after for answer in answers if answer is not None]
