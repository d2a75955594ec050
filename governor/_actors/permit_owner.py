"""Owners of permits: where outcomes go."""

from collections.abc import MutableSequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

from governor._actors.counters import Counters
from governor._actors.loop_watch import LoopWatch
from governor._failures import Classifier
from governor._fields import Tally
from governor._units import Instant
from governor.messages import Outcome

if TYPE_CHECKING:
    from governor._actors.permit import Permit


class Failing(Protocol):
    """What a permit knows of degraded mode."""

    @property
    def failures(self) -> int:
        """Failures in a row, which a success ends."""


class Outcomes(Protocol):
    """Takes outcomes, on any thread."""

    def append(self, outcome: Outcome, /) -> None:
        """Leaves one."""


class Owner(Protocol):
    """What a permit knows of the actor that granted it."""

    @property
    def scope(self) -> str:
        """The name of the scope."""

    @property
    def thread(self) -> int:
        """The actor's own thread."""

    @property
    def counters(self) -> Counters:
        """The counters of the scope, for calls on the actor's own thread."""

    @property
    def degraded(self) -> "Failing":
        """Degraded mode."""

    @property
    def answered(self) -> Tally | None:
        """Where other threads count successes with status 200; None where they leave them one by one."""

    @property
    def successes(self) -> MutableSequence[Any]:
        """Where other threads leave each other `Success` that need not be read at once. `NOTHING` before `prepare`."""

    def prepare(self) -> None:
        """Makes that list, on any thread."""

    @property
    def listens(self) -> bool:
        """Whether a success would change anything but the counters of the scope."""

    def succeed(self, permit: "Permit", granted_at: Instant, generation: int, status: int | None) -> bool:
        """Records the success of a plain permit where the owner `listens`, on its own thread; False if that takes a step."""

    @property
    def gathers(self) -> bool:
        """Whether successes of permits that were granted ahead are read together soon, although it `listens`."""

    def wake(self) -> None:
        """Has the successes read that were left."""

    @property
    def awaits_answers(self) -> bool:
        """Whether the beginning of an answer would change anything."""

    @property
    def classifier(self) -> Classifier:
        """What an exception says about the provider."""

    @property
    def watch(self) -> LoopWatch | None:
        """The loop guard."""

    @property
    def failures(self) -> Sized:
        """Of all actors, those to whom others have sent failures that are not read yet."""

    @property
    def outcomes(self) -> "Outcomes":
        """Where outcomes are left, from any thread."""

    def deliver(self, outcome: Outcome, *, later: bool = False) -> None:
        """An outcome has been left: has it read, at once on the actor's own thread, unless `later`."""
