"""Inbound groups of one governor: those of the settings, those of limits on single endpoints, and those of other processes.

Bounds: `MAX_ENDPOINTS` limits on endpoints, and `MAX_UNNAMED` groups that other processes name and the settings do not. At the
bound, groups of other processes that are at rest make room.
"""

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final, final

import msgspec

from governor._actors.inbound.group import GroupActor
from governor._exports import Later
from governor._units import Instant
from governor.config import DEFAULT, Config, InboundGroup
from governor.config.names import check_name
from governor.errors import UsageError
from governor.instrumentation import Announcer
from governor.statistics import CounterRecord

if TYPE_CHECKING:
    import hashlib
else:
    hashlib = Later("hashlib")

#: Limits of single endpoints. There are as many as a program has in its code.
MAX_ENDPOINTS: Final = 1000
#: Groups of other processes whose names the settings do not have.
MAX_UNNAMED: Final = 1000


@final
class Groups:
    """Belongs to the actors' thread. `start` starts a task that sweeps a group."""

    def __init__(
        self, config: Config, *, now: Callable[[], Instant], announcer: Announcer, start: Callable[[GroupActor], None]
    ) -> None:
        self._config = config
        self._now = now
        self._announcer = announcer
        self._start = start
        self.by_name: dict[str, GroupActor] = {}
        #: The names of the groups of limits on single endpoints, by what identifies the limit.
        self._endpoints: dict[object, str] = {}
        #: What identifies those of other processes.
        self._remote: set[object] = set()
        self._unnamed: set[str] = set()
        #: What was counted by groups that are gone.
        self.forgotten = CounterRecord()
        for name, settings in config.inbound.items():
            self._add(name, settings)

    @property
    def digest(self) -> str:
        """Tells whether other settings of inbound groups are these."""
        return digest_of(self._config)

    def get(self, name: str) -> GroupActor | None:
        """The group of this name, if there is one."""
        return self.by_name.get(name)

    # Limits on single endpoints.

    def endpoint(self, key: object, name: str, settings: InboundGroup) -> GroupActor:
        """The group of a limit on endpoints, known by `key`. It starts with its first request. Raises `UsageError`."""
        known = self._endpoints.get(key)
        if known is not None:
            return self.by_name[known]
        if len(self._endpoints) >= MAX_ENDPOINTS:
            raise UsageError(f"there are more than {MAX_ENDPOINTS} limits of endpoints; make each once, not for each request")
        names = (f"endpoint:{name}" if number == 1 else f"endpoint:{name}-{number}" for number in count(1))
        group = next(one for one in names if one not in self.by_name)
        self._endpoints[key] = group
        return self._add(group, settings)

    def known_endpoint(self, key: object) -> GroupActor | None:
        """The same for a limit that is in use already, from any thread; else None."""
        name = self._endpoints.get(key)
        return None if name is None else self.by_name.get(name)

    # Groups of other processes.

    def named_elsewhere(self, name: str) -> GroupActor | None:
        """The group that another process names. One that the settings do not have is limited as `[inbound.default]` is.

        None if there is no room for another one. Raises `ConfigError` for what is no name of a group.
        """
        known = self.by_name.get(name)
        if known is not None:
            return known
        check_name(name, field="group")
        if len(self._unnamed) >= MAX_UNNAMED:
            self._drop_resting(self._unnamed)
        if len(self._unnamed) >= MAX_UNNAMED:
            return None
        self._unnamed.add(name)
        return self._add(name, _default(self._config))

    def endpoint_elsewhere(self, key: object, name: str, settings: InboundGroup) -> GroupActor | None:
        """The group of a limit on endpoints of other processes, as `endpoint`. None if there is no room for another one."""
        if key not in self._endpoints and len(self._endpoints) >= MAX_ENDPOINTS:
            gone = {self._endpoints[one]: one for one in self._remote}
            for one in self._drop_resting(set(gone)):
                del self._endpoints[gone[one]]
                self._remote.remove(gone[one])
            if len(self._endpoints) >= MAX_ENDPOINTS:
                return None
        self._remote.add(key)
        return self.endpoint(key, name, settings)

    def _drop_resting(self, names: set[str]) -> set[str]:
        """Drops those of these groups that have nothing to remember."""
        resting = {name for name in names if self.by_name[name].rests}
        names -= resting
        for name in resting:
            self._drop(name)
        return resting

    # Settings.

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on. Groups that they do not have any more are closed."""
        self._config = config
        max_clients = config.inbound_settings.max_clients
        self._unnamed -= set(config.inbound)
        for name, settings in config.inbound.items():
            if name in self.by_name:
                self.by_name[name].reconfigure(settings, max_clients)
            else:
                self._add(name, settings)
        for name in self._endpoints.values():
            self.by_name[name].reconfigure(self.by_name[name].settings, max_clients)
        for name in self._unnamed:
            self.by_name[name].reconfigure(_default(config), max_clients)
        known = {*config.inbound, *self._endpoints.values(), *self._unnamed}
        for name in [name for name in self.by_name if name not in known]:
            self._drop(name)

    def _add(self, name: str, settings: InboundGroup) -> GroupActor:
        max_clients = self._config.inbound_settings.max_clients
        group = GroupActor(name, settings, max_clients=max_clients, now=self._now, announcer=self._announcer, start=self._start)
        self.by_name[name] = group
        return group

    def _drop(self, name: str) -> None:
        group = self.by_name.pop(name)
        self.forgotten += group.counters.record()
        group.close()


def digest_of(config: Config) -> str:
    """Tells whether the settings of inbound groups in two processes are the same."""
    groups = [
        (
            name,
            repr(msgspec.structs.replace(group, tiers={})),
            sorted((tier, repr(limits)) for tier, limits in group.tiers.items()),
        )
        for name, group in sorted(config.inbound.items())
    ]
    return hashlib.blake2b(repr(groups).encode(), digest_size=16).hexdigest()


def _default(config: Config) -> InboundGroup:
    """The settings of a group that has none of its own."""
    default = config.inbound.get(DEFAULT, InboundGroup())
    return msgspec.structs.replace(default, paths=(), routes=())
