"""Plain spending: one `PLAIN` request, spent in all limits of a scope and in the cap.

This is what nearly every grant costs. Buckets and the cap are written out here, because a call of `commit` for each of them
costs more than what it does.
"""

from collections.abc import Iterable
from typing import final

from governor._units import Instant
from governor.policies.contract import PLAIN, REQUESTS, Grant, LimitPolicy
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.windows.window import StrictWindowPolicy


@final
class PlainSpending:
    """Spends a `PLAIN` request in these limits and in the cap, exactly as their `commit` does."""

    __slots__ = ("_awaiting", "_buckets", "_cap", "_others", "limits")

    def __init__(self, limits: tuple[LimitPolicy, ...], cap: RequestCapPolicy) -> None:
        self.limits, self._cap = limits, cap
        #: Those that wait for outcomes, and those of other kinds.
        self._awaiting: tuple[StrictWindowPolicy | InFlightPolicy, ...] = ()
        self._others: tuple[LimitPolicy, ...] = ()
        # The very classes: a subclass may spend in another way.
        for limit in limits:
            if type(limit) is not TokenBucketPolicy:
                break
        else:
            # Most scopes have nothing but buckets, and the tuple that there is serves. `cast` would be a call for each of them.
            self._buckets: tuple[TokenBucketPolicy, ...] = limits  # type: ignore[assignment] # all are buckets
            return
        buckets: list[TokenBucketPolicy] = []
        awaiting: list[StrictWindowPolicy | InFlightPolicy] = []
        others: list[LimitPolicy] = []
        for limit in limits:
            if type(limit) is TokenBucketPolicy:
                buckets.append(limit)
            elif (type(limit) is StrictWindowPolicy or type(limit) is InFlightPolicy) and limit.unit == REQUESTS:
                awaiting.append(limit)
            else:
                others.append(limit)
        self._buckets, self._awaiting, self._others = (*buckets,), (*awaiting,), (*others,)

    def commit(self, now: Instant) -> int:  # noqa: C901 - what nearly every call costs, written out
        """Spends the request, or nothing if a limit raises. Only from the `ready` of all limits and of the cap on.

        Returns the instant from which on these limits grant the next one; 0 if that is now.
        """
        ready = 0
        for bucket in self._buckets:  # `TokenBucketPolicy.commit`
            # C: if spent_in_64_bits(now, bucket):
            # C:     continue
            full = now * bucket.ticks
            tat = bucket.tat
            bucket.tat = tat = (tat if tat > full else full) + bucket.plain
            if tat - full > bucket.slack:
                bucket.move(tat)
                ready = max(ready, bucket.ready)
        if self._awaiting or self._others:
            spent = 0
            try:
                for limit in self._awaiting:
                    until = limit.spend(now, 1)  # C: until = spend_one(limit, now)
                    spent += 1
                    if until > ready:
                        ready = until
                for policy in self._others:
                    policy.commit(now, PLAIN)
                    spent += 1
                    if policy.ready > now and policy.ready > ready:
                        ready = policy.ready
            except BaseException:
                self._refund(now, (*self._awaiting, *self._others)[:spent])
                raise
        cap = self._cap
        left = cap.left
        if left and now < cap.slot_ends:
            # `RequestCapPolicy.commit`. There is no call from here on, in which a signal handler might ask as well.
            cap.left = left - 1
            if now > cap.latest:
                cap.latest = now
        else:
            try:
                cap.commit(now, PLAIN)
            except BaseException:
                self._refund(now, (*self._awaiting, *self._others))
                raise
        return ready

    def _refund(self, now: Instant, others: Iterable[LimitPolicy]) -> None:
        """A policy has failed to spend: refunds the request in all buckets and in these limits."""
        grant = Grant(now, 0)
        for policy in (*self._buckets, *others):
            policy.refund(now, grant, None)
