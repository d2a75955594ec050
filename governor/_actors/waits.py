"""Waits: what a verdict means for a call, in seconds."""

from typing import Final

from governor._actors.mailbox import NOMINAL_WAIT
from governor._units import MILLISECOND, NEVER, Duration, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Denied
from governor.policies.verdict import Verdict

#: The longest wait, in seconds, of a call that would not wait so long for its turn: for other processes to answer a recall, or
#: for the store.
RECALL_TIMEOUT: Final = 0.05
#: The interval at which the head of the queue is looked at meanwhile: the permits may be of another scope.
RECALL_INTERVAL: Final = Duration(2 * MILLISECOND)


def wait_fits(now: Instant, verdict: Verdict, timeout: float | None) -> bool:
    """Whether the wait for the verdict's instant is within a timeout in seconds."""
    if verdict.when == NEVER:
        return False
    due = verdict.not_before if verdict.sooner else verdict.when
    return timeout is None or (timeout > 0 and to_seconds(due - now) <= timeout)


def denial_of(scope: str, now: Instant, verdict: Verdict) -> Denied:
    """The denial of a call that would be granted only later, or never."""
    if verdict.when == NEVER:
        return Denied(scope, Reason.COST, None)
    reason = Reason.RATE_LIMIT if verdict.by is None else verdict.by.reason
    return Denied(scope, reason, wait_of(now, verdict))


def wait_of(now: Instant, verdict: Verdict) -> float:
    """Seconds from now until the verdict's instant, at least a microsecond.

    Where an outcome may bring that instant forward, the wait is at most the nominal one from the first instant on at which an
    outcome helps.
    """
    wait = verdict.when - now
    if verdict.sooner:
        longest = (verdict.not_before - now if verdict.not_before > now else 0) + NOMINAL_WAIT
        if wait > longest:
            wait = longest
    return to_seconds(wait if wait > 1 else 1)


def sooner(now: Instant, verdict: Verdict) -> Verdict:
    """The verdict while what stands in the way may come back at any time."""
    return Verdict(verdict.when, verdict.by, sooner=True, not_before=now)


def recall_timeout(timeout: float | None) -> float | None:
    """The timeout of a call that waits for other processes to answer a recall, in seconds."""
    return None if timeout is None else max(timeout, RECALL_TIMEOUT)
