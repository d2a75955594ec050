"""The lease of one scope in another process, as its owner sees it.

A recall is a message, so it takes a while: until the holder has answered, or its lease has run out, everything counts as
outstanding. Nothing is granted ahead to it meanwhile.
"""

from typing import Protocol, final

from governor._actors.leases.lease import Demand
from governor._units import Instant


class Channel(Protocol):
    """The way to a holder. Messages arrive in order, or not at all. Neither method fails or waits."""

    def lease_to(self, scope: str, generation: int, count: int, granted_at: Instant, breaker: int) -> None:
        """Tells the holder that it may use `count` permits more, of a generation of the circuit breaker."""

    def recall(self, scope: str, generation: int) -> None:
        """Tells the holder to report all permits of earlier generations, and to use none of them."""


@final
class RemoteHolder:
    """The permits of one scope that one other process holds. Belongs to the actors' thread.

    Each fill and each recall belongs to a generation, the owner's count of recalls: a holder that has learned of a recall
    rejects fills of an earlier one. `generation` begins where none of an earlier connection can be.
    """

    __slots__ = ("_channel", "demand", "generation", "outstanding", "recalled_at", "scope")

    def __init__(self, scope: str, channel: Channel, generation: int) -> None:
        self.scope = scope
        self._channel = channel
        self.demand = Demand()
        self.generation = generation
        self.outstanding = 0
        #: When it was asked for what it holds, until that has been settled.
        self.recalled_at: Instant | None = None

    def fill(self, now: Instant, count: int, breaker: int) -> None:
        """Adds permits, which the owner has accounted for before."""
        self.outstanding += count
        self._channel.lease_to(self.scope, self.generation, count, now, breaker)

    def recall(self, now: Instant) -> None:
        """Asks for what it holds, once."""
        if self.outstanding and self.recalled_at is None:
            self.recalled_at = now
            self._channel.recall(self.scope, self.generation + 1)

    def settled(self, generation: int, used: int, back: int) -> tuple[int, int]:
        """What a report changes: how many permits have been used, and how many will never be.

        Nothing if it is of an earlier generation, all of which has been counted as used. Never more than is outstanding.
        """
        if generation != self.generation:
            return 0, 0
        used = min(used, self.outstanding)
        back = min(back, self.outstanding - used)
        self.outstanding -= used + back
        if not self.outstanding and self.recalled_at is not None:
            self.generation += 1
            self.recalled_at = None
        return used, back

    def expired(self) -> int:
        """The lease has run out: everything outstanding has been used, and the rest of its generation is void."""
        used, self.outstanding = self.outstanding, 0
        if used and self.recalled_at is None:
            # Before anything that refreshes the lease of a holder that was only late.
            self._channel.recall(self.scope, self.generation + 1)
        self.generation += bool(used)
        self.recalled_at = None
        return used
