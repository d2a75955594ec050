"""Permits: the right to make one call, whose outcome is reported once, from any thread."""

from collections.abc import Mapping, Sequence
from threading import get_ident
from types import TracebackType
from typing import Final

# C: import cython
import msgspec

from governor._actors.endings import ending_of
from governor._actors.permit_owner import Owner
from governor._failures import Classifier
from governor._fields import stored_directly
from governor._lazy import NOTHING
from governor._units import Instant, from_seconds
from governor.errors import ConfigError, UsageError
from governor.hints import Hint, Severity
from governor.hints.hint import Scope, check, matters_at_once
from governor.messages import NOT_TOLD, Answered, Hinted, Report, RetryGivenUp, Settled, WatchedCall
from governor.policies import _checks
from governor.policies.arrivals import Ending
from governor.policies.ban_guard import REJECTED, Rejection
from governor.policies.budget import whole_amount
from governor.policies.contract import Grant, Result

#: Successes that may lie unread. The next one is sent as a message, which has the actor read all of them.
MAX_SUCCESSES: Final = 65_536
#: The status of a call that succeeded. For strict windows: when its permit was leased, the generation, and the status.
Success = int | None | tuple[Instant, int, int | None]
#: Above those of HTTP, and of other protocols.
_MAX_STATUS: Final = 999_999


# C: @cython.no_gc
# C: @cython.freelist(64)
# C: @cython.cclass
@stored_directly  # C:
class Permit(msgspec.Struct, gc=False, eq=False):  # C: class Permit:
    """The right to make one call.

    Report what became of it with `record`, once. As a context manager (`with permit:`), which may be entered once, it reports
    by itself whatever has not been reported: success on leaving, and on an exception what it says about the provider.
    """

    _owner: Owner
    _granted_at: Instant
    _generation: int
    _grant: Grant | None = None
    #: Whether its outcome is known, or it was given back.
    reported: bool = False
    _entered: bool = False
    _answered: Answered | None = None
    _settled: bool = False
    #: The call, if its repetition is watched for.
    watched: WatchedCall | None = None

    # C: def __init__(self, _owner, _granted_at, _generation, _grant=None, reported=False, _entered=False, _answered=None,
    # C:              _settled=False, watched=None):
    # C:     self._owner, self._granted_at, self._generation, self._grant = _owner, _granted_at, _generation, _grant
    # C:     self.reported, self._entered, self._answered = reported, _entered, _answered
    # C:     self._settled, self.watched, self._source = _settled, watched, source_of(_owner)

    @property
    def scope(self) -> str:
        """The scope it was granted in, `provider:method`."""
        return self._owner.scope

    def answered(self, *, status: int | None = None, rejection: Rejection | None = None) -> None:
        """Says that the answer has begun, with this HTTP `status`, before `record` says how it ended. From any thread.

        `rejection` says whether the provider counts the answer before it bans a client, where that is known better than from
        the status: 401 and 403 count as `FORBIDDEN` and 429 as `LIMITED`.
        Optional, for answers that take long: a probe of the circuit breaker has proved itself by then, `slow_call` is measured
        to here, and a strict window knows that the request has arrived. Once is enough: a second call, and one after the
        outcome, change nothing. Raises `ConfigError` for a status that is no whole number from 0 to 999,999.
        """
        if self.reported or self._answered is not None:
            return
        owner = self._owner
        if rejection is None and status not in REJECTED and not owner.awaits_answers:
            self._answered = NOT_TOLD  # What adapters say of nearly every answer.
            return
        if status is not None and not (type(status) is int and 0 <= status <= _MAX_STATUS):
            status = _plain(status)
        if rejection is not None and not isinstance(rejection, Rejection):
            raise ConfigError("rejection", rejection, "a member of `Rejection`, or None")
        grant = self._grant or Grant(self._granted_at, self._generation)  # `self.grant()`, without its call.
        self._answered = answered = Answered(grant, status, rejection)
        if owner.awaits_answers or (status in REJECTED if rejection is None else rejection is not Rejection.NONE):
            try:
                owner.outcomes.append(answered)
            finally:
                owner.deliver(answered)

    def hint(self, *, retry_after: float, whole_provider: bool = True) -> None:
        """Says that the server asks for no call of this provider within `retry_after` seconds, as in `Retry-After`.

        All scopes of the provider pause for that time, or this scope alone without `whole_provider`: calls wait, or are denied
        as `provider_cooldown_active`. A pause ends up to a tenth later than the server says, so that not all clients return at
        once; it is never longer than `max_hint` of the provider, and it only ever becomes longer. Say it as soon as the head of
        the answer is there, before `record`; after `record` it counts as well. Raises `ConfigError` for a negative number.
        """
        wait = from_seconds(retry_after, field="retry_after")
        scope: Scope = "provider" if whole_provider else "scope"
        self.hints((Hint("requests", retry_after=wait, severity=Severity.PAUSE, scope=scope),))

    def hints(self, hints: Sequence[Hint]) -> None:
        """Says what the answer says about the limits of the server, as `governor.hints.read_hints` reads it. From any thread.

        Waits are treated as by `hint`. Of the units that remain until a reset, no more are granted before it, those included
        that were granted since this permit. A denial without a wait slows the provider down. Windows that the server states
        become limits if the settings have none for the provider. Raises `ConfigError` for anything else than hints.
        """
        if not hints:
            return
        check(hints)
        owner, message = self._owner, Hinted(self.grant(), tuple(hints))
        try:
            owner.outcomes.append(message)
        finally:
            # Read with the next outcomes if it cannot matter before: a message from another thread costs more than a permit.
            if get_ident() == owner.thread or any(matters_at_once(hint) for hint in hints):
                owner.deliver(message)

    def record(  # noqa: C901 - what nearly every call costs, written out
        self,
        *,
        status: int | None = None,
        error: BaseException | None = None,
        used: Mapping[str, float] | None = None,
        answer: bytes | str | None = None,
    ) -> None:
        """Reports the outcome: an HTTP `status`, or the `error` that took its place, or neither for a plain success.

        An error is a failure if it carries a status of 500 or more, or is a timeout or a network error; it counts as an answer
        if it carries a lower status, and else it is neutral. An error after a `status` is one of an answer that broke off, or
        it changes nothing.

        `answer` is the body of the answer, which the loop guard compares with the one before if the permit was asked for with a
        fingerprint. It is not kept.
        `used` is what the call really used, by unit, when that differs from what the permit asked for: whole numbers of at
        least 0. Raises `ConfigError` for others, for a status that is no whole number from 0 to 999,999 and for what is no
        exception, and `UsageError` on a second report.
        """
        if self.reported:
            raise self._reported_before()
        if answer is not None:
            if used is not None:
                self._checked(used)  # A wrong report changes nothing.
            self._compare(status, answer)
        owner = self._owner  # C: owner = self._source
        if (
            error is None
            and used is None
            and (status == 200 or status is None or (type(status) is int and 0 <= status < 500 and status not in REJECTED))
            and not owner.degraded.failures  # C: and owner is not None and not owner.degraded.failures
        ):
            # What nearly all outcomes are: a success that changes only the counters.
            # Written out by hand, so that it costs no further Python call.
            if owner.listens:
                # Or what waits for it: then mostly without a record of the outcome.
                if (
                    self._grant is None
                    and (self._answered is None or self._answered is NOT_TOLD)
                    and get_ident() == owner.thread  # C: and this_thread(get_ident) == owner.thread
                    and owner.succeed(self, self._granted_at, self._generation, status)
                ):
                    return
            elif owner.failures:  # C: elif has_any(owner.failures):
                pass  # They were reported before, and are to be read before: or they would be taken for failures in a row.
            elif get_ident() != owner.thread:  # C: elif this_thread(get_ident) != owner.thread:
                if status == 200 and owner.answered is not None:
                    self.reported = True
                    for _ in owner.answered:  # C: owner.answered.left -= 1
                        break  # C: # One turn counts one, and costs less than `next`.
                    return
                if owner.successes is NOTHING:
                    owner.prepare()
                if len(owner.successes) < MAX_SUCCESSES:
                    self.reported = True
                    owner.successes.append(status)
                    return
            elif status == 200:
                self.reported = True
                owner.counters.answered_2xx += 1
                return
            elif status is None:
                self.reported = True
                owner.counters.others += 1
                return
            else:
                self.reported = True
                owner.counters.ended(status, Result.SUCCESS)
                return
        if status is not None and not (type(status) is int and 0 <= status <= _MAX_STATUS):
            status = _plain(status)
        amounts = None if used is None else self._checked(used)
        if error is not None:
            result, status = self._owner.classifier(error, status)
            ending = ending_of(result, status, error)
        else:
            result = Result.FAILURE if status is not None and status >= 500 else Result.SUCCESS
            ending = Ending.ANSWERED if status is None or status < 400 else Ending.REJECTED
        grant = self._grant or Grant(self._granted_at, self._generation)  # `self.grant()`, without its call.
        name = None if error is None else type(error).__name__
        self._leave(Report(grant, result, status, amounts, self._answered, name, ending))

    def settle(self, **used: float) -> None:
        """Says what the call has really used, by unit, at once: `permit.settle(tokens=1234)`. Then `record` says how it ended.

        What the permit had asked for beyond it is given back, and what it had not asked for is charged, possibly as debt; units
        that are not named stay as they are. Once for each permit, from any thread, while or after the answer is read; with
        `record(used=...)` instead, it takes effect with the outcome. Amounts are whole numbers of at least 0; dollars (`usd`)
        may have decimals. Raises `ConfigError` for others, and `UsageError` if it was said before, or if the outcome has been
        reported.
        """
        if self.reported:
            raise self._reported_before()
        amounts = self._checked(used)
        owner, grant = self._owner, self.grant()
        self._grant, self._settled = grant.corrected(amounts), True
        try:
            owner.outcomes.append(settled := Settled(grant, amounts, self._answered))
        finally:
            owner.deliver(settled)

    def _checked(self, used: Mapping[str, float]) -> dict[str, int]:
        if self._settled:
            raise UsageError(f"what the call of this permit for {self.scope} has used was said before")
        _checks.units("used", used)
        return {unit: whole_amount(f"used[{unit!r}]", unit, amount) for unit, amount in used.items()}

    def _compare(self, status: int | None, answer: bytes | str) -> None:
        watch = self._owner.watch
        if watch is not None and self.watched is not None:
            watch.answered(self.watched, self.scope, status, answer)

    def fail(self, error: BaseException, classifier: Classifier) -> None:
        """The same for an error that is classified in another way than the governor's."""
        result, status = classifier(error)
        ending = ending_of(result, status, error)
        self._leave(Report(self.grant(), result, status, None, self._answered, type(error).__name__, ending))

    def give_back(self) -> None:
        """Says that the call was never made: what the permit spent is free again, as far as it is still there to give.

        Raises `UsageError` if the outcome has been reported, or if the answer has begun.
        """
        if self.reported:
            raise self._reported_before()
        if self._answered is not None:
            raise UsageError(f"the answer to the call of this permit for {self.scope} has begun: record its outcome")
        self._leave(self.grant())

    def give_up_retry(self) -> None:
        """Says that the retry which `plan_retry` has planned after this call will not be made.

        The retry budget has room for another one then. Without this it has when the plan lapses: one window of the budget after
        the planned time. From any thread; call it once for each plan that is not followed by a request for a permit.
        """
        given_up, owner = RetryGivenUp(), self._owner
        try:
            owner.outcomes.append(given_up)
        finally:
            owner.deliver(given_up)

    def _leave(self, outcome: Report | Grant) -> None:
        owner, outcomes = self._owner, self._owner.outcomes
        if self.reported:
            raise self._reported_before()  # By another thread, since we looked.
        try:
            # The interpreter looks for signals after a call and not between these two: Ctrl-C finds both done, or neither.
            self.reported = True
            outcomes.append(outcome)
        finally:
            owner.deliver(outcome)

    def _reported_before(self) -> UsageError:
        return UsageError(f"the outcome of this permit for {self.scope} has been reported before")

    def grant(self) -> Grant:
        """The grant behind the permit."""
        return self._grant or Grant(self._granted_at, self._generation)

    def __enter__(self) -> "Permit":
        # The interpreter changes threads after a call, and there is none between the look and the mark: one thread gets in.
        if self._entered or self.reported:
            what = "has been reported" if self.reported else "is in a `with` block"
            raise UsageError(f"this permit for {self.scope} {what} already and allows one call; ask for another permit")
        self._entered = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if not self.reported:
            self.record(error=error)

    def __reduce__(self) -> str:
        raise UsageError(f"this permit for {self.scope} allows one call and cannot be copied; ask for another permit")

    __copy__ = __reduce__

    def __repr__(self) -> str:
        return f"<Permit for {self.scope}, {'reported' if self.reported else 'not reported yet'}>"


def _plain(status: object) -> int:
    """A status of another type as an `int`. What is no status must not reach the actor: it would fail, for all callers."""
    return int(_checks.whole("status", status, minimum=0, maximum=_MAX_STATUS))


# C: @cython.no_gc
# C: @cython.cclass
@stored_directly  # C:
class HeldPermit(Permit, gc=False, eq=False):  # C: class HeldPermit(Permit):
    """A permit that holds a place: in flight, in a strict window, or in a breaker that is half-open or ramps up.

    If it is dropped unreported, it reports a neutral outcome when it is collected, as of a call that was given up.
    """

    def __del__(self) -> None:
        # May run inside any handler, on any thread: it leaves an outcome, and touches nothing else.
        if not self.reported:
            report = Report(self.grant(), Result.NEUTRAL, answered=self._answered, ending=Ending.GIVEN_UP)
            self._owner.outcomes.append(report)
            self._owner.deliver(report, later=True)


# C: def new_permit(make, owner, granted_at, generation):
# C:     if make is Permit:
# C:         permit = Permit.__new__(Permit)
# C:     elif make is HeldPermit:
# C:         permit = HeldPermit.__new__(HeldPermit)
# C:     else:
# C:         return make(owner, granted_at, generation)
# C:     permit._owner, permit._source, permit._granted_at, permit._generation = owner, owner, granted_at, generation
# C:     return permit
