"""Successes, and answers that begin, read in place: they change what waits for them, without a step of the actor.

A step looks at every policy and copies what all of them say, which costs several times what a success changes. As long as the
scope is calm, nothing else notices a success; see `Calm`.
"""

from threading import get_ident
from typing import Final, TypeGuard

from governor._actors.counters import Counters
from governor._actors.granting import READY, Granting
from governor._actors.ledger import grant_of
from governor._actors.lifecycle import BUSY, IDLE
from governor._actors.permit import Permit
from governor._units import Instant

# C: from governor.clock import system_clock
from governor.messages import Answered, Outcome, Report
from governor.policies.ban_guard import REJECTED, Rejection
from governor.policies.calm import Calm
from governor.policies.contract import Result

#: What answers say of a ban that change nothing in a calm scope.
_NO_REJECTION: Final = (None, Rejection.NONE)


class InPlace(Granting):
    """Reads outcomes for the actor of a scope, which has what is named here. Belongs to the actor's own thread."""

    __slots__ = ("calm", "looked")

    #: What notices a success, if a look since the latest step has found that the scope is calm.
    calm: Calm | None
    looked: bool
    counters: Counters

    def succeed(self, permit: Permit, granted_at: Instant, generation: int, status: int | None) -> bool:
        """Records that the call of a plain permit has succeeded. False, and nothing has changed, if that takes a step.

        Written out by hand, as `grab`: no Python call but the clock and what notices the success. No run of failures in
        degraded mode may be under way.
        """
        if status != 200 and status is not None and status >= 400:
            return False
        if self.calm is None:
            self._look()
        if self._common.portal.on_trio and self._common.portal.must_post():
            return False
        clock, life = self._clock, self.life
        now = clock()  # C: now = read_clock(clock, system_clock)
        # There is no call from here until the permit is marked: a signal handler, and another thread, find both or neither.
        calm = self.calm
        if (
            calm is None
            or calm.succeed is None
            or now < self.gate
            or life.state is not IDLE
            or self.unread
            or self.inbox
            or calm.shared.rejections.run
            or (calm.queues and max(map(READY, calm.queues)))
            or generation < calm.since
            or permit.reported
        ):
            return False
        goes_on = False
        life.state = BUSY
        permit.reported = True
        try:
            if status == 200:
                self.counters.answered_2xx += 1
            elif status is None:
                self.counters.others += 1
            else:
                self.counters.ended(status, Result.SUCCESS)
            succeed = calm.succeed
            goes_on = succeed(now, granted_at)  # C: goes_on = succeeded(calm, now, granted_at)
        except Exception as error:
            self.steps().crashed(error)
        finally:
            if goes_on and life.state is BUSY:
                life.state = IDLE
            else:
                self.steps().end()
        return True

    def read_in_place(self, outcome: Outcome) -> bool:
        """Reads an outcome that has been left, on the actor's own thread, if it takes no step. False if it does, or waits."""
        if (
            not _is_plain(outcome)
            or get_ident() != self.thread  # C: or this_thread(get_ident) != self.thread
            or self.ledger.pipeline.degraded.failures
            or self._common.portal.must_post()
        ):
            return False
        if self.calm is None:
            self._look()
        now = self._clock()
        calm, life, outcomes = self.calm, self.life, self.unread
        if (
            calm is None
            or now < self.gate
            or life.state is not IDLE
            or len(outcomes) != 1
            or outcomes[0] is not outcome
            or self.inbox
            or calm.shared.rejections.run
            or (calm.queues and max(map(READY, calm.queues)))
            or outcome.grant.generation < calm.since
        ):
            return False
        goes_on = False
        life.state = BUSY
        try:
            outcomes.pop(0)
            if isinstance(outcome, Answered):
                outcome.at = now
                goes_on = calm.answered(now, outcome.grant)
            else:
                self.counters.ended(outcome.status, Result.SUCCESS)
                goes_on = calm.record(now, grant_of(outcome))
        except Exception as error:
            self.steps().crashed(error)
        finally:
            if goes_on and life.state is BUSY:
                life.state = IDLE
            else:
                self.steps().end()
        return True

    def _look(self) -> None:
        """Finds out whether the scope is calm, once after each step."""
        if not self.looked:
            self.calm = None if self._leasing is not None and self._leasing.leases else Calm.of(self.ledger.pipeline)
            self.looked = True


def _is_plain(outcome: Outcome) -> TypeGuard[Answered | Report]:
    """Whether it is a success that says nothing of what was used, or the beginning of an answer that is no rejection."""
    if isinstance(outcome, Report):
        return outcome.result is Result.SUCCESS and not outcome.used and outcome.status not in REJECTED
    return isinstance(outcome, Answered) and outcome.rejection in _NO_REJECTION and outcome.status not in REJECTED
