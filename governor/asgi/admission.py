"""May this request go on? Asked at the door of an application, of one governor under one configuration.

On the governor's own loop that is a function call, from another a message and an answer.
"""

import logging
from functools import partial
from typing import Final, final

from governor import Governor
from governor._actors.group import Left
from governor.asgi.clients import Client, Complaints
from governor.asgi.identity import ClientKeys
from governor.asgi.observer import Ended, ResponseObserver
from governor.asgi.responses import Response, left, over, overloaded, refusal
from governor.asgi.types import Headers, Scope, Send
from governor.config.paths import Paths, Place
from governor.messages import Denied, InboundDenied, InboundRequest

_log: Final = logging.getLogger("governor")


@final
class AdmissionController:
    """What has been made of the configuration of a governor. When that changes, another controller is needed.

    `root` is the root path that the application itself puts in the place of the server's. `identifies` says whether the
    application tells the tier of a client.
    """

    __slots__ = ("_callers", "_complain", "_config", "_own_pages", "_paths", "_root", "announces", "governor")

    def __init__(self, governor: Governor, root: str = "", *, identifies: bool = False) -> None:
        self.governor = governor
        self._root = root
        self._complain = Complaints()
        self._config = governor.config
        settings = governor.config.inbound_settings
        self._own_pages = governor.own_pages
        self._paths = Paths(governor.config.inbound, (*settings.exempt_paths, *self._own_pages))
        self._callers = ClientKeys(settings, governor.pseudonyms)
        #: Whether every answer says what is left.
        self.announces = settings.announce
        unused = sorted(name for name, group in governor.config.inbound.items() if group.tiers and not identifies)
        if unused:
            _log.warning("The tiers of %s have no effect without a key function: give the middleware one.", ", ".join(unused))

    def is_open(self) -> bool:
        """Is the governor running, under that configuration, and with its pages where they were?"""
        governor = self.governor
        return governor.config is self._config and governor.own_pages is self._own_pages and not governor.ended

    def place(self, scope: Scope) -> Place | None:
        """The group and the routes of a request; None if it is exempt."""
        place = self._paths.find(scope["path"], self._root or _root(scope))
        if place is not None and scope.get("method") == "OPTIONS" and _is_preflight(scope):
            return None
        return place

    def visit(self, place: Place | None, scope: Scope, client: Client | None = None) -> InboundRequest:
        """The keys of a request, by what the application says of its client, and else by headers and address."""
        request = self._callers.visit(scope)
        routes = place.of(scope.get("method", "GET")) if place is not None and place.routes else ()
        if client is None:
            return InboundRequest(request.client, request.address, routes) if routes else request
        name = client.name()
        caller = self.governor.pseudonyms.client(name) if name else request.client
        if client.tier is not None and place is not None and client.tier not in self._config.inbound[place.group].tiers:
            self._complain(f"The group {place.group} has no such tier as the key function says, and its own limits hold")
        return InboundRequest(caller, request.address, routes, client.tier, client.cost)

    def admit(self, group: str, request: InboundRequest, send: Send) -> ResponseObserver | Response | None:
        """On the loop of the governor: the observer of a granted request, or the response to a denied one; None if no group."""
        actor = self.governor.inbound.group(group)
        if actor is None:
            return None
        denied = actor.admit(request)
        ended: Ended = partial(actor.ended, request=request) if actor.holds else actor.ended
        if denied is None and not self.announces:
            return ResponseObserver(send, ended)
        return _verdict(denied, actor.least(request) if denied is None else None, request, send, ended)

    async def admit_from_elsewhere(self, group: str, request: InboundRequest, send: Send) -> ResponseObserver | Response:
        """The same on another loop, which goes on meanwhile."""
        ending = self.governor.inbound.ending(group)
        denied = await self.governor.inbound.visit(group, request)
        if isinstance(denied, Denied):
            return overloaded()
        least = await self.governor.inbound.least_left(group, request) if denied is None and self.announces else None
        return _verdict(denied, least, request, send, partial(ending, request=request))


def _is_preflight(scope: Scope) -> bool:
    """Does a browser ask with this OPTIONS whether it may ask (CORS)? It does so by itself, and no limit is spent on it."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def _root(scope: Scope) -> str:
    """The root path of the server. Within a mount, Starlette adds the path of the mount to `root_path`."""
    root: object = scope.get("app_root_path", scope.get("root_path"))
    return root if isinstance(root, str) else ""


def _verdict(
    denied: InboundDenied | None, least: Left | None, request: InboundRequest, send: Send, ended: Ended
) -> ResponseObserver | Response:
    fields: Headers = []
    if denied is not None:
        if not denied.dry_run:
            return refusal(denied, request)
        fields = over(denied, request)
    elif least is not None:
        fields = left(least, request)
    return ResponseObserver(send, ended, fields)
