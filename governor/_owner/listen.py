"""Listening on a unix socket, as `Governor.listen`: other processes share the limits of the governor."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from governor._access import Access
from governor._supervisor import Supervisor
from governor.errors import UsageError

if TYPE_CHECKING:
    from governor._owner.members import Members


@final
class Listen:
    """`async with governor.listen():` for processes of this user, which share the limits of the governor meanwhile.

    `rekey` is called with the secret by which all of them know their clients.
    """

    __slots__ = ("_access", "_rekey")

    def __init__(self, access: Access, rekey: Callable[[bytes], object]) -> None:
        self._access = access
        self._rekey = rekey

    @asynccontextmanager
    async def __call__(
        self, where: str | os.PathLike[str] | socket.socket | None = None, *, learning: bool = False
    ) -> AsyncIterator["Members"]:
        """Serves other processes on a unix socket, within the block, which must run in the governor's event loop.

        - `where`: the path of the socket, by default `governor.sock` in the folder `XDG_RUNTIME_DIR`; or a socket that listens
          already.
        - `learning`: grant no permit in the first second. Processes with permits of an earlier governor, or that have used
          their shares since, come back first, and say what they hold and have used. It is always so if the state says that
          there was an earlier governor, or if a killed one has left its socket.

        At the end of the block, calls that wait are denied as `shutting_down`. A socket that is removed is made anew within a
        second. If another process listens there by then, all that are connected here are sent to that one.

        Raises `ListenError` if another process listens there, and `UsageError` in another event loop.
        """
        # What serves other processes takes long to load, and few governors do.
        from governor._owner.listener import listening
        from governor._owner.members import Members
        from governor._owner.socket_file import SocketFile, secret_of
        from governor.protocol import default_path

        access = self._access
        portal = access.still_running()
        if not portal.on_loop():
            raise UsageError("listen in the event loop of the governor: within `async with Governor(...)`")
        supervisor = access.supervised()
        if not isinstance(supervisor, Supervisor):
            raise UsageError("this process asks another one for its permits (`[machine] socket`), and can serve none itself")
        async with AsyncExitStack() as stack:
            place: socket.socket | SocketFile
            if isinstance(where, socket.socket):
                place, listener, killed = where, where, False
            else:
                place = stack.enter_context(SocketFile(Path(where) if where is not None else default_path()))
                listener, killed = place.bound.listener, place.bound.owner_was_killed
            address = listener.getsockname()
            secret = secret_of(address)
            self._rekey(secret)
            learning = learning or killed or (supervisor.keeper is not None and supervisor.keeper.learning)
            members = Members(supervisor, supervisor.clock, secret=secret, learning=learning)
            members.address = str(address)
            supervisor.members = members.statistics
            stack.callback(setattr, supervisor, "members", tuple)
            await stack.enter_async_context(listening(members, place, portal.post))
            yield members
