"""Leases: permits granted ahead, the holder that gives them out, and how many of them are worth granting.

A holder takes permits from its owner and gives them to calls without asking the owner again. `LocalHolder` serves the threads
of this process; `RemoteHolder` stands for another process.

Bounds: a scope grants at most `MAX_LEASED` or `MAX_LEASED_TO_MEMBER` permits ahead to each holder. There are never more unread
reports than permits were granted, and the owner reads them before it grants ahead again.
"""

from collections import Counter
from collections.abc import Iterator
from operator import length_hint
from sys import maxsize
from typing import TYPE_CHECKING, Final, TypeVar, final

import msgspec

from governor._actors.leases.permits_ahead import NO_PERMITS, PermitsAhead
from governor._actors.permit import Permit, Success
from governor._fields import Tally
from governor._units import MILLISECOND, Duration, Instant

if TYPE_CHECKING:
    from governor._actors.leases.leased_places import LeasedPlaces

T = TypeVar("T")

#: Permits granted ahead in one scope at most: to the threads of this process what they use in 10 ms in the compiled build, and
#: to another process.
MAX_LEASED: Final = 65_536
MAX_LEASED_TO_MEMBER: Final = 16_384
#: How often the owner reads the reports of its holder, while permits are outstanding.
LOOK_INTERVAL: Final = Duration(10 * MILLISECOND)

#: Asks that are further apart than this are no reason to grant ahead.
_BRISK_INTERVAL: Final = Duration(100 * MILLISECOND)
#: A lease that was used up grows by this factor; one that was not shrinks to as many times what was used of it.
GROWTH: Final = 4
#: After so many looks in a row at which nothing was used, all is recalled.
MAX_IDLE_LOOKS: Final = 2


class HolderReport(msgspec.Struct, frozen=True):
    """What has become of permits since the last report."""

    #: Permits that calls have taken.
    used: int
    #: Calls that succeeded, as their permits have left them.
    successes: Counter[Success]
    #: Operations whose first attempt took a permit from the lease; each pays into the retry budget.
    deposits: int


@final
class LocalHolder(msgspec.Struct, eq=False, gc=False):
    """The permits of one scope for the threads of this process. Belongs to the owner's thread, but for what is named here.

    `leased` may be taken from, `answered` counted up, and `successes` and `deposits` appended to, on any thread. A permit that
    is neither used nor recalled is outstanding, and the limits of the owner hold that much less.
    """

    #: Calls that succeeded with status 200, and others. Their permits know both.
    answered: Tally = msgspec.field(default_factory=Tally)
    successes: list[Success] = msgspec.field(default_factory=list)
    #: What was left in the tally at the last report.
    left: int = maxsize
    _permits: PermitsAhead = NO_PERMITS
    #: One entry for each operation whose first attempt took a permit here.
    deposits: list[None] = msgspec.field(default_factory=list)
    #: Permits granted ahead that are, as far as the owner knows, not used.
    outstanding: int = 0
    #: The places that permits are taken with, where a limit in flight leases any; and how long calls with them have taken.
    places: "LeasedPlaces | None" = None
    durations: list[int] = msgspec.field(default_factory=list)

    def __len__(self) -> int:
        return len(self._permits) if self.places is None else len(self.places)

    @property
    def leased(self) -> Iterator[Permit]:
        """Takes one permit at each step. Another one after each fill."""
        return self._permits if self.places is None else self.places.leased

    @property
    def spare(self) -> int:
        """Permits that no call has taken, whether or not there is a place for them."""
        return len(self._permits)

    @property
    def unread(self) -> int:
        """Calls that succeeded and are not reported."""
        return len(self.successes) + self.left - length_hint(self.answered)

    def fill(self, permits: PermitsAhead) -> None:
        """Leases these, of which none has been taken. The owner has accounted for them before, and has recalled the rest."""
        self.outstanding += len(permits)
        self._permits = permits
        if self.places is not None:
            self.places.permits = permits

    def open_places(self, places: "LeasedPlaces") -> None:
        """Permits are taken with one of these places from now on."""
        self.places, places.permits = places, self._permits

    def forget_places(self) -> None:
        """The places are closed, and nothing is outstanding: what is granted ahead next is taken without, or with others."""
        self.places, self._permits = None, NO_PERMITS

    def take_durations(self) -> list[int]:
        """How long calls with leased places have taken since the last look."""
        return _emptied(self.durations)

    @property
    def free_places(self) -> int:
        """Places in flight that are leased, and that no call has."""
        return 0 if self.places is None else self.places.count_free()

    def report_used(self) -> int:
        """Permits taken by calls since the last report."""
        used = self.outstanding - len(self._permits)
        self.outstanding -= used
        return used

    def report(self) -> HolderReport:
        """All that has happened since the last report."""
        # Successes first: a call is counted as made before it is counted as ended.
        successes = self._take_successes()
        used = self.report_used()
        deposits = len(self.deposits)
        del self.deposits[:deposits]
        return HolderReport(used, successes, deposits)

    def recall(self) -> int:
        """Removes what no call has taken. Returns how many permits that are, which will never be used.

        All that is outstanding afterwards has been used, and is part of the next report.
        """
        back = self._permits.take_back()
        self.outstanding -= back
        return back

    def _take_successes(self) -> Counter[Success]:
        found = Counter(_emptied(self.successes))
        before, self.left = self.left, length_hint(self.answered)
        if before > self.left:
            found[200] += before - self.left
        return found


def _emptied(entries: list[T]) -> list[T]:
    """What is in a list, and no longer is. Others may append meanwhile: what is removed is what was read."""
    read = entries.copy()
    del entries[: len(read)]
    return read


@final
class Demand(msgspec.Struct, eq=False, gc=False):
    """How many permits are worth granting ahead: what is used between two looks, several times over.

    It begins with the number of asks that came together, grows when that was too little, and is 0 once no permit is used.
    """

    size: int = 0
    _busy_at: Instant = Instant(-_BRISK_INTERVAL)
    _idle: int = 0

    def short(self, now: Instant, asks: int) -> None:
        """The lease was empty: so many calls, at least 1, had to ask."""
        if now - self._busy_at < _BRISK_INTERVAL:
            self.size = min(MAX_LEASED, max(asks, self.size * GROWTH))
        else:
            self.size = asks if asks > 1 else 0
        self._busy_at = now
        self._idle = 0

    def looked(self, now: Instant, used: int) -> None:
        """So many permits were used since the last look."""
        if used:
            self.size = min(self.size, used * GROWTH)
            self._busy_at = now
            self._idle = 0
            return
        self._idle += 1
        if self._idle >= MAX_IDLE_LOOKS:
            self.size = 0
            self._busy_at = Instant(-_BRISK_INTERVAL)

    def given(self, count: int) -> None:
        """So many could be granted ahead, and no more: the demand grows from there."""
        self.size = count


#: Of a scope that was never asked from elsewhere: never changed.
NO_DEMAND: Final = Demand()
