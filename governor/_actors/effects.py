"""Effects: what a step of a scope asks the supervisor to do. The step goes on as if it were done already."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from governor._actors.ledger import Ledger
from governor._actors.permit_owner import Owner
from governor._units import Instant
from governor.policies.ban_guard import News
from governor.policies.breakers.states import BreakerStatus
from governor.policies.loops import Loops
from governor.policies.pipeline import Pipeline
from governor.policies.provider import ProviderPolicies
from governor.policies.shared_limit import LimitQueue


class Signal(Enum):
    """An effect without a value."""

    #: Degraded mode has begun: all scopes recall their leases and look at their queues.
    PAUSED = "paused"
    #: Much of the global cap may be in use.
    HIGH_USE = "high_use"
    #: A passive actor has been asked.
    RESUMED = "resumed"


class BreakerMoved(msgspec.Struct, frozen=True):
    """The breaker of the scope has left this status."""

    before: BreakerStatus


class CooldownMoved(msgspec.Struct, frozen=True):
    """A server has asked for a longer pause of this provider: its scopes recall their leases and look at their queues."""

    provider: str


class ProviderChanged(msgspec.Struct, frozen=True):
    """The limits of this provider are others now: its other scopes rebuild their pipelines."""

    provider: str


class BansMoved(msgspec.Struct, frozen=True):
    """What the server has rejected closes or reopens the provider or the scope, or has its calls under way counted."""

    provider: str
    news: News


class Crashed(msgspec.Struct, frozen=True):
    """A handler has raised, and the actor is down until it is restarted."""

    error: Exception


Effect = Signal | BreakerMoved | Crashed | CooldownMoved | ProviderChanged | BansMoved


class Served(Protocol):
    """What serves the queue of a scope."""

    def read_soon(self) -> None:
        """Serves it, now or soon."""


class Performer(Owner, Protocol):
    """The actor of a scope, as its steps know it."""

    #: The parameters of the loop guard.
    loops: Loops

    def copy(self) -> None:
        """Copies what calls read without a step. Called at the end of each."""

    def perform(self, effect: Effect) -> None:
        """Does what a step asks for."""


class Others(Protocol):
    """The scopes that share limits with one scope."""

    def recall(self, provider: ProviderPolicies) -> bool:
        """Recalls what is granted ahead in the scopes of a provider. False if nothing was."""

    def serve(self, queues: Iterable[LimitQueue]) -> None:
        """Serves the scopes that stand first in these queues of shared limits, and in all that move on because of that."""

    def ledgers(self, provider: ProviderPolicies) -> Sequence[Ledger]:
        """The ledgers of the scopes of a provider."""

    def part(self, provider: ProviderPolicies) -> float:
        """What part of all requests so far has gone to this provider."""

    def pipeline(self, ledger: Ledger) -> Pipeline:
        """Policies for a scope whose server has revealed other limits, with nothing spent of its own."""


class Surroundings(Protocol):
    """What the decisions of one scope need to know of all the others, at once."""

    @property
    def sharing(self) -> Others:
        """The scopes that share limits."""

    def recall_all(self) -> None:
        """Recalls what is granted ahead, in every scope."""

    def is_any_healthy(self, now: Instant) -> bool:
        """Whether a provider that has no part in the current run of failures is known to be healthy."""
