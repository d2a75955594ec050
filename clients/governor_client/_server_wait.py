"""How long a server asks to wait before a retry."""

from governor.clock import MAX_DURATION, to_seconds, wall_clock
from governor.hints import Headers, read_wait

__all__ = ["Headers", "server_wait"]


def server_wait(headers: Headers) -> float | None:
    """Seconds from now, from 0 to 366 days; None without a valid value. `governor.hints.read_wait` describes what is read.

    A longer wait counts as 366 days, so that no retry comes before it.
    """
    wait = read_wait(headers, now=wall_clock(), max_hint=MAX_DURATION)
    return None if wait is None else to_seconds(wait)
