"""What the answers of a server leave of a limit: the answer, the bound that follows from it, and bounds together."""

from typing import NamedTuple

import msgspec

from governor._units import Instant

#: A limit as a server states it: its name, and its units.
Said = tuple[str | None, int]


class Bound(msgspec.Struct, frozen=True):
    """Until the instant `until`, the total must not pass `total`.

    `since` is the grant of the request that revealed it: of several that this bound stands for, the latest. The others describe
    the answer that set it: the name and the units of the limit, what it leaves, the latest reset of an earlier window, when it
    was read, and the instant from which on grants may have arrived later than its request. A bound without `said` stands for
    several answers, or for none, or is of a limit whose requests are taken to arrive in order.
    """

    until: Instant
    total: int
    since: Instant
    said: Said | None = None
    remaining: int = 0
    earlier: Instant = Instant(0)
    begin: Instant = Instant(0)
    read_at: Instant = Instant(0)


class Answer(NamedTuple):
    """What an answer, read at an instant, has said to a grant of so many units."""

    read_at: Instant
    granted_at: Instant
    units: int
    said: Said
    remaining: int
    reset: Instant

    def precedes(self, said: Said, remaining: int, earlier: Instant) -> bool:
        """Whether the server has counted it before a request whose answer says this: more was left, or an `earlier` window."""
        return (self.remaining > remaining or self.reset <= earlier) and self.said == said

    def overtook(self, bound: Bound) -> bool:
        """Whether it turns out that it was counted before the request of the bound."""
        return (
            bound.said is not None
            and bound.begin <= self.granted_at <= bound.read_at
            and self.precedes(bound.said, bound.remaining, bound.earlier)
        )


def earliest(bounds: list[Bound], now: Instant, needed: int) -> Instant:
    """The first instant from `now` on at which the total may be `needed`."""
    at = now
    for bound in bounds:
        if needed <= bound.total:
            break
        if bound.until > at:
            at = bound.until
    return at


def merge_closest(bounds: list[Bound]) -> None:
    """Makes one bound of the two whose resets are closest: it has the smaller total, and the later reset."""
    place = min(range(len(bounds) - 1), key=lambda index: bounds[index + 1].until - bounds[index].until)
    first, second = bounds[place : place + 2]
    bounds[place : place + 2] = [Bound(second.until, first.total, max(first.since, second.since))]


def strictest(bounds: list[Bound]) -> list[Bound]:
    """The bounds that are not implied by a later one with a total that is not larger; they are in order of `until`.

    A bound takes over the latest `since` of those that it implies: a refund must not loosen it more than it would those.
    """
    found: list[Bound] = []
    for bound in reversed(bounds):
        if not found or bound.total < found[-1].total:
            found.append(bound)
        elif bound.since > found[-1].since:
            found[-1] = msgspec.structs.replace(found[-1], since=bound.since)
    return found[::-1]
