"""Admission: the decision on one inbound request, and where it is made."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from governor._actors.portal import Portal
from governor.config import InboundGroup
from governor.messages import AvailableQuota, Denied, InboundDenied, InboundRequest


def _nothing(status: int | None) -> None:
    """The end of a request that no group counts."""


class Admission(msgspec.Struct, frozen=True, eq=False):
    """The decision on one inbound request.

    `denied` is None if the request is within all limits: an `InboundDenied` names the limit that it exceeds, a `Denied` says
    that the governor did not answer in time, or that the settings deny all requests while the daemon is away that owns the
    limits. `least` is what is left of the limit of which least is left; it is None unless it was asked for, and for a request
    that exceeds a limit.

    Call `end` once for a request that is `granted`, with the HTTP status of its response, or with None if it broke off: from
    the thread that asked, or from any thread if that was not the governor's own. Until then the request is in flight. `end`
    never waits and raises nothing; it has no effect once the governor has been left.
    """

    denied: InboundDenied | Denied | None = None
    least: AvailableQuota | None = None
    end: Callable[[int | None], object] = _nothing

    @property
    def granted(self) -> bool:
        """Whether the request may proceed; in a dry run it may although it exceeds a limit."""
        denied = self.denied
        return denied is None or (isinstance(denied, InboundDenied) and denied.dry_run)


class EndpointGroup(NamedTuple):
    """The group of a limit on single endpoints. It starts with its first request, and is known by `key` from then on.

    `place` identifies the limit in all processes that run the same code, for limits that a daemon owns; the name does if empty.
    """

    key: object
    name: str
    policy: InboundGroup
    place: str = ""


class Gate(Protocol):
    """Where admissions are decided if a daemon owns the limits. From any thread, but for that of the `portal`.

    Raises `TimeoutError` without an answer, and `UsageError` if the governor is closed meanwhile.
    """

    #: Called, on the thread of the portal, with what the keys of clients are made with from now on.
    rekey: Callable[[bytes], object]

    async def admit(self, portal: Portal, group: str | EndpointGroup, request: InboundRequest, *, announce: bool) -> Admission:
        """Decides on a request, while other tasks go on."""

    def admit_blocking(
        self, portal: Portal, group: str | EndpointGroup, request: InboundRequest, *, announce: bool
    ) -> Admission:
        """The same for a thread."""

    async def ready(self, portal: Portal) -> None:
        """Returns once it is known who decides, and with which keys."""

    def ready_blocking(self, portal: Portal) -> None:
        """The same for a thread."""
