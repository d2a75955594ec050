"""How is time counted inside the governor?

In whole microseconds, as integers: an `Instant` is a point on the clock, a `Duration` the span between two of them. Seconds
as floats exist only at the edges, where `to_seconds` and `from_seconds` translate.
"""

import math
from typing import Final, NewType

from governor.errors import ConfigError

Instant = NewType("Instant", int)
Duration = NewType("Duration", int)

MICROSECOND: Final = Duration(1)
MILLISECOND: Final = Duration(1_000)
SECOND: Final = Duration(1_000_000)
MINUTE: Final = Duration(60_000_000)
HOUR: Final = Duration(3_600_000_000)
DAY: Final = Duration(86_400_000_000)

#: Waiting cannot help: no passage of time makes this possible.
NEVER: Final = Instant(2**63 - 1)
#: Waiting may help, but what ends the wait is somebody else's outcome, and nobody knows when that comes.
AFTER_OUTCOME: Final = Instant(2**63 - 2)

#: The longest span that any setting may name; longer ones are typing mistakes, not policies.
MAX_DURATION: Final = Duration(366 * 86_400_000_000)


def to_seconds(span: int) -> float:
    """Microseconds as seconds, for people and for other programs."""
    return span / 1_000_000


def from_seconds(value: float, *, field: str) -> Duration:
    """Seconds as a duration, rounded up, so that a wait is never cut short.

    `value` lies between 0 and 366 days. Raises `ConfigError`, naming `field`, for anything else (NaN and infinity included).
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= MAX_DURATION / SECOND:
        raise ConfigError(field, value, "a number of seconds from 0 to 31622400 (366 days)")
    return Duration(math.ceil(value * 1_000_000))
