"""Admissions of requests to the API of one connected process, and those of them that keep a place of a limit in flight.

Bounds: `MAX_BATCH` requests are decided at a time, and at once, so that none waits; `MAX_IN_FLIGHT` keep a place, and one more
is answered `overloaded`.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Final, final

from governor._actors.inbound.group import GroupActor
from governor._actors.inbound.groups import Groups
from governor._owner.checks import ProtocolError
from governor.config import InboundGroup, parse_limit
from governor.config.names import check_name
from governor.error_log import ErrorLog
from governor.errors import ConfigError
from governor.messages import InboundDenied, InboundRequest
from governor.policies.contract import Result
from governor.protocol import MAX_BATCH, Admit, Ended, EndpointLimits, Exceeded, Group, Left, Readmit, Requests, Verdict

_log: Final = logging.getLogger("governor")

#: Requests of one process that keep a place.
MAX_IN_FLIGHT: Final = 65_536
_OVERLOADED: Final = Verdict(overloaded=True)
_HELD: Final = Verdict(held=True)


@final
class Admissions:
    """Belongs to the actors' thread. `find` returns the actor of a group; None if there is no room for another one."""

    def __init__(self, find: Callable[[Group], GroupActor | None]) -> None:
        self._find = find
        self._held: dict[int, tuple[GroupActor, InboundRequest]] = {}
        self._error_log = ErrorLog()
        #: Requests that were granted.
        self.granted = 0

    def __len__(self) -> int:
        """Requests that keep a place."""
        return len(self._held)

    def admit(self, message: Admit) -> tuple[Verdict | None, ...]:
        """Decides on the requests. Raises `ProtocolError` for too many, and for a number that is in use."""
        if sum(len(part.requests) for part in message.parts) > MAX_BATCH:
            raise ProtocolError(f"a message asks for at most {MAX_BATCH} requests")
        verdicts: list[Verdict | None] = []
        for part in message.parts:
            self._admit(part, message.first, verdicts)
        return tuple(verdicts)

    def _admit(self, part: Requests, first: int, verdicts: list[Verdict | None]) -> None:
        actor = self._find(part.group)
        for number, request in enumerate(part.requests, first + len(verdicts)):
            if number in self._held:
                raise _in_use(number)  # Before anything is spent.
            if actor is None or (actor.holds and len(self._held) >= MAX_IN_FLIGHT):
                verdicts.append(_OVERLOADED)
                continue
            try:
                verdict = self._decide(actor, request, announce=part.announce)
            except Exception as error:
                self._error_log(f"The inbound group {actor.name} failed, and requests pass", error)
                verdict = None
            if verdict is not None and verdict.held:
                self._held[number] = actor, request
            verdicts.append(verdict)

    def _decide(self, actor: GroupActor, request: InboundRequest, *, announce: bool) -> Verdict | None:
        denied = actor.admit(request)
        granted = denied is None or denied.dry_run
        self.granted += granted
        held = granted and actor.holds
        least = actor.least(request) if announce and denied is None else None
        if denied is None and least is None:
            return _HELD if held else None
        left = None if least is None else Left(least.name, least.requests, least.limit.describe(), least.by_address)
        return Verdict(None if denied is None else _exceeded(denied), left, held)

    def readmit(self, message: Readmit) -> None:
        """Takes the places of requests that began before this connection. Raises `ProtocolError` for too many."""
        actor = self._find(message.group)
        if actor is not None and actor.holds:
            if len(self._held) + len(message.requests) > MAX_IN_FLIGHT:
                raise ProtocolError(f"a process has at most {MAX_IN_FLIGHT:,} requests in flight")
            for number, request in message.requests.items():
                if number in self._held:
                    raise _in_use(number)
                actor.readmit(request)
                self._held[number] = actor, request

    def ended(self, message: Ended) -> None:
        """Counts how requests have ended, and frees their places."""
        for number, status in message.places.items():
            actor, request = self._held.pop(number, (None, None))
            if actor is not None:
                actor.ended(status or None, request)
        actor = self._find(message.group) if message.statuses else None
        if actor is not None:
            for status, times in message.statuses.items():
                actor.counters.ended(status or None, Result.SUCCESS if status else Result.FAILURE, times)

    def give_up(self) -> None:
        """All requests have broken off: the process is gone."""
        held, self._held = self._held, {}
        for actor, request in held.values():
            actor.ended(None, request)


def _exceeded(denied: InboundDenied) -> Exceeded:
    bucket = denied.bucket.describe()
    return Exceeded(denied.group, denied.limit, denied.retry_after, bucket, denied.dry_run, denied.reason, denied.name)


def _in_use(number: int) -> ProtocolError:
    return ProtocolError(f"the number {number} is in use")


def group_of(groups: Groups, group: Group) -> GroupActor | None:
    """The actor of a group that a process names; None if there is no room for another one.

    Raises `ConfigError` for what is no name of a group. A limit on endpoints of a kind that is not registered here limits
    no request.
    """
    if isinstance(group, str):
        return groups.by_name.get(group) or groups.named_elsewhere(group)
    key = group.place, group.limits
    return groups.known_endpoint(key) or groups.endpoint_elsewhere(key, group.name, _policy(group))


@lru_cache(1024)
def _policy(group: EndpointLimits) -> InboundGroup:
    check_name(group.name, field="name")
    limits = []
    for text in group.limits:
        try:
            limits.append(parse_limit(text, field="limits"))
        except ConfigError:
            _log.warning("The limit %r of the endpoint %s has no effect: its kind is not registered here.", text, group.name)
    return InboundGroup(limits=tuple(limits), address_limits=(), total_limits=())
