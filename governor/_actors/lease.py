"""Leases: permits granted ahead, the holder that gives them out, and how many of them are worth granting.

A holder takes permits from its owner and gives them to calls without asking the owner again. `LocalHolder` serves the threads
of this process; `RemoteHolder` stands for another process.

Bounds: a scope grants at most `MAX_LEASED` permits ahead to each holder. There are never more unread reports than permits were
granted, and the owner reads them before it grants ahead again.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import length_hint
from sys import maxsize
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast, final

import msgspec

from governor._actors.permit import MAX_SUCCESSES, Permit, Success
from governor._fields import Tally
from governor._lazy import always
from governor._units import MILLISECOND, Duration, Instant

if TYPE_CHECKING:
    from governor._actors.lent_places import LentPlaces

T = TypeVar("T")

#: Permits granted ahead in one scope at most: what 8 busy threads use in some 10 ms.
MAX_LEASED: Final = 16_384
#: How often the owner reads the reports of its holder, while permits are outstanding.
LOOK_INTERVAL: Final = Duration(10 * MILLISECOND)

#: Asks that are further apart than this are no reason to grant ahead.
_BRISK_INTERVAL: Final = Duration(100 * MILLISECOND)
#: A lease that was used up grows by this factor; one that was not shrinks to as many times what was used of it.
GROWTH: Final = 4
#: The permits of a holder that was never filled.
_NO_PERMITS: Final[deque[Permit]] = deque(maxlen=0)
NO_PERMIT: Final = _NO_PERMITS.popleft
#: Of a scope without a holder: no room for successes. The first one is sent as a message, for which the holder is made.
NO_ROOM: Final = cast("list[Success]", range(MAX_SUCCESSES))
#: After so many looks in a row at which nothing was used, all is recalled.
MAX_IDLE_LOOKS: Final = 2


class HolderReport(NamedTuple):
    """What has become of permits since the last report."""

    #: Permits that calls have taken.
    used: int
    #: Calls that succeeded, as their permits have left them.
    successes: Counter[Success]
    #: Operations whose first attempt took a permit from the lease; each pays into the retry budget.
    deposits: int


class Holder(Protocol):
    """What an owner needs of the holder of its lease. The owner calls all of it on its own thread, one call at a time.

    Each fill and each recall belongs to a generation, the owner's count of recalls. A holder that learns of a recall
    asynchronously rejects fills of an earlier generation, and its report for an earlier generation may add use, never give
    permits back. A permit that is neither reported nor recalled is outstanding, and the owner's limits hold that much less.
    """

    generation: int
    #: Permits granted ahead that are, as far as the owner knows, not used.
    outstanding: int

    def __len__(self) -> int:
        """Permits that the holder can still give out."""

    def fill(self, permits: Iterable[Permit], count: int, generation: int) -> None:
        """Adds `count` permits. The owner has accounted for them before: they may be used from now on."""

    def report_used(self) -> int:
        """Permits used since the last report."""

    def report(self) -> HolderReport:
        """All that has happened since the last report."""

    def recall(self, generation: int) -> list[Permit]:
        """Removes what no call has taken, and begins another generation. Returns the permits, which will never be used.

        Every permit that is outstanding afterwards has been used, and is part of the next report.
        """


@final
class LocalHolder(msgspec.Struct, eq=False, gc=False):
    """The permits of one scope for the threads of this process, in a `collections.deque`, whose ends are safe on any thread.

    `take` may be called, `answered` counted up, and `successes` and `deposits` appended to, on any thread. Each permit is
    popped once: by a call or by a recall.
    """

    #: Calls that succeeded with status 200, and others. Their permits know both.
    answered: Tally = msgspec.field(default_factory=Tally)
    successes: list[Success] = msgspec.field(default_factory=list)
    #: What was left in the tally at the last report.
    left: int = maxsize
    # Made when it is first filled: most scopes grant nothing ahead, and an empty deque takes 760 bytes.
    _permits: deque[Any] = msgspec.field(default_factory=always(_NO_PERMITS))
    #: Takes one permit. Raises IndexError if there is none. Another one after the first fill.
    take: Callable[[], Permit] = NO_PERMIT
    #: One entry for each operation whose first attempt took a permit here.
    deposits: list[None] = msgspec.field(default_factory=list)
    outstanding: int = 0
    generation: int = 0
    #: The places that permits are taken with, where a limit in flight lends any; and how long calls with them have taken.
    places: "LentPlaces | None" = None
    durations: list[int] = msgspec.field(default_factory=list)

    def __len__(self) -> int:
        return len(self._permits) if self.places is None else len(self.places)

    @property
    def spare(self) -> int:
        """Permits that no call has taken, whether or not there is a place for them."""
        return len(self._permits)

    @property
    def unread(self) -> int:
        """Calls that succeeded and are not reported."""
        return len(self.successes) + self.left - length_hint(self.answered)

    def fill(self, permits: Iterable[Permit], count: int, generation: int) -> None:
        """Adds permits. Never of an earlier generation, since the owner calls this directly."""
        self.outstanding += count
        if self._permits is _NO_PERMITS:
            self._permits = deque()
            self.take = self._permits.popleft
        self._permits.extend(permits)

    def open_places(self, places: "LentPlaces") -> None:
        """Permits are taken with one of these places from now on. Nothing is outstanding."""
        self.places, self._permits, self.take = places, places.permits, places.take

    def forget_places(self) -> None:
        """The places are closed, and nothing is outstanding: what is granted ahead next is taken without, or with others."""
        self.places, self._permits, self.take = None, _NO_PERMITS, NO_PERMIT

    def take_durations(self) -> list[int]:
        """How long calls with lent places have taken since the last look."""
        return _emptied(self.durations)

    @property
    def free_places(self) -> int:
        """Places in flight that are lent, and that no call has."""
        return 0 if self.places is None else len(self.places.free)

    def report_used(self) -> int:
        """Permits popped by calls since the last report."""
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

    def recall(self, generation: int) -> list[Permit]:
        """Pops what no call has popped."""
        back: list[Permit] = []
        pop = self._permits.popleft
        with suppress(IndexError):
            while True:
                permit = pop()
                # It ends here. Otherwise one that holds a place would free it a second time when it is collected.
                permit.reported = True
                back.append(permit)
        self.outstanding -= len(back)
        self.generation = generation
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
