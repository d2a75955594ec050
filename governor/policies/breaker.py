"""Is the provider well enough to be called? A circuit breaker per scope.

Closed lets everything through and watches; open lets nothing through; half-open lets a counted number of probes through and
decides by their outcomes (M. Nygard, Release It!, 2nd ed. 2018, ch. 5). It opens on consecutive failures, on a failure rate
over a sliding window of calls or of time, or on whichever of the two comes first.

Each change of state begins a new generation, and so does each change of settings. Grants carry theirs, and the outcome of one
from an earlier state changes nothing.
"""

from collections import deque
from enum import Enum
from typing import Final

import msgspec

from governor._units import MINUTE, Duration, Instant
from governor.errors import ConfigError, Reason
from governor.policies import _checks
from governor.policies._call_log import SLOTS, CallLog, CallLogState
from governor.policies.contract import Grant, Request, Result

_RATE_SCALE: Final = 1_000_000


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop calling, for how long, and what must happen before calls go on. Raises `ConfigError`.

    `failures` in a row open it (None: do not count them), or a share of at least `failure_rate` (above 0, at most 1)
    failing among the last `window_calls` calls or the calls of the last `window`, once `minimum_calls` are in it. A success
    that took `slow_call` or longer counts as a failure. Open lasts `open_for`; then at most `probes` calls go through, and
    `successes` of them close it, while one failure opens it again. A probe without an outcome for `probe_deadline` gives
    its place to another.
    """

    failures: int | None = 5
    failure_rate: float | None = None
    window_calls: int | None = None
    window: Duration | None = None
    minimum_calls: int = 10
    slow_call: Duration | None = None
    successes: int = 2
    open_for: Duration = MINUTE
    probes: int = 3
    probe_deadline: Duration = MINUTE

    def __post_init__(self) -> None:
        if self.failures is not None:
            _checks.whole("failures", self.failures)
        elif self.failure_rate is None:
            raise ConfigError("failures", None, "a whole number, unless failure_rate is given")
        if self.failure_rate is None:
            if self.window_calls is not None or self.window is not None:
                raise ConfigError("failure_rate", None, "a number above 0 and at most 1 when a window is given")
        else:
            _checks.share("failure_rate", self.failure_rate)
            if (self.window_calls is None) == (self.window is None):
                raise ConfigError("window", self.window, "exactly one of window_calls and window beside failure_rate")
        if self.window_calls is not None:
            _checks.whole("window_calls", self.window_calls, most=SLOTS)
        if self.window is not None:
            _checks.positive_span("window", self.window)
        _checks.whole("minimum_calls", self.minimum_calls, most=self.window_calls or _checks.MOST)
        if self.slow_call is not None:
            _checks.positive_span("slow_call", self.slow_call)
        _checks.positive_span("open_for", self.open_for)
        _checks.positive_span("probe_deadline", self.probe_deadline)
        _checks.whole("probes", self.probes, most=SLOTS)
        _checks.whole("successes", self.successes, most=self.probes)


class BreakerStatus(Enum):
    """What the breaker lets through: everything, nothing, or probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerEvent(Enum):
    """What moves a breaker from one status to the next."""

    TRIPPED = "tripped"
    COOLED = "cooled"
    RECOVERED = "recovered"


#: Every legal change; any other is a bug, raises KeyError and changes nothing.
TRANSITIONS: Final[dict[tuple[BreakerStatus, BreakerEvent], BreakerStatus]] = {
    (BreakerStatus.CLOSED, BreakerEvent.TRIPPED): BreakerStatus.OPEN,
    (BreakerStatus.OPEN, BreakerEvent.COOLED): BreakerStatus.HALF_OPEN,
    (BreakerStatus.HALF_OPEN, BreakerEvent.RECOVERED): BreakerStatus.CLOSED,
    (BreakerStatus.HALF_OPEN, BreakerEvent.TRIPPED): BreakerStatus.OPEN,
}


class BreakerState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a breaker stands: enough to go on in another actor or process."""

    status: BreakerStatus
    generation: int
    since: int
    until: Instant
    failures: int
    successes: int
    probes: tuple[Instant, ...]
    admitted: int
    openings: int
    last_failure: Instant | None
    last_calls: tuple[bool, ...]
    calls: CallLogState


class BreakerPolicy:
    """The machine: closed at first."""

    __slots__ = (
        "admitted",
        "_calls",
        "_last_calls",
        "_probes",
        "_since",
        "failures",
        "generation",
        "last_failure",
        "openings",
        "parameters",
        "status",
        "successes",
        "until",
    )

    reason = Reason.CIRCUIT_OPEN

    def __init__(self, parameters: Breaker) -> None:
        self.parameters = parameters
        self.status = BreakerStatus.CLOSED
        self.generation = 0
        # The first generation of the state that it is in: of older ones, outcomes change nothing.
        self._since = 0
        #: While open: when probes may go.
        self.until = Instant(0)
        #: Failures in a row while closed.
        self.failures = 0
        #: Successful probes of this generation.
        self.successes = 0
        #: How often it has opened since it was made.
        self.openings = 0
        self.last_failure: Instant | None = None
        #: Probes of this generation that were let through, but for those that were given back.
        self.admitted = 0
        self._probes: list[Instant] = []
        self._last_calls: deque[bool] = deque(maxlen=parameters.window_calls or 1)
        self._calls = CallLog(parameters.window or MINUTE)

    @property
    def listens(self) -> bool:
        """Would a success change anything? If not, nobody needs to tell."""
        parameters = self.parameters
        return (
            self.failures > 0
            or self.status is not BreakerStatus.CLOSED
            or parameters.failure_rate is not None
            or parameters.slow_call is not None
        )

    def at_rest(self, now: Instant) -> bool:
        """Is it closed, with no failure on record?"""
        failed = self.failures or any(self._last_calls) or self._calls.failures_at(now)
        return self.status is BreakerStatus.CLOSED and not failed

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """Now if closed; else when the cooling ends, or, with all probes out, when the first of them is given up."""
        match self.status:
            case BreakerStatus.CLOSED:
                return now
            case BreakerStatus.OPEN:
                return max(now, self.until)
            case BreakerStatus.HALF_OPEN:
                if self.admitted < self.parameters.probes:
                    return now
                return max(now, Instant(min(self._probes, default=now) + self.parameters.probe_deadline))

    def commit(self, now: Instant, request: Request) -> int:
        """One more call; after the cooling the first one is already a probe, and counted."""
        if self.status is BreakerStatus.OPEN:
            self._move(BreakerEvent.COOLED)
        if self.status is BreakerStatus.HALF_OPEN:
            if self.admitted >= self.parameters.probes:
                given_up = min(self._probes)
                self._probes.remove(given_up)
            else:
                self.admitted += 1
            self._probes.append(now)
        return 0

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Learns from an outcome, unless it belongs to an earlier state or to a probe that was given up."""
        if grant.generation < self._since:
            return
        if self.status is BreakerStatus.HALF_OPEN and grant.granted_at not in self._probes:
            return
        slow = self.parameters.slow_call
        if result is Result.SUCCESS and slow is not None and now - grant.granted_at >= slow:
            result = Result.FAILURE
        if result is Result.FAILURE:
            self.last_failure = now
        if self.status is BreakerStatus.HALF_OPEN:
            self._record_probe(now, grant, result)
        elif result is not Result.NEUTRAL:
            self._record_call(now, failed=result is Result.FAILURE)

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """A call that was never made says nothing, and gives its probe back."""
        self.record(now, grant, Result.NEUTRAL)

    def _record_probe(self, now: Instant, grant: Grant, result: Result) -> None:
        self._probes.remove(grant.granted_at)
        match result:
            case Result.NEUTRAL:
                self.admitted -= 1
            case Result.FAILURE:
                self._open(now)
            case Result.SUCCESS:
                self.successes += 1
                if self.successes >= self.parameters.successes:
                    self._move(BreakerEvent.RECOVERED)

    def _record_call(self, now: Instant, *, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        in_a_row = self.parameters.failures
        if self._rate_reached(now, failed=failed) or (in_a_row is not None and self.failures >= in_a_row):
            self._open(now)

    def _rate_reached(self, now: Instant, *, failed: bool) -> bool:
        rate = self.parameters.failure_rate
        if rate is None:
            return False
        if self.parameters.window is None:
            self._last_calls.append(failed)
            calls, failures = len(self._last_calls), sum(self._last_calls)
        else:
            self._calls.add(now, failed=failed)
            calls, failures = self._calls.calls, self._calls.failures
        # No rate is so small that it is reached without a failure.
        least = max(1, round(rate * _RATE_SCALE))
        return calls >= self.parameters.minimum_calls and failures * _RATE_SCALE >= least * calls

    def _open(self, now: Instant) -> None:
        self._move(BreakerEvent.TRIPPED)
        self.until = Instant(now + self.parameters.open_for)
        self.openings += 1

    def _move(self, event: BreakerEvent) -> None:
        """Changes status, and with it the generation: everything counted belongs to the old one."""
        self.status = TRANSITIONS[self.status, event]
        self.generation += 1
        self._since = self.generation
        self.failures = self.successes = self.admitted = 0
        self._probes.clear()
        self._last_calls.clear()
        self._calls.clear()

    def begin_generation(self) -> None:
        """Grants from now on can be told apart from those before. Probes that are out are given back, and forgotten."""
        self.generation += 1
        if self.status is BreakerStatus.HALF_OPEN:
            self._since = self.generation
            self.admitted = 0
            self._probes.clear()

    def state(self) -> BreakerState:
        """What `restore` needs to go on from here."""
        return BreakerState(
            status=self.status,
            generation=self.generation,
            since=self._since,
            until=self.until,
            failures=self.failures,
            successes=self.successes,
            probes=tuple(self._probes),
            admitted=self.admitted,
            openings=self.openings,
            last_failure=self.last_failure,
            last_calls=tuple(self._last_calls),
            calls=self._calls.state(),
        )

    def restore(self, state: BreakerState) -> None:
        """Goes on from a state taken earlier under the same parameters."""
        self.status = state.status
        self.generation = state.generation
        self._since = state.since
        self.until = state.until
        self.failures = state.failures
        self.successes = state.successes
        self.openings = state.openings
        self.last_failure = state.last_failure
        self.admitted = state.admitted
        self._probes = list(state.probes)
        self._last_calls.clear()
        if self.parameters.window_calls is not None:
            self._last_calls.extend(state.last_calls)
        self._calls.restore(state.calls)
