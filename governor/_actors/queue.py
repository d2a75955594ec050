"""Wait queue of a scope: first come, first served. Joining and leaving take constant time, whatever the length."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import final

from governor._actors.permit import Permit
from governor._units import Instant
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN, Request


@final
class Waiter:
    """A call that waits for the answer to its ask. `wake` is called once, after the answer is in place.

    `deadline` is in seconds on the clock of the actors' event loop; infinity waits as long as it takes. `thread` is the thread
    that is blocked meanwhile, if one is, and `since` the instant at which the waiter joined the queue. `number` counts
    the calls that have waited in any scope of its provider, so that it tells which of two has arrived first.
    """

    __slots__ = ("acquire", "answer", "deadline", "number", "since", "thread", "wake")

    def __init__(self, acquire: Acquire, wake: Callable[[], object], thread: int | None = None) -> None:
        self.acquire = acquire
        self.thread = thread
        self.answer: Permit | Denied | None = None
        self.deadline = math.inf
        self.since = Instant(0)
        self.number = 0
        self.wake = wake

    def give(self, answer: Permit | Denied) -> bool:
        """Puts the answer in place and wakes the call. False if its event loop has ended."""
        self.answer = answer
        try:
            self.wake()
        except RuntimeError:
            return False
        return True

    def take(self) -> Permit | Denied | None:
        """The answer, once. A queue that still knows the waiter must not keep the permit alive."""
        answer, self.answer = self.answer, None
        return answer


@final
class WaitQueue:
    """The waiters of one scope. The scope that owns the queue keeps its bound."""

    __slots__ = ("_cost", "_deadlines", "_largest", "_others", "_serial", "_units", "_waiters")

    def __init__(self) -> None:
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._serial = count()
        self._cost = 0
        self._units: Counter[str] = Counter()
        #: The number of waiters that ask for anything but one request.
        self._others = 0
        #: The largest amounts by unit since the queue was last empty; None stands for requests.
        self._largest: dict[str | None, int] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._waiters

    def threads(self) -> set[int]:
        """The threads that are blocked in this queue."""
        return {waiter.thread for waiter in self._waiters if waiter.thread is not None}

    def head(self) -> Waiter | None:
        """The waiter that is served next; None if the queue is empty."""
        return next(iter(self._waiters), None)

    def ahead(self) -> Request | None:
        """The sum of all requests in the queue; None if it is empty."""
        if not self._waiters:
            return None
        return Request(self._cost, dict(self._units) if self._units else None)

    @property
    def plain(self) -> bool:
        """Whether every waiter asks for one request and nothing else."""
        return not self._others

    def calls(self) -> Iterator[tuple[int, Request]]:
        """The numbers with the requests, in order."""
        return ((waiter.number, waiter.acquire.request) for waiter in self._waiters)

    def largest(self) -> Request:
        """At least the largest amount of each unit in any request; at least one request."""
        units = {unit: amount for unit, amount in self._largest.items() if unit is not None}
        return Request(self._largest.get(None, 1), units or None)

    def join(self, waiter: Waiter) -> None:
        """Adds a waiter at the end."""
        self._waiters[waiter] = None
        request = waiter.acquire.request
        self._cost += request.cost
        if request is not PLAIN:
            self._others += 1
            for unit, amount in ((None, request.cost), *(request.units or {}).items()):
                self._largest[unit] = max(amount, self._largest.get(unit, 0))
        if request.units:
            self._units.update(request.units)
        if waiter.deadline < math.inf:
            heappush(self._deadlines, (waiter.deadline, next(self._serial), waiter))

    def leave(self, waiter: Waiter) -> bool:
        """Removes a waiter from any position. False if it is not in the queue."""
        if waiter not in self._waiters:
            return False
        del self._waiters[waiter]
        self._cost -= waiter.acquire.request.cost
        if waiter.acquire.request is not PLAIN:
            self._others -= 1
        if waiter.acquire.request.units:
            self._units.subtract(waiter.acquire.request.units)
        if not self._waiters:
            self._units.clear()
            self._largest.clear()
        if len(self._deadlines) > 2 * len(self._waiters) + 64:
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._waiters]
            heapify(self._deadlines)
        return True

    def next_deadline(self) -> float:
        """The earliest deadline in the queue; infinity if there is none."""
        while self._deadlines and self._deadlines[0][2] not in self._waiters:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def take_overdue(self, until: float) -> Iterator[Waiter]:
        """Removes and yields the waiters whose deadline is `until` or earlier, the earliest deadline first."""
        while self.next_deadline() <= until:
            waiter = self._deadlines[0][2]
            self.leave(waiter)
            yield waiter

    def take_all(self) -> Iterator[Waiter]:
        """Removes and yields all waiters, in order."""
        while (waiter := self.head()) is not None:
            self.leave(waiter)
            yield waiter
