"""Access to the actors of a governor from wherever a call is: on their loop, on another thread, or on another event loop."""

import os
from collections.abc import Callable, Mapping, Sized
from functools import partial
from threading import Event, get_ident
from typing import Final, Protocol, final

import anyio
import anyio.lowlevel

from governor._actors.address import Address, Addresses, AddressTable
from governor._actors.asking import answer_timeout, ask_blocking, ask_from_another_loop, ask_here, grab, later, overloaded
from governor._actors.leases.leased_permits import LeasedPermits
from governor._actors.permit import Permit
from governor._actors.portal import Portal
from governor._backend import Backend
from governor._failures import Classifier
from governor._life import Life
from governor._taking import Taking
from governor.config import Config, scope_of
from governor.errors import Reason, UsageError
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN
from governor.statistics import Statistics

#: What most calls ask for: a permit for one request, as long as that takes.
ANY: Final = Acquire(PLAIN, None)
#: Seconds between two looks at a survey that another process makes.
_SURVEY_INTERVAL: Final = 0.001


class Leases(Protocol):
    """Permits without a message to the scope."""

    @property
    def addresses(self) -> Mapping[str | None, Mapping[str, LeasedPermits]]:
        """The leases of scopes, by method and then by provider as spelled. Others after the governor is entered again."""

    @property
    def by_label(self) -> Sized:
        """Not empty once the label of a caller may decide: then ask with `take`, not with the addresses. The same for ever."""

    def label(self, caller: str | None) -> str | None:
        """The label of a call that names this caller, or none: then that of the block of code."""

    def take(
        self,
        provider: str,
        method: str | None,
        attempt: int | None = None,
        caller: str | None = None,
        *,
        unwatched: bool = False,
    ) -> Permit | None:
        """A permit for one request if one is granted at once; None says nothing: ask with `acquire` or `acquire_blocking`.

        From any thread. The parameters are those of `acquire`. With `unwatched`, there is none either if the loop guard watches
        for repetitions of calls with this method, so that a fingerprint is of use.
        """

    def watches(self, provider: str, method: str) -> bool:
        """Whether the loop guard watches for repetitions of calls with this method, so that a fingerprint is of use."""


@final
class Access(Taking):
    """Finds the actor of a scope, and asks it. Any thread may use it."""

    __slots__ = ("_table", "backend", "classifier", "portal", "process")

    def __init__(self, config: Config, classifier: Classifier) -> None:
        #: What an exception says about the provider whose call it ended.
        self.classifier = classifier
        self.by_label = []
        self.addresses = {}
        self._table = AddressTable(self.addresses, lambda _: None, 0)
        self.follow(config)
        self.thread = 0
        #: The process in which the governor was entered.
        self.process = 0
        self.portal: Portal | None = None
        self.backend: Backend | None = None

    def begin(self, life: Life, backend: Backend) -> None:
        """Leads to the actors of another life."""
        self.addresses = life.addresses
        self._table = AddressTable(life.addresses, backend.actor, self._table.max_entries)
        self.portal, self.backend = life.portal, backend
        self.latest, self.thread = None, life.portal.thread

    def follow(self, config: Config) -> None:
        """These settings are in force from now on. Once there is a budget, calls with a label go to the actor."""
        self._table.max_entries = 4 * config.global_.max_scopes
        if config.budget:
            self.by_label[:] = (None,)

    def forked(self) -> None:
        """A forked child has a copy of the actors and none of their loop: no call may reach them directly."""
        self.thread = 0
        self._table.forked()
        if self.portal is not None:
            self.portal.ended = True

    def forget(self, addresses: Addresses, actor: Address) -> None:
        """The actor has been dropped: the next call in its scope finds another one."""
        table = self._table
        if addresses is table.addresses:
            table.forget(actor)
            self.latest = None

    # The loop of the actors.

    def running(self) -> Portal:
        """The portal of a governor that was entered in this process. Raises `UsageError` for any other."""
        if self.portal is None:
            raise UsageError("this governor is not running; use `async with Governor(...)` or `with Governor(...)`")
        if self.process != os.getpid():
            raise UsageError("this governor was started before a fork and does not run in this process; start one here")
        return self.portal

    def still_running(self) -> Portal:
        """The portal of a governor that has not been left. Raises `UsageError` for any other."""
        portal = self.running()
        if portal.ended:
            raise UsageError("the governor has been closed")
        return portal

    def supervised(self) -> Backend:
        """The backend. Raises `UsageError` if there never was one."""
        if self.backend is None:
            raise UsageError("the governor has been closed")
        return self.backend

    def statistics(self) -> Statistics:
        """The statistics of the backend, from any thread, which is blocked meanwhile."""
        portal, backend = self.running(), self.supervised()
        found = portal.call(backend.statistics)
        survey = None if found is not None else backend.survey()
        while found is None and survey is not None:
            Event().wait(_SURVEY_INTERVAL)
            found = portal.call(partial(next, survey))
        assert found is not None, "a survey ends with a record"
        return found

    # The address of a scope.

    def find(
        self, provider: str, method: str | None, timeout: float | None, portal: Portal | None = None, *, here: bool = False
    ) -> Address | Denied:
        """The actor of a scope, from any thread. A denial if there can be none, or if the loop does not answer in time.

        `portal` is given by a caller who has it, and `here` by one who knows that it may call the actors.
        """
        portal = portal or self.running()
        known = self.known(provider, method)
        if known is not None:
            return known
        scope = scope_of(provider, method)
        if portal.ended:
            return Denied(scope, Reason.SHUTTING_DOWN, None)
        if here or (self.backend is not None and self.backend.anywhere) or portal.here():
            return self._table.add(provider, method, scope) or overloaded(scope)
        try:
            return portal.call(partial(self._table.add, provider, method, scope), answer_timeout(timeout)) or overloaded(scope)
        except (TimeoutError, UsageError) as error:
            return unanswered(scope, error)

    async def afind(self, provider: str, method: str | None, timeout: float | None) -> Address | Denied:
        """The same for a task on another loop, which goes on meanwhile."""
        portal = self.running()
        known = self.known(provider, method)
        if known is not None:
            return known
        scope = scope_of(provider, method)
        if portal.ended:
            return Denied(scope, Reason.SHUTTING_DOWN, None)
        try:
            if self.backend is not None and self.backend.anywhere:
                return self._table.add(provider, method, scope) or overloaded(scope)
            found = await portal.acall(partial(self._table.add, provider, method, scope), answer_timeout(timeout))
            return found or overloaded(scope)
        except (TimeoutError, UsageError) as error:
            return unanswered(scope, error)

    # Asking.

    def must_not_block(self) -> bool:
        """Whether the caller runs on the loop that grants permits, which must go on meanwhile."""
        if get_ident() != self.thread:
            return False
        portal = self.running()
        return portal.on_loop() and not portal.ended

    def watches(self, provider: str, method: str) -> bool:
        """See `Leases.watches`. True for a scope that is not known yet."""
        actor = self.known(provider, method)
        if actor is None:
            return True
        rule = actor.loops
        return rule.enabled and method.upper() in rule.methods

    def try_acquire(self, provider: str, method: str | None, acquire: Acquire) -> Permit | Denied:
        """A permit now or not at all, by a step of the actor."""
        portal = self.running()
        here = portal.here()
        actor = self.find(provider, method, 0, portal, here=here)
        if isinstance(actor, Denied):
            return actor
        if here:
            # The first call in a scope comes here, as one that knows no address. It need not take a step for that.
            permit = grab(actor, acquire) if acquire.suits_lease and acquire.watched is None and not self.by_label else None
            return permit or actor.acquire(acquire, None) or overloaded(actor.scope)
        return ask_blocking(portal, actor, acquire)

    def acquire_blocking(self, provider: str, method: str | None, acquire: Acquire) -> Permit:
        """A permit for a thread that may wait. Raises a leaf of `PermitDenied`, and `UsageError` where waiting is in vain."""
        if acquire.request is PLAIN:
            permit = self.take(provider, method, acquire.attempt, acquire.caller, acquire.watched)
            if permit is not None:
                return permit
        answer: Permit | Denied
        portal = self.running()
        actor = self.find(provider, method, acquire.timeout, portal)
        if isinstance(actor, Denied):
            answer = actor
        else:
            answer = _acquire_here(actor, acquire) if portal.here() else ask_blocking(portal, actor, acquire)
        if isinstance(answer, Denied):
            if answer.again and answer.retry_after is not None:
                Event().wait(answer.retry_after)
                return self.acquire_blocking(provider, method, later(acquire, answer.retry_after))
            raise answer.exception()
        return answer

    async def acquire(self, provider: str, method: str | None, acquire: Acquire, permits: list[Permit] | None = None) -> Permit:
        """A permit for a task on any event loop, which is added to `permits` as well. Raises a leaf of `PermitDenied`."""
        permit = None
        if acquire is ANY and get_ident() == self.thread and not self.by_label:
            # `take`, without its call: what nearly every `async with` costs.
            try:
                actor = self.addresses[method][provider]
            except (KeyError, TypeError):
                actor = None
            if actor is not None:
                permit = actor.grab()
        elif acquire.request is PLAIN:
            permit = self.take(provider, method, acquire.attempt, acquire.caller, acquire.watched)
        if permit is None:
            permit = await self._acquire(provider, method, acquire)
        if permits is not None:
            permits.append(permit)
        return permit

    async def _acquire(self, provider: str, method: str | None, acquire: Acquire) -> Permit:
        here = get_ident() == self.thread and self.running().on_loop()
        answer: Permit | Denied
        find = (provider, method, acquire.timeout)
        actor = self.find(*find) if here else await self.afind(*find)
        if isinstance(actor, Denied):
            answer = actor
        else:
            answer = await (ask_here(actor, acquire) if here else self._ask(actor, acquire))
        if isinstance(answer, Denied):
            if answer.again and answer.retry_after is not None:
                await anyio.sleep(answer.retry_after)
                return await self.acquire(provider, method, later(acquire, answer.retry_after))
            # A task that asks in a loop must not keep the event loop from all others, least of all from the outcomes and alarms
            # that would end the denials.
            await anyio.lowlevel.checkpoint()
            raise answer.exception()
        return answer

    async def _ask(self, actor: Address, acquire: Acquire) -> Permit | Denied:
        portal = self.running()
        # On another thread than at first, it may be the governor's own loop nevertheless.
        return await (ask_here(actor, acquire) if portal.on_loop() else ask_from_another_loop(portal, actor, acquire))


@final
class FoundAccess(Taking):
    """The access of a governor that `find` looks up, except for permits at hand in the governor that was found last.

    A governor that has ended, or that belongs to the parent of this process, has none at hand.
    The methods are those of `Access`.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[], Access]) -> None:
        self._find = find
        self.addresses, self.by_label = {}, []
        # Nowhere: a call on the loop of the governor that is found takes a permit at hand, or the longer way.
        self.thread = 0

    def _found(self) -> Access:
        found = self._find()
        # A governor that is entered again has other addresses.
        self.addresses, self.by_label = found.addresses, found.by_label
        return found

    @property
    def classifier(self) -> Classifier:
        """What an exception says about the provider."""
        return self._found().classifier

    def running(self) -> Portal:
        """The portal."""
        return self._found().running()

    def must_not_block(self) -> bool:
        """Whether the caller runs on the loop that grants permits."""
        return self._found().must_not_block()

    def try_acquire(self, provider: str, method: str | None, acquire: Acquire) -> Permit | Denied:
        """A permit now or not at all."""
        return self._found().try_acquire(provider, method, acquire)

    def acquire_blocking(self, provider: str, method: str | None, acquire: Acquire) -> Permit:
        """A permit for a thread that may wait."""
        return self._found().acquire_blocking(provider, method, acquire)

    async def acquire(self, provider: str, method: str | None, acquire: Acquire, permits: list[Permit] | None = None) -> Permit:
        """A permit for a task on any event loop."""
        return await self._found().acquire(provider, method, acquire, permits)


# The interpreter names it so in its warning of a request for a permit that is never entered.
Access.acquire.__qualname__ = "Governor.permit"


def unanswered(scope: str, error: TimeoutError | UsageError) -> Denied:
    """The denial of a call whose message the governor's loop has not answered: it stands still, or has ended."""
    return overloaded(scope) if isinstance(error, TimeoutError) else Denied(scope, Reason.SHUTTING_DOWN, None)


def _acquire_here(actor: Address, acquire: Acquire) -> Permit | Denied:
    """The answer to a thread that the actor's loop needs in order to run: waiting would be in vain."""
    answer = actor.acquire(acquire, None) or overloaded(actor.scope)
    if isinstance(answer, Denied) and answer.retry_after is not None and acquire.timeout != 0:
        raise UsageError(
            f"a permit for {actor.scope} takes {answer.retry_after:.3f} s, and waiting here would block the event loop "
            "that grants it; ask in a coroutine (`async with`, `aget` of a client), or without a wait (`timeout=0`, `wait=0`)"
        )
    return answer
