"""Backend of a governor: the supervisor of its actors, or the member in whose place a daemon decides."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from governor._actors.address import Address
from governor._admission import Gate
from governor.config import Config
from governor.statistics import Statistics

if TYPE_CHECKING:
    from governor._actors.operating import Operations


class Backend(Protocol):
    """Belongs to the thread of the governor's portal."""

    @property
    def gate(self) -> Gate | None:
        """Where inbound requests are admitted, if a daemon owns the limits."""

    @property
    def anywhere(self) -> bool:
        """Whether `actor` may be called on any thread."""

    @property
    def operations(self) -> "Operations":
        """What an operator may do by hand. Raises `UsageError` where a daemon owns the limits."""

    def actor(self, scope: str) -> Address | None:
        """The address of a scope. None if there is no room for another scope."""

    def close(self) -> None:
        """Answers every call that waits; from now on every ask is answered `shutting_down`."""

    def moved(self) -> None:
        """Another thread runs the loop from now on."""

    def stuck(self) -> set[int]:
        """The threads that wait, anywhere, for what no passage of time will give."""

    def statistics(self) -> Statistics | None:
        """What has happened, and how things stand, scope by scope. None if only `survey` can say, by a message."""

    def survey(self, also: str = "") -> Iterator[Statistics | None]:
        """The same in small steps."""

    def reconfigure(self, config: Config) -> None:
        """Other settings from now on."""

    def leave_degraded(self) -> None:
        """Ends a pause of all traffic now."""
