"""Checks for more grants in any window than a limit allows.

Real threads cannot say at which instant they were admitted, only between which two: before they asked, and after they had the
answer. An admission counts for a window only if both lie within, so that what is found here is a fault beyond doubt. Instants
are in microseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Admission(NamedTuple):
    """Something of this cost was admitted at some instant from `before` to `after`."""

    before: int
    after: int
    cost: int = 1


class Span(NamedTuple):
    """From one instant to another."""

    begin: int
    end: int


def excess_over_bucket(admissions: Iterable[Admission], *, amount: int, per: int, burst: int) -> int:
    """By how much the worst window exceeds burst + amount * w / per, in units of cost times `per`; at most 0 if none does.

    The beginning of the window goes back from the latest instant to the earliest. Each admission that it meets counts for all
    ends from its own on, of which only those that were met before are in play: they lie within the window.
    """
    opened = sorted(admissions, reverse=True)
    ends = sorted({admission.after for admission in opened})
    out_of_play = 2 * (amount * (ends[-1] + 1) + per * sum(admission.cost for admission in opened)) if ends else 0
    in_play: set[int] = set()
    tree = _Highest([-amount * end - out_of_play for end in ends])
    worst = -burst * per
    for admission in opened:
        place = bisect_left(ends, admission.after)
        tree.raise_from(place, admission.cost * per)
        if place not in in_play:
            in_play.add(place)
            tree.raise_from(place, out_of_play)
            tree.raise_from(place + 1, -out_of_play)
        worst = max(worst, tree.highest + amount * admission.before - burst * per)
    return worst


def most_in_window(admissions: Iterable[Admission], width: int) -> int:
    """The largest cost within any window that is shorter than `width`."""
    ordered = sorted(admissions)
    most = 0
    for place, first in enumerate(ordered):
        last = first.before + width
        inside = (one.cost for one in ordered[place : bisect_left(ordered, (last,), lo=place)] if one.after < last)
        most = max(most, sum(inside))
    return most


def most_at_once(spans: Iterable[Span]) -> int:
    """How many of them there were at the same time, at most."""
    steps = sorted(step for span in spans if span.begin < span.end for step in ((span.begin, 1), (span.end, -1)))
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def admitted_while_closed(admissions: Sequence[Admission], closed: Iterable[Span]) -> list[Admission]:
    """What was admitted although nothing may be in these spans."""
    ordered = sorted(admissions)
    found: set[Admission] = set()
    for begin, end in set(closed):
        place = bisect_left(ordered, (begin,))
        while place < len(ordered) and ordered[place].before < end:
            if ordered[place].after < end:
                found.add(ordered[place])
            place += 1
    return sorted(found)


class _Highest:
    """A row of numbers, of which a whole right end can be raised at once, and their highest."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._size = 1 << max(0, len(numbers) - 1).bit_length()
        lowest = min(numbers, default=0)
        # The upper half of each list belongs to the numbers themselves, the lower half to pairs, pairs of pairs and so on.
        self._highest = [lowest] * self._size + [*numbers] + [lowest] * (self._size - len(numbers))
        self._raised = [0] * 2 * self._size
        for node in reversed(range(1, self._size)):
            self._highest[node] = max(self._highest[2 * node], self._highest[2 * node + 1])

    @property
    def highest(self) -> int:
        return self._highest[1]

    def raise_from(self, place: int, by: int) -> None:
        if place >= self._size:
            return
        node = place + self._size
        self._highest[node] += by
        while node > 1:
            if node % 2 == 0:
                self._highest[node + 1] += by
                self._raised[node + 1] += by
            node //= 2
            self._highest[node] = max(self._highest[2 * node], self._highest[2 * node + 1]) + self._raised[node]
