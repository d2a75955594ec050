"""When a granted request must have arrived at the provider, how long a call that was given up is worked on, and how it ended.

A provider counts a request when it arrives, which is unknown here. It is certain from the first byte of the answer on, and at
the latest `margin` after the grant: so long a request may be under way before it leaves, on the network, and in queues.
"""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Final

import msgspec

from governor._units import MINUTE, SECOND, Duration, Instant

#: By how much a request arrives after its grant at most, unless the settings say otherwise.
DEFAULT_MARGIN: Final = Duration(2 * SECOND)
#: How long a call that was given up is worked on, while no call of the scope has been measured.
UNMEASURED_LINGER: Final = Duration(5 * SECOND)
#: The longest that is assumed from measurements.
MAX_LINGER: Final = Duration(10 * MINUTE)


class Ending(Enum):
    """How a call ended, as far as that says something about its arrival and about the work that it still causes."""

    #: An answer came, or the caller reported a success.
    ANSWERED = "answered"
    #: An answer of status 400 or more came: it has arrived, and its duration says nothing about that of other calls.
    REJECTED = "rejected"
    #: Nothing is known of an answer: it may still arrive.
    UNKNOWN = "unknown"
    #: Its caller waits no longer: it may still arrive, and may be worked on for a while.
    GIVEN_UP = "given up"


class Arrivals(msgspec.Struct, frozen=True, gc=False):
    """What is assumed about the calls of one scope, for its limits.

    A strict window counts a use until one window after the instant by which it must have arrived; with `by_outcome`, until one
    window after its outcome. A token bucket is reduced such that what arrives up to `bucket_margin` late conforms to it; 0
    leaves it as it is. A call that was given up keeps its place in flight for `linger` from then on, or from `margin` after its
    grant if that is later. None stands for the usual duration of calls; 0 frees the place at once.
    """

    by_outcome: bool = False
    margin: Duration = DEFAULT_MARGIN
    bucket_margin: Duration = Duration(0)
    linger: Duration | None = None


@lru_cache(maxsize=64)
def assumed(by_outcome: bool, margin: Duration, bucket_margin: Duration, linger: Duration | None) -> Arrivals:
    """What is assumed. Equal ones are one object, for most scopes have the same."""
    return Arrivals(by_outcome, margin, bucket_margin, linger)


def worked_on_until(now: Instant, granted_at: Instant, answered: bool, margin: Duration, linger: Duration) -> Instant:
    """Until when a call is worked on that was given up now: `linger` after it must have arrived, and after now."""
    arrived = now if answered else max(now, Instant(granted_at + margin))
    return Instant(arrived + linger)


def arrived(on_the_way: Mapping[int, int], margin: int, now: Instant, count: int) -> Instant:
    """When the oldest `count` units on the way have arrived: now, unless the margin of all of them is over."""
    for granted, units in on_the_way.items():
        arrived = granted + margin
        if arrived >= now:
            break
        count -= units
        if count <= 0:
            return Instant(arrived)
    return now
