"""Settings of the limits that the processes of a machine share, `[machine]`."""

import os
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from governor._units import MINUTE, SECOND, Duration
from governor.config.files import checked_path, expanded
from governor.errors import ConfigError
from governor.policies import _checks

#: What a process does while the daemon that owns its limits is away.
OnDaemonLoss = Literal["share", "deny", "open"]
#: Bytes of the longest path that the address of a unix socket holds: 104 on macOS, 108 on Linux, with a zero at the end.
MAX_SOCKET_PATH: Final = 103
#: Characters of the longest name of a process.
_MAX_NAME: Final = 64


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the limits that the processes of a machine share, `[machine]`. Raises `ConfigError`.

    With a `socket`, the daemon that listens on this unix socket owns the limits, and the process asks it for permits. While the
    daemon is away, the process decides by itself: with `on_daemon_loss = "share"` by the `share` of each limit, above 0 and at
    most 1; with "deny" it denies every call, and with "open" it grants every call. `name` is what the daemon calls the process,
    by default that of its program.

    With `spawn`, a process that finds no daemon at the `socket` starts one, which ends once no process has been connected for
    `spawn_idle`, at least 1 second.

    `state` is the folder of the state that survives the end of the process that owns the limits; None keeps none. A `~` at the
    beginning of a path is the home of the user.
    """

    socket: Path | None = None
    on_daemon_loss: OnDaemonLoss = "share"
    share: float = 0.1
    spawn: bool = False
    spawn_idle: Duration = Duration(10 * MINUTE)
    name: str = ""
    state: Path | None = None

    def __post_init__(self) -> None:
        if self.on_daemon_loss not in get_args(OnDaemonLoss):
            raise ConfigError("on_daemon_loss", self.on_daemon_loss, "'share', 'deny' or 'open'")
        _checks.share("share", self.share)
        _checks.span(self, "spawn_idle", minimum=SECOND)
        if len(self.name) > _MAX_NAME or not self.name.isprintable():
            raise ConfigError("name", self.name, f"a name of at most {_MAX_NAME} printable characters")
        for field in ("socket", "state"):
            path = getattr(self, field)
            if path is not None:
                msgspec.structs.force_setattr(self, field, expanded(checked_path(path, field)))
        if self.socket is not None and len(os.fsencode(self.socket)) > MAX_SOCKET_PATH:
            raise ConfigError("socket", str(self.socket), f"a path of at most {MAX_SOCKET_PATH} bytes, on which one can listen")
        if self.spawn and self.socket is None:
            raise ConfigError("spawn", self.spawn, "false, or a `socket` beside it")
