"""Which permits has an actor granted ahead, and what has become of them?

A lease is a queue of permits that callers on other threads take from without asking, and a queue of what they report. Both are
`collections.deque`, whose ends are safe to use from any thread; all the rest belongs to the actor, on its own thread. A permit
is taken out once: by a caller, who uses it, or by the actor, which takes it back.

At its bounds: an actor grants at most `MAX_LEASED` permits ahead. There are never more reports waiting than permits
were granted, and the actor reads them before it grants ahead again.
"""

from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import repeat, starmap
from typing import Final, final

from governor._actors.permit import Permit
from governor._units import MILLISECOND, Duration, Instant

#: Permits granted ahead in one scope at most: what 8 busy threads use in some 10 ms.
MAX_LEASED: Final = 16_384
#: How often the actor looks after what it has lent, while it has.
LOOK_INTERVAL: Final = Duration(10 * MILLISECOND)

#: Asks that are further apart than this are no reason to grant ahead.
_BRISK_INTERVAL: Final = Duration(100 * MILLISECOND)
#: A lease that was used up grows by this factor; one that was not shrinks to as many times what was used of it.
_GROWTH: Final = 4
#: Nothing is left to a scope that used nothing between so many looks in a row.
_MAX_IDLE_LOOKS: Final = 2


@final
class Demand:
    """How many permits are worth granting ahead? As many as are used between two looks, a few times over.

    It begins with as many as there were asks at a time, grows when that was not enough, and is 0 again when nobody has come.
    """

    __slots__ = ("_busy_at", "_idle", "size")

    def __init__(self) -> None:
        self.size = 0
        self._busy_at = Instant(-_BRISK_INTERVAL)
        self._idle = 0

    def short(self, now: Instant, asks: int) -> None:
        """So many, at least 1, had to ask because nothing was left."""
        if now - self._busy_at < _BRISK_INTERVAL:
            self.size = min(MAX_LEASED, max(asks, self.size * _GROWTH))
        else:
            self.size = asks if asks > 1 else 0
        self._busy_at = now
        self._idle = 0

    def looked(self, now: Instant, used: int) -> None:
        """So many were used since the last look."""
        if used:
            self.size = min(self.size, used * _GROWTH)
            self._busy_at = now
            self._idle = 0
            return
        self._idle += 1
        if self._idle >= _MAX_IDLE_LOOKS:
            self.size = 0
            self._busy_at = Instant(-_BRISK_INTERVAL)

    def given(self, count: int) -> None:
        """So many could be granted ahead, and no more: it grows from there."""
        self.size = count


@final
class Lease:
    """The permits of one scope that are out ahead. `take` may be called, and `successes` appended to, on any thread."""

    __slots__ = ("_permits", "deposits", "outstanding", "successes", "take", "used")

    def __init__(self) -> None:
        self._permits: deque[Permit] = deque()
        #: One permit, at once. Raises IndexError if there is none.
        self.take = self._permits.popleft
        #: The HTTP status, or None, of calls that went well, when nothing but the counters wants to know.
        self.successes: deque[int | None] = deque()
        #: One for each operation whose first attempt was made with a permit from here.
        self.deposits: deque[None] = deque()
        #: Permits that were granted ahead and, as far as the actor has learned, not used.
        self.outstanding = 0
        #: Permits used since the actor's last look, as far as it has learned.
        self.used = 0

    def __len__(self) -> int:
        return len(self._permits)

    def add(self, permits: Iterable[Permit], count: int) -> None:
        """Hands out `count` more. They have been accounted for before: from here on they may be used."""
        self.outstanding += count
        self._permits.extend(permits)

    def unseen(self) -> int:
        """How many have been used that the actor does not know of."""
        return self.outstanding - len(self._permits)

    def learn_used(self, used: int) -> None:
        """The actor knows of so many more."""
        self.outstanding -= used
        self.used += used

    def recall(self) -> int:
        """Takes out what nobody has taken: so many will never be used. All that are still out have been."""
        back = 0
        with suppress(IndexError):
            while True:
                self.take()
                back += 1
        self.outstanding -= back
        return back

    def learn_deposits(self) -> int:
        """How many operations have begun that the actor did not know of."""
        count = len(self.deposits)
        for _ in range(count):
            self.deposits.popleft()
        return count

    def learn_successes(self) -> Counter[int | None]:
        """How many calls went well, by status, that the actor did not know of."""
        return Counter(starmap(self.successes.popleft, repeat((), len(self.successes))))
