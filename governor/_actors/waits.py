"""Waits: what a verdict means for a call, in seconds."""

from governor._actors.mailbox import NOMINAL_WAIT
from governor._units import NEVER, SECOND, Instant, to_seconds
from governor.policies.pipeline import Verdict


def wait_fits(now: Instant, verdict: Verdict, timeout: float | None) -> bool:
    """Whether the wait for the verdict's instant is within a timeout in seconds."""
    if verdict.when == NEVER:
        return False
    due = verdict.not_before if verdict.sooner else verdict.when
    return timeout is None or (timeout > 0 and to_seconds(due - now) <= timeout)


def wait_of(now: Instant, verdict: Verdict) -> float:
    """Seconds from now until the verdict's instant, at least a microsecond.

    Where an outcome may bring that instant forward, the wait is at most the nominal one from the first instant on at which an
    outcome helps.
    """
    if not verdict.sooner:
        return max(1, verdict.when - now) / SECOND
    certain = max(0, verdict.not_before - now)
    return max(1, certain + min(verdict.when - now - certain, NOMINAL_WAIT)) / SECOND
