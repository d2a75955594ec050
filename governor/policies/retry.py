"""Retry rules: which calls are repeated after which failures, and after which wait.

Exponential backoff with a cap and with jitter, as Brooker compares it in "Exponential Backoff And Jitter" (AWS Architecture
Blog, 2015): full jitter, the default, costs the fewest calls; proportional jitter is his "equal jitter". The idempotent methods
are those of RFC 9110, section 9.2.2; other calls are repeated where the server has not processed them, as that section allows.
One point differs from the usual schedule: a wait that the server asks for (Retry-After, RFC 9110, section 10.2.3) replaces the
computed wait, whether it is longer or shorter, and the cap does not cut it.

Attempts are numbered from 1, the first call included. The retry budget of the provider is checked afterwards.
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

#: The largest number of attempts of one operation, which allows 5 retries.
MAX_ATTEMPTS: Final = 6

#: Methods that can be repeated without a different effect (RFC 9110, section 9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

#: Statuses after which a later attempt may succeed: timeout, too early (RFC 8470), too many requests (RFC 6585), server errors.
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

#: Statuses that say that the request was rejected before it was processed: too many requests (RFC 6585), service unavailable.
SAFE: Final = frozenset({429, 503})
#: Also the status of a server that failed while it processed the request, unless the answer says when to come back.
_UNAVAILABLE: Final = 503

_METHOD: Final = re.compile("[A-Z][A-Z_-]*")


class CallFailure(StrEnum):
    """How a call failed that got no answer."""

    #: The request was never sent: connection refused, name not resolved, TLS handshake failed, or no free connection.
    UNSENT = "unsent"
    #: The request was sent, and the answer did not come in time. The server may be processing it still.
    TIMEOUT = "timeout"
    #: The connection broke after the request had begun to be sent.
    BROKEN = "broken"


class RetryEnd(StrEnum):
    """Why no further attempt follows."""

    METHOD = "method_not_repeatable"
    STATUS = "status_not_retried"
    UNCERTAIN = "may_have_been_processed"
    ATTEMPTS = "attempts_used_up"
    DEADLINE = "deadline_too_close"


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """At most `attempts` in total; after the n-th, a wait of `first_delay * base ** (n - 1)`, at most `max_delay`.

    `attempts` is 1 to 6, and 1 means no retries; `base` is finite and at least 1. The delays are text or `timedelta`, from 1
    microsecond to 366 days, and `max_delay` is not the shorter one. Raises `ConfigError`.

    Answers with one of the `statuses`, from 400 to 599, are retried, if the call has one of the `methods`, in upper case, or an
    idempotency key; calls with other methods only after those of the `safe_statuses`, which say that the request was not
    processed: after 503 only if the answer also says when to come back. `end_after` says what follows a call without an answer.
    """

    attempts: int = 3
    first_delay: Duration = SECOND
    base: float = 2.0
    max_delay: Duration = MINUTE
    jitter: Jitter = "full"
    methods: frozenset[str] = IDEMPOTENT
    statuses: frozenset[int] = TRANSIENT
    safe_statuses: frozenset[int] = SAFE

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
            safe_statuses: frozenset[int] = SAFE,
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
        _statuses("safe_statuses", self.safe_statuses)

    def backoff(self, attempt: int, random: "Random") -> Duration:
        """The computed wait after this attempt has failed: from 0 to `max_delay`, in whole microseconds.

        `attempt` may be larger than `attempts`. Raises `UsageError` for an attempt below 1.
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
            raise UsageError(f"attempts are numbered from 1, and this one is {attempt}")
        try:
            grown = self.first_delay * self.base ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        # Capped before it is rounded: the product may be infinite.
        return Duration(round(min(grown, self.max_delay)))


def end_after(
    parameters: Retry,
    method: str,
    *,
    idempotency_key: bool,
    status: int | None,
    server_wait: bool,
    failure: CallFailure | None,
) -> RetryEnd | None:
    """Why a call that failed in this way is not repeated, however many attempts and however much time are left; None if it is.

    `method` may have any case. `server_wait` tells whether the answer says when to come back. A call without a `status` had no
    answer, and failed as `failure` says; None is a failure of any kind. If there is a status, `failure` does not matter.

    A call that may have been processed is repeated only if that cannot do harm: if its method is idempotent and one of the
    `methods`, or if it has an idempotency key. One of the `methods` that is not idempotent is repeated after a broken
    connection nevertheless, as its section asks for; after a timeout never, because the server may be processing it still.
    """
    method = method.upper()
    listed = method in parameters.methods
    harmless = idempotency_key or (listed and method in IDEMPOTENT)
    if status is not None:
        if status not in parameters.statuses:
            return RetryEnd.STATUS
        unprocessed = status in parameters.safe_statuses and (server_wait or status != _UNAVAILABLE)
        return None if harmless or listed or unprocessed else RetryEnd.METHOD
    if harmless or failure is CallFailure.UNSENT:
        return None
    if not listed:
        return RetryEnd.METHOD
    return None if failure is CallFailure.BROKEN else RetryEnd.UNCERTAIN


def plan(
    parameters: Retry, *, attempt: int, now: Instant, deadline: Instant | None, server_wait: Duration | None, random: "Random"
) -> Duration | RetryEnd:
    """The wait before the next attempt after this one (the first is 1) has failed at `now`; or why no further attempt follows.

    A `server_wait` above 0 replaces the computed wait; above 366 days it is ignored. The next attempt may begin at the
    `deadline`, and not later. Draws once from `random`, and changes nothing else.
    """
    if attempt >= parameters.attempts:
        return RetryEnd.ATTEMPTS
    # Drawn even if the server decides, so that its answer does not shift the draws of a replayed run.
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
        raise ConfigError(field, value, "methods in upper case, for instance 'GET'")
    for method in sorted(value):
        meant = method_names.near(method.lower())
        if meant is not None:
            raise ConfigError(field, value, f"methods of HTTP, and {method!r} is none (did you mean {meant.upper()!r}?)")


def _statuses(field: str, value: object) -> None:
    if not isinstance(value, frozenset) or not all(isinstance(status, int) and 400 <= status <= 599 for status in value):
        raise ConfigError(field, value, "whole numbers from 400 to 599")
