"""Address of a scope: what calls need of the place where its permits come from. And the table in which they find it.

That is the actor of the scope, or, in a process whose limits a daemon owns, the scope's stand-in.
"""

from collections.abc import Callable, MutableSequence
from threading import RLock
from typing import Literal, Protocol, final, overload

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


@final
class AddressTable:
    """The addresses of one life of a governor. Any thread may read `addresses`, and change them by the methods.

    A call looks an address up by its method and then by its provider, both as it spells them: `GET` and `get`, `GitHub` and
    `github` are entries of their own, so that no name is normalized. `find` returns the actor of a scope, or None.

    Bound: the table is emptied at `max_entries` spellings. A spelling without an entry costs a call one message.
    """

    __slots__ = ("_entries", "_find", "_lock", "_methods", "_providers", "addresses", "max_entries")

    def __init__(self, addresses: Addresses, find: Callable[[str], Address | None], max_entries: int) -> None:
        self.addresses = addresses
        self.max_entries = max_entries
        self._find = find
        # Can be entered again by its thread: to make an actor may drop another one.
        self._lock = RLock()
        # The spellings in the table: of each method, and of each provider with its key, here without the name itself.
        self._methods: dict[str, tuple[str | None, ...]] = {}
        self._providers: dict[str, tuple[str, ...]] = {}
        self._entries = 0

    def add(self, provider: str, method: str | None, scope: str) -> Address | None:
        """The actor of a scope, which is found from now on as this call has spelled it. None if there can be none."""
        with self._lock:
            actor = self._find(scope)
            if actor is None:
                return None
            if self._entries >= self.max_entries:
                self.clear()
            name, _, called = scope.partition(":")
            providers = self.addresses.get(method)
            if providers is None:
                self.addresses[method] = providers = {}
                self._methods[called] = (*self._methods.get(called, ()), method)
            providers[provider] = actor
            self._entries += 1
            if provider != name and provider not in (known := self._providers.get(name, ())):
                self._providers[name] = (*known, provider)
            return actor

    def forget(self, actor: Address) -> None:
        """Removes all spellings of an actor that has been dropped: the next call in its scope finds another one."""
        with self._lock:
            name, _, called = actor.scope.partition(":")
            others = self._providers.get(name, ())
            for method in self._methods.get(called, ()):
                providers = self.addresses[method]
                for provider in (name, *others):
                    if providers.get(provider) is actor:
                        del providers[provider]
                        self._entries -= 1
                if not providers:
                    del self.addresses[method]
                    self._methods[called] = tuple(one for one in self._methods[called] if one != method)
            if not self._methods.get(called, True):
                del self._methods[called]
            if others and not any(other in providers for providers in self.addresses.values() for other in others):
                del self._providers[name]

    def clear(self) -> None:
        """Removes all entries."""
        self.addresses.clear()
        self._methods.clear()
        self._providers.clear()
        self._entries = 0

    def forked(self) -> None:
        """Removes all entries in a forked child. A thread of the parent may hold the lock, and will never release it here."""
        self._lock = RLock()
        self.clear()
