"""Wait queue of a scope, served by priority, by fair shares between caller labels, and then first come, first served.

Joining and leaving take constant time, whatever the length. What goes before a newcomer is found in constant time as well if
all calls that wait are of its priority and label, in time for each label if all cost one request, and else in time for each
call.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count, repeat
from typing import Final, final

from governor._actors.permit import Permit
from governor._units import Instant
from governor.messages import Acquire, Denied
from governor.policies.contract import PLAIN, Request
from governor.policies.queue_forecast import Queue
from governor.policies.service_order import Kind, ServiceOrder

#: The longest queue of calls with different costs that is sorted to find what goes before a newcomer: milliseconds of work.
MAX_SORTED: Final = 4096


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

    def waits(self, since: Instant, number: int, time: float, timeout: float | None) -> None:
        """It joins a queue, at `time` in seconds, for at most `timeout` seconds."""
        self.since, self.number = since, number
        self.deadline = math.inf if timeout is None else time + timeout

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
class PlainAhead:
    """So many plain requests that go before a newcomer."""

    __slots__ = ("_number",)
    plain = True

    def __init__(self, number: int) -> None:
        self._number = number

    def __len__(self) -> int:
        return self._number

    def calls(self) -> Iterable[tuple[int, Request]]:
        """The requests. Their numbers are not known: they count as earlier than those of other scopes."""
        return repeat((0, PLAIN), self._number)

    def ahead(self) -> Request | None:
        """See `WaitQueue.ahead`."""
        return Request(self._number) if self._number else None

    def largest(self) -> Request:
        """See `WaitQueue.largest`."""
        return PLAIN


@final
class Ahead:
    """The calls that go before a newcomer, in order."""

    __slots__ = ("_calls",)

    def __init__(self, waiters: Iterable[Waiter]) -> None:
        # A call that is served after another one counts as one that has not arrived before it.
        self._calls: list[tuple[int, Request]] = []
        latest = 0
        for waiter in waiters:
            latest = max(latest, waiter.number)
            self._calls.append((latest, waiter.acquire.request))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def plain(self) -> bool:
        """See `WaitQueue.plain`."""
        return all(request is PLAIN for _, request in self._calls)

    def calls(self) -> Iterable[tuple[int, Request]]:
        """The numbers with the requests, in the order of service."""
        return self._calls

    def ahead(self) -> Request | None:
        """See `WaitQueue.ahead`."""
        if not self._calls:
            return None
        units: Counter[str] = Counter()
        for _, request in self._calls:
            units.update(request.units or {})
        return Request(sum(request.cost for _, request in self._calls), dict(units) or None)

    def largest(self) -> Request:
        """See `WaitQueue.largest`."""
        units: dict[str, int] = {}
        for _, request in self._calls:
            for unit, amount in (request.units or {}).items():
                units[unit] = max(amount, units.get(unit, 0))
        return Request(max((request.cost for _, request in self._calls), default=1), units or None)


@final
class WaitQueue:
    """The waiters of one scope. The scope that owns the queue keeps its bound."""

    __slots__ = ("_cost", "_deadlines", "_kinds", "_largest", "_order", "_others", "_serial", "_units", "_waiters")

    def __init__(self) -> None:
        #: In the order in which they have joined.
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._order: ServiceOrder[Waiter] = ServiceOrder()
        #: How many waiters there are of each priority and label.
        self._kinds: Counter[Kind] = Counter()
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
        return self._order.first()

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
        """The numbers with the requests, by arrival. That is the order of service if all are of one priority and label."""
        return ((waiter.number, waiter.acquire.request) for waiter in self._waiters)

    def largest(self) -> Request:
        """At least the largest amount of each unit in any request; at least one request."""
        units = {unit: amount for unit, amount in self._largest.items() if unit is not None}
        return Request(self._largest.get(None, 1), units or None)

    def ahead_of(self, acquire: Acquire) -> Queue:
        """The waiters that are served before a newcomer if no other call joins or leaves. Valid until the queue changes.

        All waiters, and so more than that, if there are more than `MAX_SORTED` and they differ in their costs.
        """
        kind = (acquire.priority, acquire.caller)
        if self._kinds[kind] == len(self._waiters):
            return self
        if self.plain:
            return PlainAhead(self._order.number_before(kind))
        if len(self._waiters) > MAX_SORTED:
            return self
        return Ahead(self._order.before(kind))

    def has_room(self, acquire: Acquire, places: int) -> bool:
        """Whether a newcomer may wait. One of ten places is kept for interactive calls."""
        if len(self._waiters) >= places:
            return False
        if acquire.priority == "interactive":
            return True
        batch = sum(number for kind, number in self._kinds.items() if kind[0] == "batch")
        return batch < places - places // 10

    def overtaken_by(self, acquire: Acquire) -> None:
        """A newcomer has been served before all waiters, as `ahead_of` has said."""
        self._order.serve_newcomer((acquire.priority, acquire.caller), acquire.request.cost)

    def serve(self, waiter: Waiter) -> None:
        """Removes the head, which has been served."""
        acquire = waiter.acquire
        self._order.serve(waiter, (acquire.priority, acquire.caller))
        self._forget(waiter)

    def join(self, waiter: Waiter) -> None:
        """Adds a waiter, behind those of its priority and label."""
        self._waiters[waiter] = None
        request = waiter.acquire.request
        kind = (waiter.acquire.priority, waiter.acquire.caller)
        self._order.join(waiter, kind, request.cost)
        self._kinds[kind] += 1
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
        self._order.leave(waiter, (waiter.acquire.priority, waiter.acquire.caller))
        self._forget(waiter)
        return True

    def _forget(self, waiter: Waiter) -> None:
        del self._waiters[waiter]
        kind = (waiter.acquire.priority, waiter.acquire.caller)
        self._kinds[kind] -= 1
        if not self._kinds[kind]:
            del self._kinds[kind]
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

    def next_deadline(self) -> float:
        """The earliest deadline in the queue; infinity if there is none."""
        while self._deadlines and self._deadlines[0][2] not in self._waiters:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def take_overdue(self, until: float) -> Iterator[Waiter]:
        """Removes and yields the waiters whose deadline is `until` or earlier, the earliest deadline first."""
        while self.next_deadline() <= until and self._deadlines:  # There may be none up to infinity.
            waiter = self._deadlines[0][2]
            self.leave(waiter)
            yield waiter

    def take_all(self) -> Iterator[Waiter]:
        """Removes and yields all waiters, in order."""
        while (waiter := self.head()) is not None:
            self.leave(waiter)
            yield waiter


#: The queue of a scope in which no call has waited yet. It stays empty: the first call that waits gets a queue made.
NO_WAITERS: Final = WaitQueue()


def join(queue: WaitQueue, waiter: Waiter) -> WaitQueue:
    """Adds a waiter to the queue of a scope. Returns that queue, which is another one if no call has waited there before."""
    if queue is NO_WAITERS:
        queue = WaitQueue()
    queue.join(waiter)
    return queue
