"""What the actors of one governor have in common, so that each of them keeps one reference to all of it."""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Protocol, final

import msgspec

from governor._actors.alarm import Alarms
from governor._actors.effects import Effect, Surroundings
from governor._actors.failures import Failures
from governor._actors.loop_watch import LoopWatch
from governor._actors.portal import Portal
from governor._failures import DEFAULT, Classifier
from governor._units import Instant
from governor.instrumentation import Announcer

if TYPE_CHECKING:
    from governor._actors.actor import ScopeActor
    from governor._actors.steps import Steps


class Parent(Surroundings, Protocol):
    """The supervisor, as its actors know it."""

    #: The actors with permits granted ahead that are outstanding.
    leasing: "set[ScopeActor]"
    alarms: Alarms

    def perform(self, actor: "ScopeActor", effect: Effect) -> None:
        """Does what a step of the actor asks for."""


@final
class Common(msgspec.Struct, eq=False, kw_only=True):
    """The surroundings of all actors of one governor. `max_waiting` follows the settings."""

    portal: Portal
    failures: Failures
    clock: Callable[[], Instant]
    random: Random
    parent: Parent
    announcer: Announcer
    max_waiting: int
    classifier: Classifier = DEFAULT
    #: The loop guard.
    watch: LoopWatch | None = None
    #: The steps of actors while they are being made: see `Stepped`.
    making: "dict[ScopeActor, Steps]" = msgspec.field(default_factory=dict)
