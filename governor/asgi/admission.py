"""May this request go on? Asked at the door of an application, of one governor under one configuration.

On the governor's own loop that is a function call, from another a message and an answer.
"""

import logging
from functools import partial
from typing import Final, final

from governor import Governor
from governor._actors.group import Left
from governor.asgi.clients import Client, Complaints
from governor.asgi.identity import Callers
from governor.asgi.observer import Ended, Stay
from governor.asgi.responses import Answer, left, over, overloaded, refusal
from governor.asgi.types import Headers, Scope, Send
from governor.config.paths import Paths, Place
from governor.messages import Denied, Turned, Visit

_log: Final = logging.getLogger("governor")


@final
class Reception:
    """What has been made of the configuration of a governor. When that changes, another reception is needed.

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
        self._callers = Callers(settings, governor.pseudonyms)
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

    def visit(self, place: Place | None, scope: Scope, client: Client | None = None) -> Visit:
        """The keys of a request, by what the application says of its client, and else by headers and address."""
        visit = self._callers.visit(scope)
        routes = place.of(scope.get("method", "GET")) if place is not None and place.routes else ()
        if client is None:
            return Visit(visit.caller, visit.address, routes) if routes else visit
        name = client.name()
        caller = self.governor.pseudonyms.client(name) if name else visit.caller
        if client.tier is not None and place is not None and client.tier not in self._config.inbound[place.group].tiers:
            self._complain(f"The group {place.group} has no such tier as the key function says, and its own limits hold")
        return Visit(caller, visit.address, routes, client.tier, client.cost)

    def admit(self, group: str, visit: Visit, send: Send) -> Stay | Answer | None:
        """On the governor's own loop: the stay of a request that may go on, or its refusal. None if there is nobody to ask."""
        actor = self.governor.inbound.group(group)
        if actor is None:
            return None
        turned = actor.visit(visit)
        ended: Ended = partial(actor.ended, visit=visit) if actor.holds else actor.ended
        if turned is None and not self.announces:
            return Stay(send, ended)
        return _verdict(turned, actor.least(visit) if turned is None else None, visit, send, ended)

    async def admit_from_elsewhere(self, group: str, visit: Visit, send: Send) -> Stay | Answer:
        """The same on another loop, which goes on meanwhile."""
        ending = self.governor.inbound.ending(group)
        turned = await self.governor.inbound.visit(group, visit)
        if isinstance(turned, Denied):
            return overloaded()
        least = await self.governor.inbound.least_left(group, visit) if turned is None and self.announces else None
        return _verdict(turned, least, visit, send, partial(ending, visit=visit))


def _is_preflight(scope: Scope) -> bool:
    """Does a browser ask with this OPTIONS whether it may ask (CORS)? It does so by itself, and no limit is spent on it."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names


def _root(scope: Scope) -> str:
    """The root path of the server. Within a mount, Starlette adds the path of the mount to `root_path`."""
    root: object = scope.get("app_root_path", scope.get("root_path"))
    return root if isinstance(root, str) else ""


def _verdict(turned: Turned | None, least: Left | None, visit: Visit, send: Send, ended: Ended) -> Stay | Answer:
    fields: Headers = []
    if turned is not None:
        if not turned.dry_run:
            return refusal(turned, visit)
        fields = over(turned, visit)
    elif least is not None:
        fields = left(least, visit)
    return Stay(send, ended, fields)
