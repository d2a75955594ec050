"""Admission of inbound requests: the part of the governor that the middleware asks.

On the governor's own loop an ask is a function call. From another loop or thread it is one message and one answer, with a
timeout: a loop that does not answer in time decides by `on_overload` of the group.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, final

from governor._actors.asking import answer_timeout, overloaded
from governor._actors.group import GroupActor, Left
from governor._actors.portal import Portal
from governor._supervisor import Supervisor
from governor._units import MINUTE
from governor.clock import system_clock
from governor.config import InboundGroup
from governor.errors import UsageError
from governor.messages import Denied, InboundDenied, InboundRequest

_log: Final = logging.getLogger("governor")


class Ending(Protocol):
    """Tells the governor what became of an inbound request that went on."""

    def __call__(self, status: int | None, request: InboundRequest | None = None) -> None: ...


@final
class Inbound:
    """The inbound groups of a governor, from any thread and any event loop.

    `running` returns where the actors live, and raises `UsageError` if the governor is not running.
    """

    def __init__(self, running: Callable[[], Portal]) -> None:
        self._running = running
        self._portal: Portal | None = None
        self._supervisor: Supervisor | None = None
        #: When each group was last warned of, as the governor's loop did not answer; written by other threads.
        self._warned_at: dict[str, int] = {}

    def begin(self, portal: Portal, supervisor: Supervisor) -> None:
        """The governor has been entered."""
        self._portal, self._supervisor = portal, supervisor

    def group(self, name: str) -> GroupActor | None:
        """The actor of a group, for callers on the governor's own loop. None while the governor does not run."""
        portal, supervisor = self._portal, self._supervisor
        return None if supervisor is None or portal is None or portal.ended else supervisor.groups.get(name)

    def here(self) -> bool:
        """May the code that asks call the governor's actors directly? On its loop, and where that cannot run meanwhile."""
        portal = self._portal
        return portal is not None and not portal.ended and (portal.on_loop() or portal.is_paused())

    async def visit(self, group: str, request: InboundRequest) -> InboundDenied | Denied | None:
        """May this request go on? None if so. A group that there is not, or that fails, lets everybody pass.

        From another loop this is a message and an answer. If the governor's loop does not answer for a second, `on_overload` of
        the group decides: the request may go on, or is denied as `overloaded`. Either is counted, and nothing is spent. Raises
        `UsageError` if the governor is not running.
        """
        portal = self._running()
        if portal.on_loop():
            return self._visit(group, request)
        try:
            return await portal.acall(
                partial(self._visit, group, request),
                answer_timeout(0),
                unwanted=partial(self._visit_unwanted, portal, group, request),
            )
        except TimeoutError:
            return self._visit_unanswered(portal, group, request)

    def visit_blocking(self, group: str, request: InboundRequest) -> InboundDenied | Denied | None:
        """The same for a thread, which it blocks for one round trip."""
        portal = self._running()
        unwanted = partial(self._visit_unwanted, portal, group, request)
        try:
            answer: InboundDenied | None = portal.call(
                partial(self._visit, group, request), answer_timeout(0), unwanted=unwanted
            )
            return answer
        except TimeoutError:
            return self._visit_unanswered(portal, group, request)

    async def visit_endpoint(
        self, key: object, name: str, policy: InboundGroup, request: InboundRequest
    ) -> tuple[str, InboundDenied | Denied | None] | None:
        """May this request to an endpoint with a limit of its own go on? The name of its group, and None if so.

        `key` stands for the limit; its group is started on first use. If the governor's loop does not answer for a second,
        `on_overload` of the policy decides, as in `visit`; a request that may go on before there is a group is not counted, and
        the answer is None. Raises `UsageError` if the governor is not running.
        """
        portal, ask = self._running(), partial(self._visit_endpoint, key, name, policy, request)
        if portal.on_loop():
            return ask()
        try:
            return await portal.acall(ask, answer_timeout(0), unwanted=partial(self._endpoint_unwanted, portal, request))
        except TimeoutError:
            group = None if self._supervisor is None else self._supervisor.known_endpoint(key)
            if group is not None:
                return group, self._visit_unanswered(portal, group, request)
            return None if policy.on_overload == "pass" else (name, overloaded(name))

    def _visit_endpoint(
        self, key: object, name: str, policy: InboundGroup, request: InboundRequest
    ) -> tuple[str, InboundDenied | None]:
        if self._supervisor is None:
            raise UsageError("the governor has been closed")
        group = self._supervisor.endpoint(key, name, policy)
        return group, self._visit(group, request)

    def _endpoint_unwanted(self, portal: Portal, request: InboundRequest, asked: tuple[str, InboundDenied | None]) -> None:
        group, denied = asked
        self._visit_unwanted(portal, group, request, denied)

    def _visit_unanswered(self, portal: Portal, group: str, request: InboundRequest) -> Denied | None:
        """The verdict on a request from elsewhere when the loop does not answer, which counts it as soon as it does."""
        actor = None if self._supervisor is None else self._supervisor.groups.get(group)
        if actor is None:
            return None
        granted = actor.policy.on_overload == "pass"
        portal.post(partial(self._count_unanswered, group, request, granted=granted))
        now = system_clock()
        if now - self._warned_at.get(group, -MINUTE) >= MINUTE:
            self._warned_at[group] = now
            done = "pass unlimited" if granted else "are denied"
            _log.warning("The governor's event loop does not answer in time: inbound requests of the group %s %s.", group, done)
        return None if granted else overloaded(group)

    def _count_unanswered(self, group: str, request: InboundRequest, *, granted: bool) -> None:
        actor = self.group(group)
        if actor is not None:
            actor.unanswered(request, granted=granted)

    def _visit_unwanted(self, portal: Portal, group: str, request: InboundRequest, denied: InboundDenied | None) -> None:
        """A request was granted after its caller had gone: it broke off."""
        if denied is None or denied.dry_run:
            self._visit_ended(portal, group, None, request)

    def _visit(self, group: str, request: InboundRequest) -> InboundDenied | None:
        actor = self.group(group)
        try:
            return None if actor is None else actor.admit(request)
        except Exception:
            _log.exception("The group %s failed, and let a request pass.", group)
            return None

    async def least_left(self, group: str, request: InboundRequest) -> Left | None:
        """What is left for this caller of the limit of which least is left. None without limits, or without an answer."""
        portal, ask = self._running(), partial(self._least_left, group, request)
        try:
            return ask() if portal.on_loop() else await portal.acall(ask, answer_timeout(0))
        except TimeoutError:
            return None

    def least_left_blocking(self, group: str, request: InboundRequest) -> Left | None:
        """The same for a thread, which it blocks for one round trip."""
        try:
            return self._running().call(partial(self._least_left, group, request), answer_timeout(0))
        except TimeoutError:
            return None

    def _least_left(self, group: str, request: InboundRequest) -> Left | None:
        actor = self.group(group)
        return None if actor is None else actor.least(request)

    def visit_ended(self, group: str, status: int | None, request: InboundRequest | None = None) -> None:
        """A request that went on was answered with this HTTP status; None if it broke off. From any thread; never waits.

        Without its `visit` it stays in flight in a group that limits how many may be.
        """
        self.ending(group)(status, request=request)

    def ending(self, group: str) -> Ending:
        """The same for a request that goes on now. It changes nothing once the governor has been left and entered again."""
        return partial(self._end_visit, self._portal, group)

    def _end_visit(self, portal: Portal | None, group: str, status: int | None, request: InboundRequest | None = None) -> None:
        if portal is None or portal is not self._portal:
            return
        if portal.on_loop():
            self._visit_ended(portal, group, status, request)
        else:
            portal.post(partial(self._visit_ended, portal, group, status, request))

    def _visit_ended(self, portal: Portal, group: str, status: int | None, request: InboundRequest | None) -> None:
        actor = self.group(group) if portal is self._portal else None
        if actor is not None:
            actor.ended(status, request)
