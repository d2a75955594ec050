"""Notifier: has what other threads leave read soon, on the loop of its reader, by one callback however much is left."""

from abc import ABC, abstractmethod

from governor._actors.portal import Portal


class Notifier(ABC):
    """A reader on the loop behind a portal, to be notified from any thread after something has been left for it."""

    __slots__ = ("_notified", "_portal")

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        #: Whether a callback has been posted that has not begun to read.
        self._notified = False

    def notify(self) -> None:
        """Has what is left read soon. From any thread."""
        if self._notified:
            return
        try:
            self._notified = True
            is_open = self._portal.post(self._on_notified)
        except BaseException:
            # Interrupted before it was posted: what is left next must post it.
            self._notified = False
            raise
        if not is_open:
            self._notified = False
            self._on_gone()

    @abstractmethod
    def _on_notified(self) -> None:
        """On the loop. Sets `_notified` to False before it reads: what is left from then on posts again."""

    @abstractmethod
    def _on_gone(self) -> None:
        """The loop has ended: what is left is answered on the thread that has left it."""
