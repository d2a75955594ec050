"""Leases at a member: permits that the daemon has granted ahead, and how long the process may use them. Sans-IO.

The owner counts a leased permit as used at the latest when the time to live of its lease has run out. So none is used after
that: each pop looks at the clock, *after* it has popped, because a process that is stopped in between must not use what it
holds when it goes on. The time counts from the sending of the message that was answered; at the owner it counts from the
sending of the answer, which is later.

All methods but `pop`, and what is counted in `answered` and appended to `successes` and `deposits`, belong to the thread of the
connection. Clocks are in nanoseconds: to read one in microseconds costs a pop another Python call.

Bound: one instant for each message without an answer, and as many permits as the owner leases.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import repeat, starmap
from operator import length_hint
from sys import maxsize
from typing import Final, NamedTuple, final

from governor._actors.permit import Permit
from governor._fields import Tally
from governor.protocol import LeaseUse

Nanoseconds = int

#: An instant before all others: no lease is valid.
_NEVER_VALID: Final = -1


@final
class Validity:
    """Until when the leases of a member may be used."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        #: The first instant at which no leased permit may be used.
        self.until: Nanoseconds = _NEVER_VALID


class Reported(NamedTuple):
    """What has become of the permits of a lease since the last report."""

    generation: int
    used: int
    back: int
    #: Calls that succeeded, by HTTP status, with 0 for none.
    successes: dict[int, int]
    deposits: int

    @classmethod
    def nothing(cls, generation: int) -> "Reported":
        """Nothing has happened."""
        return cls(generation, 0, 0, {}, 0)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.used or self.back or self.successes or self.deposits)


@final
class MemberLease:
    """The permits of one scope. `pop` takes one on any thread; it raises StopIteration if there is none that may be used."""

    __slots__ = ("_back", "_left", "_outstanding", "_permits", "answered", "deposits", "generation", "pop", "successes")

    def __init__(self, validity: Validity, clock: Callable[[], Nanoseconds]) -> None:
        self._permits: deque[Permit] = deque()
        self.pop = _popper(self._permits.popleft, validity, clock)
        #: Calls that succeeded with status 200, and what was left in the tally at the last report.
        self.answered = Tally()
        self._left = maxsize
        #: The HTTP status, or None, of other calls that succeeded.
        self.successes: deque[int | None] = deque()
        #: One entry for each operation whose first attempt took a permit here.
        self.deposits: deque[None] = deque()
        self.generation = 0
        #: Permits that were leased and are not reported.
        self._outstanding = 0
        #: Permits that have been removed, and will never be used.
        self._back = 0

    def __len__(self) -> int:
        """Permits that calls can take while the lease is valid."""
        return len(self._permits)

    @property
    def unread(self) -> bool:
        """Whether permits are leased, or something is to be told."""
        return bool(self._outstanding or self.successes or self.deposits or length_hint(self.answered) < self._left)

    @property
    def outstanding(self) -> int:
        """Permits that were leased and are not reported."""
        return self._outstanding

    @property
    def is_used(self) -> bool:
        """Whether calls have taken permits since the last report."""
        return self._outstanding - self._back > len(self._permits)

    def fill(self, permits: Iterable[Permit], count: int, generation: int) -> Reported | None:
        """Adds permits that were leased. Those of an older generation are ignored: the owner counts them as used.

        Returns what has become of all earlier permits, if they belong to an older generation.
        """
        if generation < self.generation:
            return None
        before = self.recall(generation) if generation > self.generation else None
        self._outstanding += count
        self._permits.extend(permits)
        return before

    def recall(self, generation: int) -> Reported:
        """Removes what no call has taken, and begins another generation. What is returned belongs to the one so far."""
        self.discard()
        reported = self.report()
        self.generation = max(self.generation, generation)
        return reported

    def discard(self) -> None:
        """Removes what no call has taken, because it may not be used any more, or will not be."""
        pop, back = self._permits.pop, 0
        try:
            while True:
                pop()
                back += 1
        except IndexError:
            self._back += back

    def report(self) -> Reported:
        """All that has happened since the last report."""
        # Successes first: a call is counted as made before it is counted as ended.
        successes = Counter(starmap(self.successes.popleft, repeat((), len(self.successes))))
        before, self._left = self._left, length_hint(self.answered)
        if before > self._left:
            successes[200] += before - self._left
        deposits = len(self.deposits)
        for _ in range(deposits):
            self.deposits.popleft()
        used = self._outstanding - self._back - len(self._permits)
        back, self._back = self._back, 0
        self._outstanding -= used + back
        return Reported(self.generation, used, back, _by_status(successes), deposits)

    def forget(self) -> int:
        """The connection has ended. Returns how many permits calls have taken that were not reported."""
        used = self.recall(0).used
        self.generation = 0
        return used


def _by_status(successes: Mapping[int | None, int]) -> dict[int, int]:
    """The same as the protocol has it: 0 for no status, and for a number that is none."""
    found: Counter[int] = Counter()
    for status, times in successes.items():
        found[int(status) if status is not None and 0 < status < 1000 else 0] += times
    return found


@final
class Leases:
    """The leases of a member, which all end together unless messages are answered."""

    __slots__ = ("_lapsed", "_sent", "_ttl", "_validity", "by_scope", "clock")

    def __init__(self, clock: Callable[[], Nanoseconds]) -> None:
        self.clock = clock
        self.by_scope: dict[str, MemberLease] = {}
        self._validity = Validity()
        self._ttl: Nanoseconds = 0
        #: When the messages were sent that have no answer yet, by their numbers.
        self._sent: dict[int, Nanoseconds] = {}
        #: Whether what was leased may not be used any more, and has been discarded.
        self._lapsed = True

    def of(self, scope: str) -> MemberLease:
        """The lease of a scope, which is empty at first."""
        lease = self.by_scope.get(scope)
        if lease is None:
            self.by_scope[scope] = lease = MemberLease(self._validity, self.clock)
        return lease

    def begin(self, ttl: Nanoseconds) -> None:
        """Another connection has begun, with this time to live."""
        self._ttl = ttl

    def end(self) -> dict[str, int]:
        """The connection has ended. Returns the permits, by scope, that calls have taken and that were not reported."""
        self._validity.until = _NEVER_VALID
        self._lapsed = True
        self._sent.clear()
        return {scope: used for scope, lease in self.by_scope.items() if (used := lease.forget())}

    def sent(self, number: int) -> None:
        """The message with this number is about to be sent."""
        self._sent[number] = self.clock()

    def fill(self, scope: str, permits: Iterable[Permit], count: int, generation: int) -> Reported | None:
        """The owner has leased permits. See `MemberLease.fill`.

        They are discarded if all leases have lapsed: the answer that they came with is too old, and by the next one the owner
        may have given up on them.
        """
        self.lapse()
        lease = self.of(scope)
        before = lease.fill(permits, count, generation)
        if self._lapsed:
            lease.discard()
        return before

    def answered(self, number: int) -> None:
        """The owner has answered a message: all that is leased may be used for longer. Nothing if it was answered before."""
        now, sent = self.clock(), self._sent.pop(number, None)
        if not self._lapsed and now >= self._validity.until:
            self._discard()
        if sent is not None:
            until = self._validity.until = max(self._validity.until, sent + self._ttl)
            self._lapsed = now >= until

    def lapse(self) -> None:
        """Discards all permits if they may not be used any more. Called before a report is made."""
        if not self._lapsed and self.clock() >= self._validity.until:
            self._discard()

    def _discard(self) -> None:
        self._lapsed = True
        for lease in self.by_scope.values():
            lease.discard()


def use_of(scope: str, reported: Reported, wanted: int = 0) -> LeaseUse:
    """The report as it travels."""
    generation, used, back, successes, deposits = reported
    return LeaseUse(scope, generation, used, back, successes, deposits, wanted)


def _popper(popleft: Callable[[], Permit], validity: Validity, clock: Callable[[], Nanoseconds]) -> Callable[[], Permit]:
    """Takes a permit if it may still be used. A closure, which costs each call less than a method."""

    def pop() -> Permit:
        try:
            permit = popleft()
        except IndexError:
            raise StopIteration from None
        if clock() < validity.until:
            return permit
        # It counts as used: the owner counts it so as well.
        raise StopIteration

    return pop
