"""Retries of one scope: what is planned, and what the retry budget of the provider pays for."""

from random import Random
from typing import final

from governor._actors.ledger import Ledger
from governor._units import NEVER, Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Denied, NoRetry, PlanRetry, RetryPlan
from governor.policies.retry import Retry, RetryEnd, plan


@final
class Retries:
    """The retries of one scope. Belongs to the actors' thread."""

    __slots__ = ("_ledger", "_random", "parameters")

    def __init__(self, ledger: Ledger, parameters: Retry, random: Random) -> None:
        self._ledger = ledger
        self._random = random
        self.parameters = parameters

    def plan(self, message: PlanRetry) -> RetryPlan:
        """Plans the next attempt, and reserves it in the retry budget. It is paid for when it is sent."""
        now = self._ledger.clock()
        deadline = None if message.remaining is None else Instant(now + message.remaining)
        delay = plan(
            self.parameters,
            attempt=message.attempt,
            now=now,
            deadline=deadline,
            server_wait=message.server_wait,
            random=self._random,
        )
        if isinstance(delay, RetryEnd):
            return RetryPlan(None, NoRetry(delay.value))
        budget = self._ledger.budget
        # The caller may be late. A plan that is forgotten, and not given up, lapses.
        lapses_at = Instant(now + delay + budget.parameters.window)
        return RetryPlan(to_seconds(delay)) if budget.reserve(now, lapses_at) else RetryPlan(None, NoRetry.BUDGET)

    def asks(self, now: Instant, acquire: Acquire) -> None:
        """A request asks for its permit: if it is a retry, it is no longer only planned."""
        if acquire.is_retry:
            self.release(now)

    def release(self, now: Instant) -> None:
        """A planned retry asks for its permit, or is given up."""
        self._ledger.budget.release(now)

    def pay(self, now: Instant, acquire: Acquire) -> Denied | None:
        """Pays for a request that is sent now, if it is a retry; the denial if the budget does not allow it."""
        budget = self._ledger.budget
        if not acquire.is_retry or budget.withdraw(now):
            return None
        when = budget.available_at(now)
        return Denied(self._ledger.scope, Reason.RETRY_BUDGET, None if when == NEVER else to_seconds(when - now))
