"""Reads statistics in small steps, between which the event loop of the governor serves others."""

import os
import socket
from typing import Final

import anyio
import anyio.to_thread
import msgspec

from governor import Governor, GovernorState, Statistics, UsageError, __version__
from governor.cooperative import take_turns
from governor.daemon import reports
from governor.daemon.documents import About, Status
from governor.daemon.history import History
from governor.daemon.tracker import Tracker

#: Seconds for a governor on another thread to answer.
_READ_TIMEOUT: Final = 5.0
#: From so many scopes on, the history is kept by a thread.
_MANY: Final = 256


class Unreadable(Exception):
    """The governor does not run, or does not answer."""


async def read_statistics(governor: Governor, also: str = "") -> Statistics:
    """The statistics, with those of the scope or provider `also` even if it is set aside. Raises `Unreadable`."""
    # On its own loop, a governor that was closed would still answer.
    if governor.state is not GovernorState.RUNNING:
        raise Unreadable("the governor does not run")
    try:
        with anyio.fail_after(_READ_TIMEOUT):
            return await governor.astatistics(also)
    except UsageError as error:
        raise Unreadable(str(error)) from None
    except TimeoutError:
        raise Unreadable("the governor's event loop does not answer") from None


class Observer:
    """Reads one governor for all who watch it, and remembers what a single reading does not show: conditions and history.

    `acts` says whether its status offers actions.
    """

    def __init__(self, governor: Governor, *, acts: bool = False) -> None:
        self.governor = governor
        self.history = History()
        self._process = this_process()
        self._acts = acts
        self._tracker = Tracker()
        #: Whether `governor.daemon.recorder` keeps the history; otherwise listeners do.
        self.recorded = False

    async def status(self) -> Status:
        """Reads, and builds the status document. Raises `Unreadable`."""
        statistics = await read_statistics(self.governor)
        if len(statistics.scopes) < _MANY or not self.history.is_due(statistics.now):
            self.history.add(statistics)
        else:
            # It happens once in ten seconds, and takes longer than the event loop can be held up.
            await anyio.to_thread.run_sync(self.history.add, statistics)
        found = await take_turns(self._tracker.look(statistics))
        about = msgspec.structs.replace(self._process, policy_file=self.governor.config.policy_file)
        return await take_turns(reports.status(statistics, found.conditions, about=about, recent=found.recent, acts=self._acts))


def this_process() -> About:
    """What is known about this process."""
    return About(version=__version__, pid=os.getpid(), host=socket.gethostname())
