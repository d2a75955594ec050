"""The retry schedule: whether a call is retried, and after which delay.

Exponential backoff with a cap and with jitter, as Brooker compares it in "Exponential Backoff And Jitter" (AWS Architecture
Blog, 2015): full jitter, the default, costs the fewest calls; proportional jitter is his "equal jitter". The idempotent methods
are those of RFC 9110, section 9.2.2. We depart from the usual schedule in one point: a wait that the server asks for
(Retry-After, RFC 9110, section 10.2.3) replaces our own, whether it is longer or shorter, and our cap does not cut it.

Attempts are numbered from 1, the first call included. Whether the provider's budget pays for the retry is asked afterwards.
"""

import math
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

from governor._units import MAX_DURATION, MINUTE, SECOND, Duration, DurationLike, Instant
from governor.errors import ConfigError, UsageError
from governor.policies import _checks, method_names

if TYPE_CHECKING:
    from random import Random

#: How a delay is spread: evenly from 0 to the whole of it, evenly from half to the whole, or not at all.
Jitter = Literal["full", "proportional", "none"]

#: No operation is ever attempted more often than this, so no setting makes more than 5 retries.
MAX_ATTEMPTS: Final = 6

#: Doing it twice is the same as doing it once (RFC 9110, section 9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

#: A later attempt may fare better: timeout, too early (RFC 8470), too many requests (RFC 6585), and the server's own troubles.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_METHOD: Final = re.compile("[A-Z][A-Z_-]*")


class RetryEnd(StrEnum):
    """Why there is no further attempt."""

    ATTEMPTS = "attempts_used_up"
    DEADLINE = "deadline_too_close"


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` in all, the first included; after the n-th a wait of `first_delay * base ** (n - 1)`, `max_delay` at most.

    `attempts` is 1 to 6, where 1 means no retries; `base` is finite and at least 1; the delays lie between 1 microsecond and
    366 days, `max_delay` being the longer. Calls with one of the `methods`, in upper case, may be repeated; answers with one of
    the `statuses`, from 400 to 599, are worth another attempt. Raises `ConfigError`.
    """

    attempts: int = 3
    first_delay: Duration = SECOND
    base: float = 2.0
    max_delay: Duration = MINUTE
    jitter: Jitter = "full"
    methods: frozenset[str] = IDEMPOTENT
    statuses: frozenset[int] = TRANSIENT

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            attempts: int = 3,
            first_delay: DurationLike = SECOND,
            base: float = 2.0,
            max_delay: DurationLike = MINUTE,
            jitter: Jitter = "full",
            methods: frozenset[str] = IDEMPOTENT,
            statuses: frozenset[int] = TRANSIENT,
        ) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("attempts", self.attempts, maximum=MAX_ATTEMPTS)
        _checks.span(self, "first_delay")
        _growth("base", self.base)
        _checks.span(self, "max_delay")
        if self.max_delay < self.first_delay:
            raise ConfigError("max_delay", self.max_delay, f"at least first_delay, {self.first_delay}")
        if self.jitter not in get_args(Jitter):
            raise ConfigError("jitter", self.jitter, "'full', 'proportional' or 'none'")
        _methods("methods", self.methods)
        _statuses("statuses", self.statuses)

    def repeats(self, method: str, *, idempotency_key: bool) -> bool:
        """May a call with this method, in whatever case, be made twice? With an idempotency key, every call may."""
        return idempotency_key or method.upper() in self.methods

    def retries_status(self, status: int) -> bool:
        """Is an answer with this status worth another attempt?"""
        return status in self.statuses

    def backoff(self, attempt: int, random: "Random") -> Duration:
        """Our own wait after this attempt has failed: from 0 to `max_delay`, in whole microseconds.

        Defined for every `attempt` from 1 on, also beyond `attempts`. Raises `UsageError` for an attempt below 1.
        """
        delay = self._delay(attempt)
        match self.jitter:
            case "full":
                return Duration(random.randint(0, delay))
            case "proportional":
                return Duration(random.randint(delay - delay // 2, delay))
            case "none":
                return delay

    def _delay(self, attempt: int) -> Duration:
        if attempt < 1:
            raise UsageError(f"attempts are numbered from 1, but this one is {attempt}")
        try:
            grown = self.first_delay * self.base ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        # Capped before it is rounded: the product may be infinite.
        return Duration(round(min(grown, self.max_delay)))


def plan(
    parameters: Retry, *, attempt: int, now: Instant, deadline: Instant | None, server_wait: Duration | None, random: "Random"
) -> Duration | RetryEnd:
    """The wait before the next attempt, now that this one (the first is 1) has failed at `now`; or why there is none.

    A `server_wait` above 0 wins over our own backoff; beyond 366 days it is absurd and counts as not said. The next attempt may
    begin at the very `deadline`, and not a microsecond later. Changes nothing except for one draw from `random`.
    """
    if attempt >= parameters.attempts:
        return RetryEnd.ATTEMPTS
    # Drawn even when the server decides, so that what it says does not shift the draws of a replayed run.
    wait = parameters.backoff(attempt, random)
    if server_wait is not None and 0 < server_wait <= MAX_DURATION:
        wait = server_wait
    if deadline is not None and now + wait > deadline:
        return RetryEnd.DEADLINE
    return wait


def _growth(field: str, value: object) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1 <= value < math.inf:
        raise ConfigError(field, value, "a finite number of at least 1")


def _methods(field: str, value: object) -> None:
    if not isinstance(value, frozenset) or not all(isinstance(method, str) and _METHOD.fullmatch(method) for method in value):
        raise ConfigError(field, value, "a frozenset of methods in upper case, for instance 'GET'")
    for method in sorted(value):
        meant = method_names.near(method.lower())
        if meant is not None:
            raise ConfigError(field, value, f"methods of HTTP, and {method!r} is none (did you mean {meant.upper()!r}?)")


def _statuses(field: str, value: object) -> None:
    if not isinstance(value, frozenset) or not all(isinstance(status, int) and 400 <= status <= 599 for status in value):
        raise ConfigError(field, value, "a frozenset of whole numbers from 400 to 599")
