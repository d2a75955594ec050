"""Fields that nearly every call reads or writes, apart from the classes that they belong to.

Where there is a compiler, `_fields.pxd` declares them in C, and the compiled modules reach them without a look-up. In pure
Python these are the ordinary slots of their subclasses.
"""

from collections import deque
from collections.abc import Callable, Iterator, MutableSequence, Sized
from itertools import repeat
from sys import maxsize
from typing import Any, Literal, Self, TypeVar, overload

# C: import cython
import msgspec

T = TypeVar("T")


def stored_directly(struct: type[T]) -> type[T]:
    """Lets the interpreter store the fields of a msgspec struct itself, which takes a tenth of the time.

    What msgspec does besides is for the garbage collector: only for structs with `gc=False`. Subclasses need it as well.
    """
    struct.__setattr__ = object.__setattr__  # type: ignore[method-assign]
    struct.__delattr__ = object.__delattr__  # type: ignore[method-assign]
    return struct


class FailureRun:
    """Failures in a row, which a success ends."""

    __slots__ = ("failures",)

    failures: int


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
class Counts(msgspec.Struct, gc=False, eq=False):  # C: class Counts:
    """The counters of a plain request that is answered."""

    requests: int = 0
    answered_2xx: int = 0
    #: Successes without a status among them, as of a block that raises nothing.
    others: int = 0


class CapFields:
    """What is left of the global cap, in the newest entry of its log."""

    __slots__ = ("latest", "left", "slot_ends")

    latest: int
    left: int
    slot_ends: int


class MarkFields:
    """Plain requests that may be granted before the store is asked again."""

    __slots__ = ("left",)

    left: int


class LimitFields:
    """What every limit has."""

    __slots__ = ("parameters", "ready")


class BucketFields(LimitFields):
    """A token bucket. Its numbers may be larger than 64 bits."""

    __slots__ = ("plain", "slack", "tat", "ticks")

    plain: int
    slack: int
    tat: int
    ticks: int

    # In C the TAT is kept in 64 bits while it fits, because nearly every grant moves it.
    # C: @property
    # C: def tat(self):
    # C:     return tat_of(self)
    # C: @tat.setter
    # C: def tat(self, tat):
    # C:     set_tat(self, tat)


class Tally(repeat):  # type: ignore[type-arg] # at run time it takes none # C: class Tally:
    """Counts how often something happens: `next(tally)`, on any thread, in one step of the interpreter.

    It counts down from `sys.maxsize`, and `operator.length_hint(tally)` is what is left: to read it takes no Python call.
    """

    __slots__ = ()

    def __new__(cls) -> Self:  # C: def __init__(self):
        return super().__new__(cls, None, maxsize)  # C: self.left = maxsize

    # C: def __length_hint__(self):
    # C:     return self.left


class PlacesFields:
    """Places in flight that pass from call to call."""

    __slots__ = ("clock", "closed", "durations", "free")

    clock: Callable[[], Any]
    #: Whether a recall has closed them: none is taken any more, and a place that is returned later goes to the actor.
    closed: bool
    #: How long calls have taken, for the actor; None if no limit measures it.
    durations: list[int] | None
    #: One entry for each place that no call has. In C their number.
    free: deque[None]

    def call_back(self) -> None:
        """Called after a place was given back that was closed meanwhile."""


class PermitSource:
    """What permits and calls read of the address of a scope that grants permits, in this process or in another one."""

    __slots__ = (
        "answered",
        "counters",
        "degraded",
        "failures",
        "gathers",
        "large",
        "leased",
        "listens",
        "successes",
        "thread",
    )

    #: Where other threads count successes with status 200; None where they leave them one by one.
    answered: Tally | None
    #: The counters of the scope, for calls on the actor's own thread.
    counters: Counts
    degraded: FailureRun
    #: Unread failures, of any scope, and unread asks for more than one request.
    failures: Sized
    large: Sized
    #: Whether successes of permits that were granted ahead wait for the next look, which is due while there are any.
    gathers: bool
    #: Whether a success would change anything but the counters.
    listens: bool
    #: Takes one permit out of the lease at each step, while `large` and `failures` are empty; ends if there is none. For
    #: callers that the function call of `take` costs too much.
    leased: Iterator[Any]
    #: Where other threads leave the other successes that need not be read at once.
    successes: MutableSequence[Any]
    #: The actor's own thread.
    thread: int

    @overload
    def grab(self) -> Any: ...

    @overload
    def grab(self, deny: Literal[True]) -> Any: ...

    def grab(self, deny: bool = False) -> Any:
        """One request, at once, on the actor's own thread; None where no call runs on that. See `Granting`."""
        return None  # C: return self.granted(deny)

    # C: def granted(self, deny):
    # C:     return None

    def take(self) -> Any:
        """One request out of the lease, on any thread; None if it is empty, or if something must be read first.

        After a failure has been reported, in any scope, nothing is taken before it has been read; and nothing is taken ahead of
        an ask for more than one request. Asks for one need no such care: they were sent because the lease was empty.
        """
        if self.large or self.failures:
            return None
        for permit in self.leased:  # The first one. A loop costs less than `next`.
            return permit
        return None
