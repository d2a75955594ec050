"""Address of a scope: what calls need of the place where its permits come from.

That is the actor of the scope, or, in a process whose limits a daemon owns, the scope's stand-in.
"""

from collections.abc import MutableSequence
from typing import Literal, Protocol, overload

from governor._actors.leases.leased_permits import LeasedPermits
from governor._actors.loop_watch import LoopWatch
from governor._actors.permit import Permit
from governor._actors.portal import Portal
from governor._actors.queue import Waiter
from governor._units import Instant
from governor.messages import Acquire, Denied, Leave, PlanRetry, RetryPlan
from governor.policies.loops import Loops


class _RetryBudget(Protocol):
    def deposit(self, now: Instant) -> object: ...


class _Ledger(Protocol):
    @property
    def budget(self) -> _RetryBudget: ...


class PlanToCome(Protocol):
    """The plan of a retry that another process makes."""

    def wait_blocking(self, portal: Portal, timeout: float) -> RetryPlan:
        """The plan. Raises `TimeoutError` if it does not come in so many seconds."""

    async def wait(self, portal: Portal, timeout: float) -> RetryPlan:
        """The same for a task on another loop, which goes on meanwhile."""


class Address(LeasedPermits, Protocol):
    """`send`, `take`, `deposits` and `leased` are for any thread, the rest for that of the actors."""

    @property
    def scope(self) -> str:
        """The name of the scope."""

    @property
    def watch(self) -> LoopWatch | None:
        """The loop guard."""

    @property
    def loops(self) -> Loops:
        """The parameters of the loop guard."""

    @property
    def ledger(self) -> _Ledger:
        """Holds the retry budget, into which the first attempt of an operation pays."""

    def take(self) -> Permit | None:
        """One request out of the lease, if there is one and nothing must be read first."""

    @property
    def deposits(self) -> MutableSequence[None]:
        """Where an operation whose first attempt took a permit of the lease leaves one entry, for the retry budget."""

    # Asks.

    @overload
    def grab(self) -> Permit | None: ...

    @overload
    def grab(self, deny: Literal[True]) -> Permit | Denied | None: ...

    def grab(self, deny: bool = False) -> Permit | Denied | None:
        """One request, at once; None if that takes a step. With `deny` a denial, if that takes no step."""

    def try_acquire(self) -> Permit | Denied:
        """One request, now or not at all."""

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """An ask. None means that the waiter will be woken with the answer."""

    def leave(self, waiter: Waiter) -> None:
        """The waiter no longer waits. A permit that it was given meanwhile is given back."""

    def send(self, message: Acquire | Leave, waiter: Waiter | None = None) -> None:
        """The same as a message."""

    def plan_retry(self, message: PlanRetry) -> RetryPlan | PlanToCome:
        """Plans the next attempt of an operation whose latest one has failed."""


#: Addresses by the method and then by the provider, each as a call spells it: methods are few, and each has a dictionary.
Addresses = dict[str | None, dict[str, Address]]
