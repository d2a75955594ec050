"""May this request go on? Asked at the door of an application, of one governor under one configuration.

On the governor's own loop that is a function call, from another a message and an answer.
"""

from functools import partial
from typing import final

from governor import Governor
from governor._actors.group import Left
from governor.config.paths import Paths
from governor.messages import Denied, Turned, Visit
from governor_client._answers import Answer, left, over, overloaded, refusal
from governor_client._asgi import Headers, Scope, Send
from governor_client._callers import Callers
from governor_client._stay import Ended, Stay


@final
class Reception:
    """What has been made of the configuration of a governor. When that changes, another reception is needed.

    `root` is the root path that the application itself puts in the place of the server's.
    """

    __slots__ = ("_announce", "_callers", "_config", "_paths", "_root", "governor")

    def __init__(self, governor: Governor, root: str = "") -> None:
        self.governor = governor
        self._root = root
        self._config = governor.config
        settings = governor.config.inbound_settings
        self._paths = Paths(governor.config.inbound, settings.exempt_paths)
        self._callers = Callers(settings, governor.pseudonyms)
        self._announce = settings.announce

    def is_open(self) -> bool:
        """Is the governor running, and under that configuration?"""
        return self.governor.config is self._config and not self.governor.ended

    def group(self, scope: Scope) -> str | None:
        """The group of a request; None if it is exempt."""
        return self._paths.group(scope["path"], self._root or _root(scope))

    def admit(self, group: str, scope: Scope, send: Send) -> Stay | Answer | None:
        """On the governor's own loop: the stay of a request that may go on, or its refusal. None if there is nobody to ask."""
        actor = self.governor.group(group)
        if actor is None:
            return None
        visit = self._callers.visit(scope)
        turned = actor.visit(visit)
        if turned is None and not self._announce:
            return Stay(send, actor.ended)
        return _verdict(turned, actor.least(visit) if turned is None else None, visit, send, actor.ended)

    async def admit_from_elsewhere(self, group: str, scope: Scope, send: Send) -> Stay | Answer:
        """The same on another loop, which goes on meanwhile."""
        visit = self._callers.visit(scope)
        turned = await self.governor.visit(group, visit)
        if isinstance(turned, Denied):
            return overloaded()
        least = await self.governor.least_left(group, visit) if turned is None and self._announce else None
        return _verdict(turned, least, visit, send, partial(self.governor.visit_ended, group))


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
