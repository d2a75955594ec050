"""Permits for threads, and for coroutines on other event loops than that of the governor.

A permit that the governor has granted ahead is taken from the lease of its scope, without a message. Any other ask is one
message and one answer. The results are the same; only the time differs.
"""

from collections.abc import Mapping, Sized
from typing import final

from governor import (
    CallFailure,
    Classify,
    Cost,
    Denied,
    Fingerprint,
    Governor,
    GovernorState,
    LeasedPermits,
    Permit,
    PermitRequest,
    Priority,
    RetryPlan,
    Statistics,
    default,
)
from governor.config import with_key


@final
class GovernorClient:
    """A governor for any thread and any event loop; `governor.default()` if none is given.

    One client serves any number of threads and loops, and costs nothing to make. The default governor is looked up on first
    use, and again when it has ended or the process has been forked.
    """

    __slots__ = ("_by_label", "_found", "_given", "_leases")

    def __init__(self, governor: Governor | None = None) -> None:
        self._given = governor
        self._found = governor
        self._leases: Mapping[str | None, Mapping[str, LeasedPermits]] = {} if governor is None else governor.leases.addresses
        self._by_label: Sized = () if governor is None else governor.leases.by_label

    @property
    def governor(self) -> Governor:
        """The governor that is used. Raises `ConfigError` if the default governor cannot be started."""
        found = self._found
        if found is None or (self._given is None and found.state is not GovernorState.RUNNING):
            self._found = found = default()
        # A governor that is entered again has other leases.
        self._leases, self._by_label = found.leases.addresses, found.leases.by_label
        return found

    def try_permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        caller: str | None = None,
    ) -> Permit | Denied:
        """A permit, or the reason why there is none now. Never waits for a permit, at most for an answer.

        `key` and `caller` are those of `permit`. Raises `ConfigError` for an invalid scope, cost or label, `UsageError` if the
        given governor is not running.
        """
        if key is not None:
            provider = with_key(provider, key)
        # `LeasedPermits` says what is read here. Inlined: a permit from a lease costs one `popleft` and this frame.
        try:
            lease = self._leases[method][provider]
            if cost == 1 and caller is None and not self._by_label and not lease.large and not lease.failures:
                return lease.pop_leased()
        except LookupError:
            pass
        return self.governor.try_permit(provider, method, cost=cost, caller=caller)

    def permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        key: str | None = None,
        cost: Cost = 1,
        timeout: float | None = None,
        attempt: int | None = None,
        caller: str | None = None,
        priority: Priority = "interactive",
        fingerprint: Fingerprint | None = None,
        classify: Classify | None = None,
    ) -> PermitRequest:
        """A permit for the length of a block: `with client.permit("github", "GET", timeout=5.0) as permit:`.

        `async with` is for coroutines. Everything is as with `Governor.permit`.
        """
        return self.governor.permit(
            provider,
            method,
            key=key,
            cost=cost,
            timeout=timeout,
            attempt=attempt,
            caller=caller,
            priority=priority,
            fingerprint=fingerprint,
            classify=classify,
        )

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
