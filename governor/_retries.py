"""Retry planning: whether a failed attempt is followed by another one, after which delay, and why not."""

from functools import partial
from typing import Final, final

from governor._access import Access
from governor._actors.address import PlanToCome
from governor._actors.asking import answer_timeout
from governor._permit_request import MAX_TIMEOUT
from governor._units import Duration, from_seconds
from governor.config import ScopeSettings, scope_of
from governor.errors import ConfigError, UsageError
from governor.messages import Denied, NoRetry, PlanRetry, RetryPlan
from governor.policies import _checks
from governor.policies.retry import CallFailure, end_after

_UNAVAILABLE: Final = RetryPlan(None, NoRetry.UNAVAILABLE)


@final
class Failure:
    """A failed attempt, as the caller describes it. Raises `ConfigError`."""

    __slots__ = ("_failure", "_idempotency_key", "_message", "_method", "_provider", "_status", "scope")

    def __init__(
        self,
        provider: str,
        method: str,
        attempt: int,
        remaining: float | None,
        status: int | None,
        server_wait: float | None,
        idempotency_key: bool,
        failure: CallFailure | None,
    ) -> None:
        if not isinstance(method, str):
            raise ConfigError("method", method, "text such as 'POST'")
        self.scope = scope_of(provider, method)
        self._provider = provider
        self._method = method
        self._status = status
        self._idempotency_key = idempotency_key
        try:
            self._failure = None if failure is None else CallFailure(failure)
        except ValueError:
            raise ConfigError(
                "failure", failure, f"one of {', '.join(repr(one.value) for one in CallFailure)}, or None"
            ) from None
        self._message = PlanRetry(
            _checks.whole("attempt", attempt),
            _span("remaining", 0.0 if isinstance(remaining, (int, float)) and remaining < 0 else remaining),
            _span("server_wait", server_wait),  # An absurd one is ignored.
        )

    def plan(self, access: Access, settings: ScopeSettings) -> RetryPlan:
        """Plans the next attempt, from any thread, which is blocked for at most a second."""
        hopeless = self._hopeless(settings)
        if hopeless is not None:
            return hopeless
        portal = access.running()
        try:
            plan = portal.call(partial(self._ask, access), answer_timeout(0))
            if not isinstance(plan, RetryPlan):  # A daemon makes it.
                return plan.wait_blocking(portal, answer_timeout(0))
            return plan
        except (TimeoutError, UsageError) as error:
            if isinstance(error, UsageError) and portal.alive():
                raise
            return _UNAVAILABLE

    async def aplan(self, access: Access, settings: ScopeSettings) -> RetryPlan:
        """The same for a task on any event loop, which goes on meanwhile."""
        hopeless = self._hopeless(settings)
        if hopeless is not None:
            return hopeless
        portal = access.running()
        try:
            plan = self._ask(access) if portal.on_loop() else await portal.acall(partial(self._ask, access), answer_timeout(0))
            if not isinstance(plan, RetryPlan):  # A daemon makes it.
                return await plan.wait(portal, answer_timeout(0))
            return plan
        except (TimeoutError, UsageError) as error:
            if isinstance(error, UsageError) and portal.alive():
                raise
            return _UNAVAILABLE

    def _hopeless(self, settings: ScopeSettings) -> RetryPlan | None:
        """The plan for a failure that is not worth another attempt, whatever the state of the scope."""
        end = end_after(
            settings.retry,
            self._method,
            idempotency_key=self._idempotency_key,
            status=self._status,
            server_wait=self._message.server_wait is not None,
            failure=self._failure,
        )
        return None if end is None else RetryPlan(None, NoRetry(end.value))

    def _ask(self, access: Access) -> RetryPlan | PlanToCome:
        actor = access.find(self._provider, self._method, None)
        return _UNAVAILABLE if isinstance(actor, Denied) else actor.plan_retry(self._message)


def _span(field: str, seconds: float | None) -> Duration | None:
    """Seconds as a duration; None for more than a duration can be. Raises `ConfigError`."""
    if seconds is None or (isinstance(seconds, (int, float)) and seconds > MAX_TIMEOUT):
        return None
    return from_seconds(seconds, field=field)
