"""Order of service: which of the waiting calls goes next, by priority and by fair shares between callers.

- *Priority.* Interactive calls go before batch calls. So that batch calls are not starved, they age with each call that goes
  before them: after `MAX_PASSED` interactive calls in a row, one batch call goes next. Counted in calls and not in seconds, the
  order is the same at any rate of grants.
- *Fair shares.* Among calls of one priority, each caller label has the same share of what is granted, in requests, as long as
  it has calls that wait; calls without a label are one label together. A label that has not waited begins level with the others
  and has nothing saved up (start-time fair queueing: Goyal, Vin and Cheng, 1996, with a tag for the first call of each label).
- Within one label and priority: first come, first served.

So no call is starved: with L labels waiting, a batch call that is number n of its label goes after at most n * L batch calls
of the same cost, and after `MAX_PASSED` interactive calls for each of them.

Bound: of labels that have no call waiting, at most `MAX_FINISHED` are remembered beyond those that wait; the next call of a
forgotten one may go one turn early.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, Literal, TypeVar, get_args

#: So many interactive calls in a row go before a batch call that waits.
MAX_PASSED: Final = 9
#: Labels without a waiting call whose latest turn is remembered, beside as many as wait.
MAX_FINISHED: Final = 1024


#: How urgent a call is.
Priority = Literal["interactive", "batch"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)

#: The priority and the caller label of a call, which are all that its place depends on.
Kind = tuple[Priority, str | None]
T = TypeVar("T", bound=Hashable)


class _Line(Generic[T]):
    """The waiting calls of one label in order, with their numbers and costs, and the tag of the first of them."""

    __slots__ = ("calls", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.calls: OrderedDict[T, tuple[int, int]] = OrderedDict()


class _Shares(Generic[T]):
    """The waiting calls of one priority. The first call with the lowest tag is next, of two with the same tag the older one."""

    __slots__ = ("_finished", "_first", "_lines", "_now", "size")

    def __init__(self) -> None:
        self.size = 0
        self._lines: dict[str | None, _Line[T]] = {}
        #: The tag and the number of the first call of each line; entries of other calls are obsolete.
        self._first: list[tuple[int, int, str | None]] = []
        #: The tag of the latest call that went, and the tags from which on labels without a waiting call may go on.
        self._now = 0
        self._finished: dict[str | None, int] = {}

    def join(self, item: T, label: str | None, number: int, cost: int) -> None:
        line = self._lines.get(label)
        if line is None:
            self._lines[label] = line = _Line(self._level(label))
            self._finished.pop(label, None)
        line.calls[item] = (number, cost)
        self.size += 1
        if len(line.calls) == 1:
            self._push(line, label, number)

    def leave(self, item: T, label: str | None) -> None:
        line = self._lines[label]
        was_first = next(iter(line.calls)) is item
        del line.calls[item]
        self.size -= 1
        if not line.calls:
            del self._lines[label]
            self._finish(label, line.start)
        elif was_first:
            self._push(line, label, next(iter(line.calls.values()))[0])

    def serve(self, item: T, label: str | None) -> None:
        line = self._lines[label]
        self._now = max(self._now, line.start)
        line.start += line.calls[item][1]
        self.leave(item, label)

    def serve_newcomer(self, label: str | None, cost: int) -> None:
        """A call of a label without waiting calls goes without joining."""
        self._now = max(self._now, self._level(label))
        self._finish(label, self._now + cost)

    def first(self) -> T | None:
        while self._first:
            start, number, label = self._first[0]
            line = self._lines.get(label)
            if line is not None and line.start == start:
                item, (its_number, _) = next(iter(line.calls.items()))
                if its_number == number:
                    return item
            heappop(self._first)
        return None

    def number_before(self, label: str | None) -> int:
        """How many calls go before a newcomer of this label, if each of them costs 1."""
        own = self._lines.get(label)
        tag = self._level(label) if own is None else own.start + len(own.calls)
        return sum(min(len(line.calls), tag - line.start + 1) for line in self._lines.values() if line.start <= tag)

    def before(self, label: str | None) -> list[T]:
        """The calls that go before a newcomer of this label, in order."""
        own = self._lines.get(label)
        tag = self._level(label) if own is None else own.start + sum(cost for _, cost in own.calls.values())
        entries = sorted(entry for line in self._lines.values() for entry in _tags(line, tag))
        return [item for _, _, (item,) in entries]

    def _level(self, label: str | None) -> int:
        return max(self._now, self._finished.get(label, 0))

    def _finish(self, label: str | None, start: int) -> None:
        if not self._lines:
            # No other call waits: there is nothing to share.
            self._finished.clear()
            return
        if start > self._now:
            self._finished[label] = start
        if len(self._finished) > len(self._lines) + MAX_FINISHED:
            self._finished = {one: start for one, start in self._finished.items() if start > self._now}
            while len(self._finished) > len(self._lines) + MAX_FINISHED // 2:
                del self._finished[next(iter(self._finished))]

    def _push(self, line: _Line[T], label: str | None, number: int) -> None:
        if len(self._first) > 2 * len(self._lines) + 64:
            firsts = ((one.start, next(iter(one.calls.values()))[0], name) for name, one in self._lines.items())
            self._first = [first for first in firsts if first[2] != label]
            heapify(self._first)
        heappush(self._first, (line.start, number, label))  # Numbers differ, so labels are never compared.


def _tags(line: _Line[T], latest: int) -> Iterator[tuple[int, int, tuple[T]]]:
    """The calls of a line with a tag of at most `latest`, with tags and numbers."""
    start = line.start
    for item, (number, cost) in line.calls.items():
        if start > latest:
            return
        yield start, number, (item,)
        start += cost


class ServiceOrder(Generic[T]):
    """The waiting calls, and which of them is next.

    Every method but `number_before` and `before` takes the same time for any number of calls.
    """

    __slots__ = ("_batch", "_interactive", "_numbers", "_passed")

    def __init__(self) -> None:
        self._interactive: _Shares[T] = _Shares()
        self._batch: _Shares[T] = _Shares()
        self._numbers = count()
        #: Interactive calls in a row that went while a batch call waited.
        self._passed = 0

    def join(self, item: T, kind: Kind, cost: int = 1) -> None:
        """A call joins. One that costs nothing counts like one that costs 1."""
        self._of(kind).join(item, kind[1], next(self._numbers), max(1, cost))

    def leave(self, item: T, kind: Kind) -> None:
        """A call leaves without having been served; the next call of its label takes its place."""
        self._of(kind).leave(item, kind[1])
        if not self._batch.size:
            self._passed = 0

    def serve(self, item: T, kind: Kind) -> None:
        """A call is served, and leaves."""
        self._pass(kind)
        self._of(kind).serve(item, kind[1])
        if not self._batch.size:
            self._passed = 0

    def serve_newcomer(self, kind: Kind, cost: int = 1) -> None:
        """A call is served that goes before all that wait, without having joined."""
        self._pass(kind)
        self._of(kind).serve_newcomer(kind[1], max(1, cost))

    def first(self) -> T | None:
        """The call that is next; None if no call waits."""
        if self._batch.size and (self._passed >= MAX_PASSED or not self._interactive.size):
            return self._batch.first()
        return self._interactive.first()

    def number_before(self, kind: Kind) -> int:
        """The number of calls in `before`, if each call that waits costs 1. Takes time for each label."""
        if kind[0] == "batch":
            before = self._batch.number_before(kind[1])
            return before + min(self._interactive.size, (before + 1) * MAX_PASSED - self._passed)
        before = self._interactive.number_before(kind[1])
        return before + min(self._batch.size, (before + self._passed) // MAX_PASSED)

    def before(self, kind: Kind) -> list[T]:
        """The calls that go before a newcomer of this kind if no other call joins or leaves, in order."""
        batch = kind[0] == "batch"
        first = self._interactive.before(kind[1]) if not batch else self._all(self._interactive)
        second = self._batch.before(kind[1]) if batch else self._all(self._batch)
        order: list[T] = []
        passed, i, j = self._passed, 0, 0
        while True:
            turn_of_batch = passed >= MAX_PASSED or (batch and i == len(first))
            if turn_of_batch and (j < len(second) or batch):
                if j == len(second):
                    return order  # The newcomer, a batch call.
                order.append(second[j])
                j, passed = j + 1, 0
            elif i == len(first):
                return order  # The newcomer, an interactive call.
            else:
                order.append(first[i])
                i, passed = i + 1, passed + 1

    @staticmethod
    def _all(shares: _Shares[T]) -> list[T]:
        tagged = (entry for line in shares._lines.values() for entry in _tags(line, 1 << 62))
        return [item for _, _, (item,) in sorted(tagged)]

    def _of(self, kind: Kind) -> _Shares[T]:
        return self._batch if kind[0] == "batch" else self._interactive

    def _pass(self, kind: Kind) -> None:
        if kind[0] == "batch" or not self._batch.size:
            self._passed = 0
        else:
            self._passed += 1
