"""Decisions on inbound requests in the process itself, while the daemon that owns the limits is away: as `on_daemon_loss` says.

With a share, the groups of this process have limits that are scaled down. Each client begins with nothing available, because
what the daemon has granted before is not known here.
"""

from collections.abc import Callable
from typing import NamedTuple, final

from governor._actors.asking import overloaded
from governor._actors.inbound.group import GroupActor
from governor._actors.inbound.groups import Groups
from governor._admission import EndpointGroup
from governor._member.away import scaled_group
from governor._units import Instant
from governor.config import MachineSettings
from governor.error_log import ErrorLog
from governor.errors import Reason
from governor.messages import AvailableQuota, Denied, InboundDenied, InboundRequest


class Decision(NamedTuple):
    """A decision of this process, and the actor that has made it, which must learn of the end of a granted request."""

    denied: InboundDenied | Denied | None = None
    least: AvailableQuota | None = None
    actor: GroupActor | None = None


@final
class DecidingHere:
    """Belongs to the thread of the connection. The limits of `groups` are those of `away.config_for`."""

    def __init__(self, groups: Groups, settings: MachineSettings, now: Callable[[], Instant]) -> None:
        self._groups = groups
        self._settings = settings
        self._now = now
        self._since = Instant(0)
        self._error_log = ErrorLog()

    def knows(self, group: str) -> bool:
        """Whether the settings have this group. From any thread."""
        return self._groups.get(group) is not None

    def begin(self) -> None:
        """The daemon is away from now on."""
        self._since = self._now()

    def decide(self, group: str | EndpointGroup, request: InboundRequest, *, announce: bool) -> Decision:
        """Decides at once. A group that fails grants every request."""
        try:
            actor = self._actor(group)
            if actor is None:
                return Decision()
            if self._settings.on_daemon_loss == "deny" and not actor.settings.dry_run:
                return Decision(overloaded(actor.name))
            if self._settings.on_daemon_loss == "share":
                actor.use_up(request, self._since)
            denied = actor.admit(request)
            if denied is not None and denied.reason is Reason.COST and not denied.dry_run:
                # More than the share can ever hold. The limit of the daemon may.
                return Decision(overloaded(actor.name))
            least = actor.least(request) if announce and denied is None else None
        except Exception as error:
            name = group if isinstance(group, str) else group.name
            self._error_log(f"The inbound group {name} failed, and requests pass", error)
            return Decision()
        return Decision(denied, least, actor)

    def _actor(self, group: str | EndpointGroup) -> GroupActor | None:
        if isinstance(group, str):
            return self._groups.get(group)
        known = self._groups.known_endpoint(group.key)
        if known is not None:
            return known
        machine = self._settings
        share = machine.share if machine.on_daemon_loss == "share" else None
        return self._groups.endpoint(group.key, group.name, scaled_group(group.policy, share))
