"""Lifecycle of an actor: one table of states, and what a down or closed actor answers.

A step is one call of a handler. An actor runs one step at a time, in every state: outcomes are read while the actor is passive
or down as well. So each state has a second form, `..._BUSY`, for as long as a step runs.

Compiled where there is a compiler, as the counters are: see there.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, final

# C: import cython
import msgspec

from governor._fields import stored_directly
from governor._units import Instant, to_seconds
from governor.messages import Denied


class State(IntEnum):
    """The state of an actor. Odd while a step runs."""

    #: Live: asked lately.
    IDLE = 0
    BUSY = 1
    #: No call has asked for a while, and it may make room. The next ask resumes it.
    PASSIVE = 2
    PASSIVE_BUSY = 3
    #: Denies every ask until it is reopened, after a crash for instance.
    DOWN = 4
    DOWN_BUSY = 5
    #: Denies every ask, for good.
    CLOSED = 6
    CLOSED_BUSY = 7


class Event(IntEnum):
    """What happens to an actor."""

    BEGIN = 0
    END = 1
    PASSIVATE = 2
    RESUME = 3
    FAIL = 4
    REOPEN = 5
    CLOSE = 6


class IllegalEventError(RuntimeError):
    """An event that the state of the actor does not allow: a bug in this library."""


IDLE: Final = State.IDLE
BUSY: Final = State.BUSY
DOWN: Final = State.DOWN

#: Every legal event and the state after it. Any other pair is illegal.
TABLE: Final[Mapping[tuple[State, Event], State]] = {
    (State.IDLE, Event.BEGIN): State.BUSY,
    (State.PASSIVE, Event.BEGIN): State.PASSIVE_BUSY,
    (State.DOWN, Event.BEGIN): State.DOWN_BUSY,
    (State.CLOSED, Event.BEGIN): State.CLOSED_BUSY,
    (State.BUSY, Event.END): State.IDLE,
    (State.PASSIVE_BUSY, Event.END): State.PASSIVE,
    (State.DOWN_BUSY, Event.END): State.DOWN,
    (State.CLOSED_BUSY, Event.END): State.CLOSED,
    (State.IDLE, Event.PASSIVATE): State.PASSIVE,
    # Resumed by an ask, and an ask is decided in a step.
    (State.PASSIVE_BUSY, Event.RESUME): State.BUSY,
    (State.IDLE, Event.FAIL): State.DOWN,
    (State.BUSY, Event.FAIL): State.DOWN_BUSY,
    (State.PASSIVE, Event.FAIL): State.DOWN,
    # Once more, with another reason or for longer.
    (State.DOWN, Event.FAIL): State.DOWN,
    (State.DOWN, Event.REOPEN): State.IDLE,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.BUSY, Event.CLOSE): State.CLOSED_BUSY,
    (State.PASSIVE, Event.CLOSE): State.CLOSED,
    (State.PASSIVE_BUSY, Event.CLOSE): State.CLOSED_BUSY,
    (State.DOWN, Event.CLOSE): State.CLOSED,
    (State.DOWN_BUSY, Event.CLOSE): State.CLOSED_BUSY,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
    (State.CLOSED_BUSY, Event.CLOSE): State.CLOSED_BUSY,
}


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
@final
class Lifecycle(msgspec.Struct, gc=False, eq=False):  # C: class Lifecycle:
    """The state of one actor.

    The hot path of an actor reads `state`, and sets it from `IDLE` to `BUSY` and back, without a call.
    """

    state: State = IDLE
    _answer: Denied | None = None
    _until: Instant | None = None

    # C: def __init__(self):
    # C:     self.state = IDLE

    @property
    def busy(self) -> bool:
        """Whether a step runs."""
        return bool(self.state & 1)

    @property
    def live(self) -> bool:
        """Whether the actor decides asks without being resumed or reopened first."""
        return self.state <= BUSY

    @property
    def passive(self) -> bool:
        """Whether the next ask resumes the actor."""
        return self.state in (State.PASSIVE, State.PASSIVE_BUSY)

    @property
    def down(self) -> bool:
        """Whether the actor denies every ask until it is reopened."""
        return self.state in (State.DOWN, State.DOWN_BUSY)

    @property
    def closed(self) -> bool:
        """Whether the actor denies every ask for good."""
        return self.state >= State.CLOSED

    def apply(self, event: Event) -> None:
        """Moves to the next state. Raises `IllegalEventError`, and changes nothing, if the table has none."""
        after = TABLE.get((self.state, event))
        if after is None:
            raise IllegalEventError(f"{event.name} is illegal for an actor that is {self.state.name}")
        self.state = after

    def stop(self, answer: Denied, *, until: Instant | None = None, closed: bool = False) -> None:
        """Takes the actor down, or closes it. From now on every ask is answered `answer`.

        With `until`, `retry_after` is what is left of the time until that instant.
        """
        self.apply(Event.CLOSE if closed else Event.FAIL)
        self._answer = answer
        self._until = until

    def reopen(self) -> None:
        """Lets a down actor decide asks again."""
        self.apply(Event.REOPEN)
        self._answer = self._until = None

    def answer(self, clock: Callable[[], Instant]) -> Denied | None:
        """The answer to an ask while the actor is down or closed; None while it is not."""
        if self._answer is None or self._until is None:
            return self._answer
        return Denied(self._answer.scope, self._answer.reason, to_seconds(max(1, self._until - clock())))

    def __repr__(self) -> str:
        return f"<Lifecycle, {self.state.name.lower()}>"
