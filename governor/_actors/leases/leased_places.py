"""Places in flight that a scope has leased to threads: the success of one call gives its place to the next, without the actor.

A permit that was granted ahead is used up, and a place is not: it passes from call to call, and the actor counts it as taken
throughout. Every other outcome goes to the actor and frees its place there, as that of any permit.

A recall closes these places for good. It takes back those that no call has, and whatever a call gives back later is a message,
so that nothing stays here unseen. Places that are leased afterwards are others, with permits of their own.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import repeat, starmap
from typing import final

from governor._actors.leases.permits_ahead import NO_PERMITS, LeasedHeldPermit, PermitsAhead

# C: import cython
from governor._actors.permit_owner import Owner
from governor._fields import PlacesFields

# C: from governor.clock import system_clock
from governor._units import Instant
from governor.messages import PlaceFreed
from governor.policies.contract import Grant


# C: @cython.cclass
@final
class LeasedPlaces(PlacesFields):
    """Places, and the permits that calls take together with one of them. Any thread may take, give back and call back.

    Each place is taken once: by a call, by the recall, or by the call that finds these places closed when it gives one back.
    """

    __slots__ = ("_dated", "_next", "_owner", "generation", "permits")

    def __init__(
        self,
        owner: Owner,
        generation: int,
        *,
        clock: Callable[[], Instant],
        durations: list[int] | None,
        dated: bool,
    ) -> None:
        self._owner = owner
        #: The generation of all permits here. Limits that have been replaced since know nothing of these places.
        self.generation = generation
        self.clock = clock
        self.durations = durations
        #: Whether a limit besides waits for the outcome, and knows permits by the instant at which they were leased.
        self._dated = dated
        self.permits: PermitsAhead = NO_PERMITS
        self.free = deque[None]()  # C: self.free = 0
        # For a loop, not a call: after a call the interpreter looks for signals, and Ctrl-C would lose a place.
        self._next: Iterator[object] = starmap(self.free.pop, repeat(()))  # C:
        self.closed = False

    def __len__(self) -> int:
        """Permits that calls can take now."""
        return min(len(self.permits), self.count_free())

    @property
    def leased(self) -> Iterator[LeasedHeldPermit]:
        """Takes a permit at each step. Ends if there is none, or no place, and goes on once there are."""
        return starmap(self.take, repeat(()))  # C: return self

    # C: def __iter__(self):
    # C:     return self

    # C: def __next__(self):
    # C:     return self.take()

    def count_free(self) -> int:
        """Places that no call has."""
        return len(self.free)  # C: return self.free

    def add(self, count: int) -> None:
        """Leases so many places more."""
        self.free.extend(repeat(None, count))  # C: self.free += count

    def take(self) -> LeasedHeldPermit:
        """Takes a place and a permit. Raises StopIteration if there is none of either, which ends a loop over `leased`."""
        permit: LeasedHeldPermit
        try:
            for _ in self._next:  # C: if self.free > 0:
                # C: self.free -= 1
                try:
                    for permit in self.permits:
                        # Read now: calls are measured from here, and a place that is given up is held from here.
                        now = self.clock()  # C: now = read_clock(self.clock, system_clock)
                        grant = Grant(permit._granted_at, permit._generation, ahead=True, taken_at=now) if self._dated else None
                        permit._places, permit._grant = self, grant
                        if grant is None:
                            permit._granted_at = now
                        return permit
                    raise StopIteration
                except BaseException:
                    self.give_back()
                    raise
        except IndexError:
            pass
        raise StopIteration

    def give_back(self) -> None:
        """Gives back a place that no call has, any more or at all."""
        try:
            self.free.append(None)  # C: self.free += 1
        finally:
            if self.closed:
                self.call_back()

    def call_back(self) -> None:
        """After a place was given back: hands it to the actor if the recall came in between, and did not find it."""
        # The recall closes first and then looks for places; a call gives back first and then looks here. One of both finds it.
        if self._found():
            freed = PlaceFreed(self.generation)
            self._owner.outcomes.append(freed)
            self._owner.deliver(freed)

    def close(self) -> int:
        """Takes back the places that no call has, for good. Returns their number."""
        self.closed = True
        back = 0
        while self._found():
            back += 1
        return back

    def _found(self) -> bool:
        """Takes one place, if there is one that no call has."""
        try:
            for _ in self._next:  # C: if self.free > 0:
                # C: self.free -= 1
                return True
        except IndexError:
            pass
        return False
