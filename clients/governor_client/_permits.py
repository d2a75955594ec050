"""Permits for threads, and for coroutines on other event loops than that of the governor.

A permit that the governor has granted ahead is taken from the lease of its scope, without a message. Any other ask is one
message and one answer. The results are the same; only the time differs.
"""

from typing import final

from governor import AskingClient, CallFailure, RetryPlan, Statistics


@final
class GovernorClient(AskingClient):
    """A governor for any thread and any event loop; `governor.default()` if none is given.

    One client serves any number of threads and loops, and costs nothing to make. The default governor is looked up on first
    use, and again when it has ended or the process has been forked.
    """

    __slots__ = ()

    def plan_retry(
        self,
        provider: str,
        method: str,
        *,
        attempt: int,
        remaining: float | None = None,
        status: int | None = None,
        server_wait: float | None = None,
        idempotency_key: bool = False,
        failure: CallFailure | None = None,
    ) -> RetryPlan:
        """The plan after a failed attempt. Everything is as with `Governor.plan_retry`."""
        return self.governor.plan_retry(
            provider,
            method,
            attempt=attempt,
            remaining=remaining,
            status=status,
            server_wait=server_wait,
            idempotency_key=idempotency_key,
            failure=failure,
        )

    async def aplan_retry(
        self,
        provider: str,
        method: str,
        *,
        attempt: int,
        remaining: float | None = None,
        status: int | None = None,
        server_wait: float | None = None,
        idempotency_key: bool = False,
        failure: CallFailure | None = None,
    ) -> RetryPlan:
        """The same for a task, on whichever event loop. Everything is as with `Governor.aplan_retry`."""
        return await self.governor.aplan_retry(
            provider,
            method,
            attempt=attempt,
            remaining=remaining,
            status=status,
            server_wait=server_wait,
            idempotency_key=idempotency_key,
            failure=failure,
        )

    def statistics(self) -> Statistics:
        """How things stand, scope by scope, as frozen records."""
        return self.governor.statistics()

    def __repr__(self) -> str:
        return f"<GovernorClient of {self._found!r}>" if self._found is not None else "<GovernorClient, not used yet>"
