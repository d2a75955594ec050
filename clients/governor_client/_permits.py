"""How does code ask for permits that does not live on the governor's event loop?

From threads, and from coroutines on other loops. What the actor of a scope has granted ahead is taken without asking anybody;
everything else is a message and an answer. Nobody can tell the difference but by the clock.

This is the seam along which the two sides can be parted: nothing here touches what an actor owns. All that its caller needs of
a scope is a queue of permits to take from, a queue to leave outcomes in, and a way to send it a message.
"""

from typing import final

from governor import Classify, Cost, Denied, Governor, Permit, PermitRequest, Statistics, default


@final
class GovernorClient:
    """The governor, for any thread and any event loop; the one of the process if none is given.

    One client serves any number of threads and loops, and costs nothing to make. The governor of the process is looked up on
    first use, and again when it has ended, or when this process was forked from the one that it runs in.
    """

    __slots__ = ("_addresses", "_found", "_given")

    def __init__(self, governor: Governor | None = None) -> None:
        self._given = governor
        self._found = governor
        self._addresses = {} if governor is None else governor._addresses

    @property
    def governor(self) -> Governor:
        """The governor that is asked. Raises `ConfigError` if the one of the process cannot be started."""
        found = self._found
        if found is None or (found.ended and self._given is None):
            self._found = found = default()
        # Each life of a governor has addresses of its own.
        self._addresses = found._addresses
        return found

    def try_permit(self, provider: str, method: str | None = None, *, cost: Cost = 1) -> Permit | Denied:
        """A permit at once, or why not. Never waits for a permit; at most for an answer.

        Raises `ConfigError` for a scope or a cost that cannot be, `UsageError` if the governor that was given is not running.
        """
        actor = self._addresses.get((provider, method))
        if actor is not None and cost == 1 and not actor.large and not actor.failures:
            try:
                return actor.pop_leased()
            except IndexError:
                pass
        return self.governor.try_permit(provider, method, cost=cost)

    def permit(
        self,
        provider: str,
        method: str | None = None,
        *,
        cost: Cost = 1,
        timeout: float | None = None,
        attempt: int | None = None,
        classify: Classify | None = None,
    ) -> PermitRequest:
        """A permit for the length of a block: `with client.permit("github", "GET", timeout=5.0) as permit:`.

        `async with` is for coroutines. Everything is as with `Governor.permit`.
        """
        return self.governor.permit(provider, method, cost=cost, timeout=timeout, attempt=attempt, classify=classify)

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
    ) -> float | None:
        """Seconds to wait before trying again, or None: do not. Everything is as with `Governor.plan_retry`."""
        return self.governor.plan_retry(
            provider,
            method,
            attempt=attempt,
            remaining=remaining,
            status=status,
            server_wait=server_wait,
            idempotency_key=idempotency_key,
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
    ) -> float | None:
        """The same for a task, on whichever event loop. Everything is as with `Governor.aplan_retry`."""
        return await self.governor.aplan_retry(
            provider,
            method,
            attempt=attempt,
            remaining=remaining,
            status=status,
            server_wait=server_wait,
            idempotency_key=idempotency_key,
        )

    def statistics(self) -> Statistics:
        """How things stand, scope by scope, as frozen records."""
        return self.governor.statistics()

    def __repr__(self) -> str:
        return f"<GovernorClient of {self._found!r}>" if self._found is not None else "<GovernorClient, not used yet>"
