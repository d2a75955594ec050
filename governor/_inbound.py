"""Admission of inbound requests: what the middleware asks of a governor, from any thread and any event loop.

On the governor's own loop an admission is a function call. From another loop or thread it is one message and one answer. If the
loop does not answer within a second, `on_overload` of the group decides. In a process whose limits a daemon owns, a `Gate` asks
the daemon.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, final

from governor._actors.asking import answer_timeout, overloaded
from governor._actors.portal import Portal
from governor._admission import Admission, EndpointGroup, Gate
from governor._supervisor import Supervisor
from governor.error_log import ErrorLog
from governor.errors import UsageError
from governor.messages import InboundRequest
from governor.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from governor._actors.inbound.group import GroupActor


@final
class Inbound:
    """The inbound groups of a governor.

    `running` returns the portal to the governor's loop, and raises `UsageError` if the governor is not running.
    """

    def __init__(self, running: Callable[[], Portal]) -> None:
        #: Makes the keys by which clients are known.
        self.pseudonyms = Pseudonyms(os.urandom(32))
        #: Paths of the governor's own pages, where an application has mounted them. No inbound limit applies to them.
        self.own_pages: frozenset[str] = frozenset()
        #: Where the governor runs; None before it does.
        self.portal: Portal | None = None
        #: Another object once one of these, or the settings, have changed.
        self.era = object()
        self._running = running
        self._supervisor: Supervisor | None = None
        self._gate: Gate | None = None
        self._error_log = ErrorLog()

    def begin(self, portal: Portal, supervisor: Supervisor, gate: Gate | None) -> None:
        """Called when the governor is entered."""
        self.portal, self._supervisor, self._gate = portal, supervisor, gate
        self.renew()
        if gate is not None:
            gate.rekey = self.rekey

    @property
    def groups(self) -> Mapping[str, "GroupActor"]:
        """The groups by name. Empty before the governor runs."""
        return {} if self._supervisor is None else self._supervisor.groups.by_name

    def rekey(self, secret: bytes) -> None:
        """Clients are known by other keys from now on: those that all processes make with this secret."""
        if secret != self.pseudonyms.secret:
            self.pseudonyms = Pseudonyms(secret)
            self.renew()

    def add_own_pages(self, pages: Iterable[str]) -> None:
        """No inbound limit applies to these paths from now on."""
        self.own_pages = self.own_pages.union(pages)
        self.renew()

    def renew(self) -> None:
        """What was prepared for the settings, the own pages, the pseudonyms or the groups is out of date."""
        self.era = object()

    async def ready(self) -> None:
        """Returns once `pseudonyms` makes the keys by which clients are known: at once, unless a daemon owns the limits.

        Then it waits until the daemon has answered, or is known to be away. Raises `UsageError` if the governor is not running.
        """
        portal, gate = self._running(), self._gate
        if gate is not None:
            await gate.ready(portal)

    def ready_blocking(self) -> None:
        """The same for a thread, which is blocked meanwhile."""
        portal, gate = self._running(), self._gate
        if gate is not None:
            gate.ready_blocking(portal)

    async def admit(self, group: str | EndpointGroup, request: InboundRequest, *, announce: bool = False) -> Admission:
        """Decides on a request to a group. With `announce` the decision carries what is left of the limits.

        A group that does not exist, or that fails, grants every request. From another loop this is one round trip; if the
        governor's loop does not answer within a second, `on_overload` of the group decides. Raises `UsageError` if the governor
        is not running.
        """
        if self.is_here():
            return self.decide(group, request, announce)
        portal, gate = self._running(), self._gate
        try:
            if gate is not None:
                return await gate.admit(portal, group, request, announce=announce)
            decide = partial(self.decide, group, request, announce, portal)
            return await portal.acall(decide, answer_timeout(0), unwanted=_withdraw)
        except TimeoutError:
            return self._unanswered(portal, group, request)

    def admit_blocking(self, group: str | EndpointGroup, request: InboundRequest, *, announce: bool = False) -> Admission:
        """Decides as `admit` does, and blocks the calling thread for one round trip."""
        portal, gate = self._running(), self._gate
        try:
            if gate is not None:
                return gate.admit_blocking(portal, group, request, announce=announce)
            decide = partial(self.decide, group, request, announce, portal)
            return portal.call(decide, answer_timeout(0), unwanted=_withdraw)
        except TimeoutError:
            return self._unanswered(portal, group, request)

    def post(self, callback: Callable[[], object]) -> None:
        """Runs the callback on the governor's loop soon, from whichever thread; not at all if the governor does not run."""
        if self.portal is not None:
            self.portal.post(callback)

    def is_here(self) -> bool:
        """Whether the governor runs on the loop of the calling code, so that `decide` may be called."""
        # A forked child finds the portal ended, which spares nearly all requests a look at the process.
        portal = self.portal
        if portal is None or portal.ended:
            return False
        # Nothing is waited for, so that on the thread of asyncio's loop any loop will do, as for `Governor.try_permit`: to look
        # which one runs takes three calls. Tasks of trio, of which one may have to be woken, are woken from inside only.
        return (get_ident() == portal.thread and not portal.on_trio) or portal.on_loop()

    def is_local(self) -> bool:
        """Whether the governor runs, and does so on the event loop of the calling code."""
        try:
            return self._running().on_loop()
        except UsageError:
            return False

    def decide(
        self, group: str | EndpointGroup, request: InboundRequest, announce: bool, portal: Portal | None = None
    ) -> Admission:
        """Decides on the governor's loop, and waits for nothing. `portal` leads back to it, for a request from elsewhere."""
        supervisor = self._supervisor
        # As `_actor` finds it, without its call.
        known = None if supervisor is None or not isinstance(group, str) else supervisor.groups.by_name.get(group)
        actor = known or self._actor(group)
        if actor is None:
            return Admission()
        try:
            denied = actor.admit(request)
            least = actor.least(request) if announce and denied is None else None
        except Exception as error:
            self.failed(actor, error)
            return Admission()
        if portal is not None:
            return Admission(denied, least, partial(_end, portal, actor, request))
        # A group that counts requests in flight needs to know which one has ended.
        return Admission(denied, least, partial(actor.ended, request=request) if actor.holds else actor.end)

    def failed(self, actor: "GroupActor", error: Exception) -> None:
        """Logs that a group has failed to decide."""
        self._error_log(f"The inbound group {actor.name} failed, and requests pass", error)

    def _actor(self, group: str | EndpointGroup) -> "GroupActor | None":
        supervisor = self._supervisor
        if supervisor is None:
            raise UsageError("the governor has been closed")
        if isinstance(group, str):
            return supervisor.groups.get(group)
        return supervisor.groups.endpoint(group.key, group.name, group.policy)

    def _unanswered(self, portal: Portal, group: str | EndpointGroup, request: InboundRequest) -> Admission:
        """Decides without the governor's loop, which counts the request as soon as it runs again."""
        supervisor = self._supervisor
        if supervisor is None:
            return Admission()
        actor = supervisor.groups.get(group) if isinstance(group, str) else supervisor.groups.known_endpoint(group.key)
        if actor is None:
            # Nothing counts a request to a group that has not started yet.
            if isinstance(group, str) or group.policy.on_overload == "pass":
                return Admission()
            return Admission(overloaded(group.name))
        granted = actor.settings.on_overload == "pass"
        portal.post(partial(actor.unanswered, request, granted=granted))
        effect = "pass without limits" if granted else "are denied"
        self._error_log.warn(f"The governor's event loop does not answer in time: inbound requests of {actor.name} {effect}.")
        return Admission(end=partial(_end, portal, actor, request)) if granted else Admission(overloaded(actor.name))


def _end(portal: Portal, actor: "GroupActor", request: InboundRequest, status: int | None) -> None:
    if portal.on_loop() or portal.is_paused():
        actor.ended(status, request)
    else:
        portal.post(partial(actor.ended, status, request))


def _withdraw(admission: Admission) -> None:
    """The asking task or thread gave up before the decision arrived: the request broke off."""
    if admission.granted:
        admission.end(None)
