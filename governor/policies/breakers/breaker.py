"""Circuit breaker, one per scope.

Closed, it grants everything and counts outcomes; open, it grants nothing; half-open, it grants a limited number of probes and
decides by their outcomes (M. Nygard, Release It!, 2nd ed. 2018, ch. 5). It opens on consecutive failures, on a failure rate
over a sliding window of calls or of time, or on whichever of the two comes first.

A probe has succeeded when its answer begins; without a report of that, when the call ends. A probe that takes too long releases
its place, and its outcome still counts when it comes.

After it closes, it ramps up: calls without an answer are counted, and their number may double with each round trip, as in the
slow start of TCP (RFC 5681, section 3.1), until a whole round has not used up the allowed number.

A breaker that opens again before it has closed for good, that is before its ramp has ended, stays open for a fifth longer than
the last time, up to a bound. It then probes after `open_for` and a fifth of the time that the provider has been failing, so a
recovery is noticed soon compared with the failure. A probe costs the provider one call.

An operator may open it for a given time, after which it probes, and may close it.

Each change of state begins a new generation, and so does each change of settings. Grants carry their generation, and the
outcome of a grant from an earlier state changes nothing.
"""

from functools import lru_cache
from typing import ClassVar, Final

import msgspec

from governor._units import NEVER, Duration, Instant
from governor.errors import Reason
from governor.policies.breakers._calls_out import CallsOut
from governor.policies.breakers._failure_rate import NO_CALLS, FailureRate
from governor.policies.breakers.parameters import Breaker
from governor.policies.breakers.states import TRANSITIONS, BreakerEvent, BreakerState, BreakerStatus
from governor.policies.contract import Grant, Request, Result

#: The number of calls without an answer at which the ramp ends: the default bound of the queue of a scope.
MAX_RAMP: Final = 65_536

#: Openings in a row that are counted. The time has reached its bound, 366 days at most, long before.
_MAX_SPELLS: Final = 64


class BreakerPolicy(msgspec.Struct, eq=False, gc=False):
    """The state machine: closed at first."""

    reason: ClassVar[Reason] = Reason.CIRCUIT_OPEN

    parameters: Breaker
    #: Whether it opens on a rate or for slow calls: then each success counts, or may be a failure.
    counts_successes: bool = False
    status: BreakerStatus = BreakerStatus.CLOSED
    generation: int = 0
    #: The first generation of the current state: outcomes of older ones change nothing.
    since: int = 0
    #: While open: the instant from which on probes are granted.
    until: Instant = Instant(0)
    #: Whether an operator has set the current state.
    forced: bool = False
    #: Failures in a row while closed.
    failures: int = 0
    #: Successful probes of this generation.
    successes: int = 0
    #: How often it has opened.
    openings: int = 0
    #: How often failures have opened it since it was last closed for good.
    spells: int = 0
    #: What opened it last: the number of failures, and of how many calls; None means in a row.
    trip: tuple[int, int | None] = (0, None)
    last_failure: Instant | None = None
    #: Probes of this generation that were granted, except those that were refunded.
    admitted: int = 0
    #: How many calls may be without an answer during a ramp; None outside of a ramp.
    ramp: int | None = None
    # How many more successes end the ramp, if it is not used up before.
    _unbound: int = 0
    # Calls without an answer: probes, and those of the ramp.
    _out: CallsOut = msgspec.field(default_factory=CallsOut)
    #: The failure rate, if there is one to open on.
    rate: FailureRate | None = None
    #: Whether it is that of many scopes: see `unmoved`.
    shared: bool = False

    def __post_init__(self) -> None:
        parameters = self.parameters
        self.counts_successes = parameters.failure_rate is not None or parameters.slow_call is not None
        if parameters.failure_rate is not None:
            self.rate = FailureRate(parameters)

    @property
    def unrestricted(self) -> bool:
        """Whether it grants everything and counts no calls: closed, and not in a ramp."""
        return self.status is BreakerStatus.CLOSED and self.ramp is None

    @property
    def listens(self) -> bool:
        """Whether a success would change anything. If not, successes need not be recorded."""
        return self.failures > 0 or not self.unrestricted or self.counts_successes

    @property
    def awaits_answers(self) -> bool:
        """Whether it matters when an answer begins."""
        return not self.unrestricted or self.parameters.slow_call is not None

    def at_rest(self, now: Instant) -> bool:
        """Whether it is closed, without a failure on record, and without a call of a ramp that may still be answered."""
        return self.rests_at(now) <= now

    def rests_at(self, now: Instant) -> Instant:
        """The instant from which on it is at rest if nothing happens; `NEVER` if time alone does not lead there."""
        if self.status is not BreakerStatus.CLOSED or self.failures or self.spells > 1:
            return NEVER
        newest = self._out.newest()
        answered_by = now if newest is None else Instant(newest + self.parameters.probe_deadline)
        return max(now, answered_by, now if self.rate is None else self.rate.rests_at(now))

    def earliest(self, now: Instant, request: Request, ahead: Request | None = None) -> Instant:
        """`now` if closed; else the end of `open_for`, or with all places taken the deadline of the oldest call."""
        if self.status is BreakerStatus.CLOSED and self.ramp is None:
            return now
        if self.status is BreakerStatus.OPEN:
            return max(now, self.until)
        oldest = self._out.oldest() if self._full() else None
        return now if oldest is None else max(now, Instant(oldest + self.parameters.probe_deadline))

    def commit(self, now: Instant, request: Request) -> int:
        """Counts one more call. The first one after `open_for` is a probe."""
        if self.status is BreakerStatus.OPEN:
            self._move(BreakerEvent.COOLED)
        if self.unrestricted:
            return 0
        if self._full():
            self._out.give_up_oldest()
        elif self.status is BreakerStatus.HALF_OPEN:
            self.admitted += 1
        self._out.add(now)
        if self.ramp is not None and self._out.count >= self.ramp:
            # Used up. The ramp ends when these calls have succeeded, and then a whole round has not used it up.
            self._unbound = 2 * self.ramp
        return 0

    def _full(self) -> bool:
        """Whether all places are taken, of the probes or of the ramp."""
        if self.ramp is not None:
            return self._out.count >= self.ramp
        return self.status is BreakerStatus.HALF_OPEN and self.admitted >= self.parameters.probes

    def answered(self, now: Instant, grant: Grant, result: Result) -> None:
        """Records that an answer has begun: the result of a probe, and the success that the ramp waits for.

        While closed without a ramp, the outcome counts when the call ends, because the answer may still break off.
        """
        if grant.generation < self.since:
            return
        result = _judged(self.parameters.slow_call, now, grant, result)
        if self.status is BreakerStatus.HALF_OPEN:
            self._record_probe(now, grant, result)
        elif self.ramp is not None:
            self._ramp_up(self.ramp, grant, result)

    def record(self, now: Instant, grant: Grant, result: Result) -> None:
        """Records an outcome, unless it belongs to an earlier state, or to a probe that `answered` has recorded."""
        # Nothing is granted while it is open. A call that began under an earlier owner only seems to have been.
        if grant.generation < self.since or self.status is BreakerStatus.OPEN:
            return
        began = grant.answered_at
        result = _judged(self.parameters.slow_call, now if began is None else began, grant, result)
        if self.status is BreakerStatus.HALF_OPEN:
            if began is None:
                self._record_probe(now, grant, result)
            return
        if self.ramp is not None and began is None:
            self._ramp_up(self.ramp, grant, result)
        if result is not Result.NEUTRAL:
            self._record_call(now, failed=result is Result.FAILURE)

    def succeed(self, now: Instant, granted_at: Instant, reached: bool = False) -> bool:
        """As `record` of a success, while it is closed, with no ramp and no failure in a row. False if that has changed.

        With `reached` the rate has counted it, and is reached.
        """
        slow_call = self.parameters.slow_call
        if slow_call is not None and now - granted_at >= slow_call:
            self._record_call(now, failed=True)
            return False
        rate = self.rate
        if rate is not None and (reached or rate.reached(now, 0)):
            self.trip = (rate.failures, rate.calls)
            self._move(BreakerEvent.TRIPPED, _open_until(self.parameters, self.spells, now))
            return False
        return True

    def refund(self, now: Instant, grant: Grant, receipt: int | None) -> None:
        """Releases the place of a call that was never made."""
        self.record(now, grant, Result.NEUTRAL)

    def forecast(self, now: Instant) -> "BreakerPolicy":
        """A copy with the calls in flight; the breaker itself if grants do not change it."""
        if self.unrestricted:
            return self
        copy = BreakerPolicy(self.parameters)
        copy.restore(self.state())
        return copy

    def waves(self, count: int) -> int:
        """How many times all calls in flight must reach their deadline until one more is granted after `count` others."""
        if self.unrestricted:
            return 0
        places, taken = self.parameters.probes, 0
        if self.ramp is not None:
            places, taken = self.ramp, self._out.count
        elif self.status is BreakerStatus.HALF_OPEN:
            taken = self.admitted
        return max(0, -(-(count + 1 + taken - places) // places))

    def _record_probe(self, now: Instant, grant: Grant, result: Result) -> None:
        """Counts the result of a probe, even after its deadline; its place may be taken by another one then."""
        in_place = self._out.remove(grant.granted_at)
        match result:
            case Result.NEUTRAL:
                self.admitted -= in_place
            case Result.FAILURE:
                self.last_failure = now
                self._move(BreakerEvent.TRIPPED, _open_until(self.parameters, self.spells, now))
            case Result.SUCCESS:
                self.successes += 1
                if self.successes >= self.parameters.successes:
                    self._move(BreakerEvent.RECOVERED)

    def _ramp_up(self, ramp: int, grant: Grant, result: Result) -> None:
        """One call less is in flight, and a success makes room for one more: twice as many with each round trip."""
        in_place = self._out.remove(grant.granted_at)
        if result is not Result.SUCCESS:
            return
        self.ramp = ramp + 1
        self._unbound -= in_place
        if self._unbound <= 0 or self.ramp > MAX_RAMP:
            self.ramp = None
            self.spells = 0
            self._out.clear()

    def _record_call(self, now: Instant, *, failed: bool) -> None:
        self.failures = self.failures + 1 if failed else 0
        if failed:
            self.last_failure = now
        in_a_row = self.parameters.failures
        rate = self.rate
        reached = False
        if rate is not None and rate.reached(now, int(failed)):
            reached, self.trip = True, (rate.failures, rate.calls)
        if in_a_row is not None and self.failures >= in_a_row:
            reached, self.trip = True, (self.failures, None)
        if reached:
            self._move(BreakerEvent.TRIPPED, _open_until(self.parameters, self.spells, now))

    def force_open(self, now: Instant, until: Instant) -> None:
        """Opens it until that instant, whatever its state; an open one gets another end. Then it probes as usual."""
        self._move(BreakerEvent.FORCED_OPEN, max(now, until))

    def force_closed(self) -> None:
        """Closes it, with its ramp, and forgets how often it has opened. A closed one does not change its status."""
        self.spells = 0
        if self.status is not BreakerStatus.CLOSED:
            self._move(BreakerEvent.FORCED_CLOSED)

    def _move(self, event: BreakerEvent, until: Instant | None = None) -> None:
        """Changes the status and begins a new generation, with all counts at zero. An open breaker probes from `until` on."""
        before, self.status = self.status, TRANSITIONS[self.status, event]
        if until is not None:
            self.until = until
            self.openings += before is not BreakerStatus.OPEN
        if event is BreakerEvent.TRIPPED:
            self.spells = min(self.spells + 1, _MAX_SPELLS)
        self.forced = event in (BreakerEvent.FORCED_OPEN, BreakerEvent.FORCED_CLOSED)
        self.generation += 1
        self.since = self.generation
        self.failures = self.successes = self.admitted = self._unbound = 0
        self.ramp = None
        self._out.clear()
        if self.rate is not None:
            self.rate.clear()
        if self.status is BreakerStatus.CLOSED and self.parameters.ramp_up:
            self.ramp = self.parameters.probes
            self._unbound = 2 * self.ramp
        elif self.status is BreakerStatus.CLOSED:
            self.spells = 0

    def begin_generation(self) -> None:
        """Begins a generation, to tell later grants from earlier ones. Probes in flight release their places."""
        self.generation += 1
        if self.status is BreakerStatus.HALF_OPEN:
            self.since = self.generation
            self.admitted = 0
            self._out.clear()

    def carry_over(self, now: Instant, before: "BreakerPolicy") -> None:
        """Continues from the state of a breaker whose parameters may differ, in a new generation."""
        self.restore(before.state())
        self.begin_generation()

    def state(self) -> BreakerState:
        """The state as a frozen record, for `restore`."""
        last_calls, calls = ((), NO_CALLS) if self.rate is None else self.rate.state()
        return BreakerState(
            status=self.status,
            generation=self.generation,
            since=self.since,
            until=self.until,
            failures=self.failures,
            successes=self.successes,
            out=self._out.dates(),
            admitted=self.admitted,
            ramp=self.ramp,
            unbound=self._unbound,
            openings=self.openings,
            spells=self.spells,
            forced=self.forced,
            last_failure=self.last_failure,
            last_calls=last_calls,
            calls=calls,
        )

    def restore(self, state: BreakerState) -> None:
        """Continues from an earlier state. Under other parameters, a ramp and a log of calls continue only if they have one."""
        self.status = state.status
        self.generation = state.generation
        self.since = state.since
        self.until = state.until
        self.failures = state.failures
        self.successes = state.successes
        self.openings = state.openings
        self.forced = state.forced
        self.last_failure = state.last_failure
        self.admitted = state.admitted
        self.ramp = state.ramp if self.parameters.ramp_up else None
        self.spells = 0 if self.unrestricted else state.spells
        self._unbound = state.unbound
        self._out.restore(() if self.unrestricted else state.out)
        if self.rate is not None:
            self.rate.restore(state.last_calls, state.calls)


def _open_until(parameters: Breaker, spells: int, now: Instant) -> Instant:
    """The end of the open state: a fifth longer for each of the `spells` since it closed for good, up to the bound."""
    longer = parameters.open_for * 6**spells // 5**spells
    return Instant(now + min(longer, max(parameters.open_for, parameters.max_open_for)))


def _judged(slow_call: Duration | None, began: Instant, grant: Grant, result: Result) -> Result:
    """The result, in which a success whose answer began too late is a failure."""
    late = slow_call is not None and began - grant.granted_at >= slow_call
    return Result.FAILURE if late and result is Result.SUCCESS else result


@lru_cache(maxsize=64)
def unmoved(parameters: Breaker) -> BreakerPolicy | None:
    """One breaker for all scopes with these parameters in which no call has failed; None if it would count their successes.

    Only a failure, an operator and the state of an earlier life change it: before, a scope makes its own.
    """
    breaker = BreakerPolicy(parameters, shared=True)
    return None if breaker.counts_successes else breaker
