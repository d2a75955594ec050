"""Permits that are granted ahead: a number that calls count down, each of which makes its permit when it takes it.

Compiled where there is a compiler; `permits_ahead.pxd` has the fields.
"""

from collections.abc import Mapping
from itertools import repeat, starmap
from operator import length_hint
from threading import get_ident
from typing import Any, Final, Self, final

# C: import cython
from governor._actors.permit import MAX_SUCCESSES, HeldPermit, Permit
from governor._actors.permit_owner import Owner
from governor._fields import PlacesFields, stored_directly
from governor._units import Instant

# C: from governor.clock import system_clock
from governor.messages import NOT_TOLD
from governor.policies.ban_guard import REJECTED
from governor.policies.contract import Grant


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
@final
class LeasedPermit(Permit, gc=False, eq=False):  # C: class LeasedPermit(Permit):
    """A permit that was granted ahead and holds no place. Its success is counted where other threads count, on any thread."""

    def record(
        self,
        *,
        status: int | None = None,
        error: BaseException | None = None,
        used: Mapping[str, float] | None = None,
        answer: bytes | str | None = None,
    ) -> None:
        """See `Permit.record`."""
        owner = self._owner  # C: owner = self._source
        if (
            status == 200
            and error is None
            and used is None
            and answer is None
            and not self.reported
            and not owner.listens  # C: and owner is not None and not owner.listens
            and not owner.failures  # C: and not has_any(owner.failures)
            and not owner.degraded.failures
            and owner.answered is not None
        ):
            self.reported = True
            for _ in owner.answered:  # C: owner.answered.left -= 1
                break  # C: # One turn counts one, and costs less than `next`.
            return
        super().record(status=status, error=error, used=used, answer=answer)


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
@final
class LeasedHeldPermit(HeldPermit, gc=False, eq=False):  # C: class LeasedHeldPermit(HeldPermit):
    """A permit that holds a place and was granted ahead. Other threads leave its success for the next look of the actor.

    The next call takes a place in flight at once.
    """

    _places: PlacesFields | None = None

    def record(
        self,
        *,
        status: int | None = None,
        error: BaseException | None = None,
        used: Mapping[str, float] | None = None,
        answer: bytes | str | None = None,
    ) -> None:
        """See `Permit.record`."""
        owner, places = self._owner, self._places  # C: owner, places = self._source, self._places
        if (
            error is None
            and used is None
            and answer is None
            and (status is None or (type(status) is int and 0 <= status < 500 and status not in REJECTED))
            and owner.gathers  # C: and owner is not None and owner.gathers
            and (places is None or not (places.closed or self._settled))
            and not self.reported
            and (self._answered is None or self._answered is NOT_TOLD)
            and not owner.degraded.failures
            and not owner.failures  # C: and not has_any(owner.failures)
            and get_ident() != owner.thread  # C: and this_thread(get_ident) != owner.thread
            and len(owner.successes) < MAX_SUCCESSES
        ):
            grant = self._grant
            if places is not None and places.durations is not None:
                now = places.clock()  # C: now = read_clock(places.clock, system_clock)
                places.durations.append(now - (self._granted_at if grant is None else grant.taken_at))
            if self.reported:
                raise self._reported_before()  # By another thread, since we looked: a place must not be given back twice.
            self.reported = True
            try:
                if grant is None and status == 200 and owner.answered is not None:
                    for _ in owner.answered:  # C: owner.answered.left -= 1
                        break  # C: # As in `Permit.record`.
                else:
                    owner.successes.append(status if grant is None else (self._granted_at, self._generation, status))
            finally:
                # The interpreter looks for signals after a call, and finds the place given back.
                if places is not None:
                    places.free.append(None)  # C: places.free += 1
                    if places.closed:
                        places.call_back()
            if not owner.gathers:  # The last look may have come in between.
                owner.wake()  # type: ignore[unreachable] # on this thread alone
            return
        super().record(status=status, error=error, used=used, answer=answer)


# C: @cython.cclass
@final
class PermitsAhead(starmap):  # type: ignore[type-arg] # at run time it takes none # C: class PermitsAhead:
    """So many permits of one scope, granted at one instant. `next(permits)` takes one, on any thread.

    That is one step of the interpreter, which makes the permit by code in C: no thread and no signal finds it half done. An
    entry is taken once: by a call, or by `take_back`. With a `grant`, each holds a place.
    """

    __slots__ = ("_entries",)

    _entries: "repeat[Any]"

    def __new__(  # C: def __init__(
        cls,  # C: self,
        owner: Owner | None,
        granted_at: Instant,
        generation: int,
        count: int,
        grant: Grant | None = None,
    ) -> Self:  # C: ):
        # C: self._owner, self._granted_at, self._generation = owner, granted_at, generation
        # C: self._grant, self.left = grant, count
        entries = repeat((owner, granted_at, generation, grant), count)  # C:
        make: type[Permit] = LeasedPermit if grant is None else LeasedHeldPermit  # C:
        permits: Self = super().__new__(cls, make, entries)  # type: ignore[assignment] # typed as a starmap # C:
        permits._entries = entries  # C:
        return permits  # C:

    # C: def __iter__(self):
    # C:     return self

    # C: def __next__(self):
    # C:     permit = self.take()
    # C:     if permit is None:
    # C:         raise StopIteration
    # C:     return permit

    # C: def take(self):
    # C:     if self.left <= 0:
    # C:         return None
    # C:     self.left -= 1
    # C:     permit = LeasedPermit.__new__(LeasedPermit) if self._grant is None else LeasedHeldPermit.__new__(LeasedHeldPermit)
    # C:     permit._owner, permit._source, permit._grant = self._owner, self._owner, self._grant
    # C:     permit._granted_at, permit._generation = self._granted_at, self._generation
    # C:     return permit

    def __len__(self) -> int:
        """Permits that no call has taken."""
        return length_hint(self._entries)  # C: return self.left

    def take_back(self) -> int:
        """Removes what no call has taken, for good. Returns the number of those permits, which will never be used."""
        # C: back, self.left = self.left, 0
        return len([*self._entries])  # C: return back


#: What was never filled.
NO_PERMITS: Final = PermitsAhead(None, Instant(0), 0, 0)
