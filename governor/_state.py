"""The state of one life in a store: opened before it begins, kept while it lasts, and written when it ends."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, final

from governor._actors.portal import Portal
from governor.clock import Clock, continued_clock
from governor.config import Config

if TYPE_CHECKING:
    from governor._actors.keeper import Keeper
    from governor._store.earlier import EarlierLives


@final
class LifeState:
    """What earlier lives have left in a folder, and what this life leaves there.

    `open` and `finish` block, and are called on a thread of their own.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        #: The clock of the life, which goes on from earlier ones once it is open.
        self.clock = clock
        #: What earlier lives have left, once it is open.
        self.earlier: EarlierLives | None = None
        #: What keeps the state, once the actors live.
        self.keeper: Keeper | None = None

    def open(self) -> None:
        """Opens the folder. Raises `UsageError` if another process owns it."""
        from governor._store.earlier import EarlierLives  # Loads the store, which few governors have.

        self.earlier = EarlierLives(self._folder, self.clock)
        self.clock = continued_clock(self.clock, self.earlier.ahead)

    def keep(self, *, now: Clock, portal: Portal, wake: Callable[[], object]) -> "Keeper | None":
        """Begins to keep the state, once it is open, on the loop of the actors."""
        from governor._actors.keeper import Keeper

        if self.earlier is not None:
            self.keeper = Keeper(self.earlier, now=now, portal=portal, wake=wake)
        return self.keeper

    def finish(self) -> None:
        """The life has ended in order: everything is written as it is."""
        if self.keeper is not None:
            self.keeper.finish()
        elif self.earlier is not None and self.earlier.store is not None:
            self.earlier.store.close()

    def abandon(self) -> None:
        """The loop has ended without notice: the file is closed soon. Returns at once; on any thread."""
        if self.keeper is not None:
            self.keeper.abandon()

    def forked(self) -> None:
        """In a forked child: the folder belongs to the parent."""
        if self.keeper is not None and (lock := self.keeper.forked()) is not None:
            with suppress(OSError):
                os.close(lock)


def state_of(config: Config, clock: Clock) -> LifeState | None:
    """What a life under these settings leaves to the next one; None if it leaves nothing, or if a daemon decides for it."""
    folder = config.machine.state
    return None if folder is None or config.machine.socket is not None else LifeState(folder, clock)
