"""Admission of the requests of an application, by one governor under one configuration.

Compiled where a compiler is; `admission.pxd` has the fields.
"""

import logging
from enum import Enum
from threading import get_ident
from typing import Any, Final, Literal, final

from governor import Admission, Governor, GovernorState
from governor.asgi.client import UNKNOWN, Client
from governor.asgi.context import RequestContext
from governor.asgi.identity import ClientKeys
from governor.asgi.responses import Response, denial, quota_fields, too_many_requests
from governor.asgi.routing import Router
from governor.asgi.types import Scope
from governor.config.paths import MAX_CACHED, PathMatch
from governor.error_log import ErrorLog
from governor.messages import MAX_TIER, InboundDenied, InboundRequest


class Undecided(Enum):
    """What `AdmissionController.admit` returns where something must be awaited."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Undecided.UNDECIDED

_log: Final = logging.getLogger("governor")


@final
class AdmissionController:
    """What the middleware asks of a governor, prepared for its configuration. Another configuration needs another controller.

    `root` is the root path that the application itself uses instead of that of the server. `has_key` says whether there is a
    key function, without which no client has a tier.
    """

    __slots__ = (
        "_config",
        "_era",
        "_error_log",
        "_groups",
        "_portal",
        "_pseudonyms",
        "announces",
        "governor",
        "inbound",
        "keys",
        "router",
    )

    def __init__(self, governor: Governor, root: str = "", *, has_key: bool = False) -> None:
        self.governor = governor
        self.inbound = governor.inbound
        self._error_log = ErrorLog()
        # Before what it is about: what changes meanwhile is found with the next request.
        self._era, portal = self.inbound.era, self.inbound.portal
        #: Where the governor runs, if the number of the thread tells who is there; on trio and before it runs None.
        self._portal = None if portal is None or portal.on_trio else portal
        self._config = config = governor.config
        self.router = Router(config, self.inbound.own_pages, root)
        self._pseudonyms = self.inbound.pseudonyms
        self.keys = ClientKeys(config.inbound_settings, self._pseudonyms)
        #: Whether the response to every request says what is left of its limits.
        self.announces = config.inbound_settings.announce
        #: The groups of paths without routes, as the application sees them: what most requests need, in one look-up.
        self._groups: dict[str, Any] = {}
        unused = sorted(name for name, group in config.inbound.items() if group.tiers and not has_key)
        if unused:
            _log.warning("The tiers of %s have no effect without a key function: give the middleware one.", ", ".join(unused))

    def is_current(self) -> bool:
        """Whether the governor runs, with the settings, the own pages and the keys that this controller was made for."""
        return self.inbound.era is self._era and self.governor.state is GovernorState.RUNNING

    def admit(self, scope: Scope, context: RequestContext) -> Response | Literal[Undecided.UNDECIDED] | None:
        """The response to a request that may not proceed, or None; without a key function, and without waiting.

        `UNDECIDED` where the governor does not run on this loop, or not as it did when this controller was made.
        """
        inbound, portal = self.inbound, self._portal
        # `is_current` and `is_here`, inlined to save calls.
        if inbound.era is not self._era:
            return UNDECIDED
        is_elsewhere = portal is None or portal.ended or get_ident() != portal.thread
        if is_elsewhere and not inbound.is_here():
            return UNDECIDED
        # The case of nearly all requests that `Router.match` would find, inlined to save its call.
        mounted = scope.get("root_path") or "app_root_path" in scope
        group = None if mounted or scope.get("method") == "OPTIONS" else self._groups.get(scope["path"])
        if group is None:
            match = self.router.match(scope)
            if match is None:
                return None
            group = None if match.routes or self.announces else self._plain(match.group, None if mounted else scope["path"])
            if group is None:
                request = self.request(match, scope) if match.routes else self.keys.request(scope)
                return answered(inbound.decide(match.group, request, self.announces), request, context)
        # Such clients are known by the request alone, and only the decision counts.
        request = self.keys.request(scope)
        try:
            denied: InboundDenied | None = group.admit(request)
        except Exception as error:
            inbound.failed(group, error)
            return None
        if denied is None:
            context.ended = group.ends
            return None
        if denied.dry_run:
            return answered(Admission(denied, None, group.end), request, context)
        return too_many_requests(denied, request)

    def _plain(self, name: str, path: str | None) -> Any:
        """The group of this name, found at once by this path from now on, which is None for what does not tell the group.

        None if the end of a request gives something back to the group.
        """
        group = self.inbound.groups.get(name)
        if group is None or group.holds:
            return None
        if path is not None and path in self.router.known:
            if len(self._groups) >= MAX_CACHED:
                self._groups.clear()
            self._groups[path] = group
        return group

    def request(self, match: PathMatch | None, scope: Scope, client: Client = UNKNOWN) -> InboundRequest:
        """The request with the keys of its client, as the application knows it, or else as headers and address tell."""
        request = self.keys.request(scope)
        routes = match.routes_of(scope.get("method", "GET")) if match is not None and match.routes else ()
        if client is UNKNOWN:
            return InboundRequest(request.client, request.address, routes) if routes else request
        name = client.name()
        key = self._pseudonyms.client(name) if name else request.client
        tier = client.tier
        if tier is not None and match is not None and tier not in self._config.inbound[match.group].tiers:
            self._error_log(f"The key function returned a tier that {match.group} does not have; the limits of the group apply")
        if tier is not None and (len(tier) > MAX_TIER or not tier.isascii()):
            tier = None  # No name of a tier, and nothing that could be sent to a daemon.
        return InboundRequest(key, request.address, routes, tier, client.cost)


def answered(admission: Admission, request: InboundRequest, context: RequestContext) -> Response | None:
    """The response to a request that is denied. None to a granted one, of which the context learns what to do at its end."""
    if admission.denied is not None or admission.least is not None:
        response = denial(admission, request)
        if response is not None:
            return response
        context.add_fields(quota_fields(admission, request))
    context.ended += (admission.end,)
    return None
