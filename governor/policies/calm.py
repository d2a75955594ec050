"""Successes while nothing is amiss in a scope: what they change, without a look at all of its policies.

Windows and limits in flight let go of a success, and a breaker on a rate counts it. Nothing else notices it, as long as no
failure or rejection waits for it, and no call for a limit that the scope shares with others: the scope is calm then.

Compiled where there is a compiler; `calm.pxd` has the fields.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, Self, final

from governor._units import NEVER, Instant
from governor.policies.breakers.breaker import BreakerPolicy
from governor.policies.breakers.states import BreakerStatus
from governor.policies.contract import Grant, Result
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.pipeline import Pipeline
from governor.policies.windows.window import StrictWindowPolicy

if TYPE_CHECKING:
    from governor.policies.account import Tracker

#: Records the success of a plain request, by the instant of its grant. False if the scope is not calm any more.
Succeed = Callable[[Instant, Instant], bool]

Brief = StrictWindowPolicy | InFlightPolicy | BreakerPolicy
#: The very classes whose `succeed` does what their `record` does: a subclass may record in another way.
_BRIEF: Final = (StrictWindowPolicy, InFlightPolicy)


@final
class Calm:
    """What notices a success in a calm scope. Valid until anything but a success or a plain grant happens there."""

    __slots__ = ("_breaker", "_limits", "_parts", "_rate", "_slow_call", "_trackers", "queues", "shared", "since", "succeed")

    def __init__(self, pipeline: Pipeline) -> None:
        # Outcomes do not change a bucket.
        self._limits = tuple(limit for limit in pipeline.all_limits if type(limit) is not TokenBucketPolicy)
        self._breaker = breaker = pipeline.breaker if pipeline.breaker.counts_successes else None
        #: Of the breaker, for compiled code: what a success counts in, and from which duration on it counts as a failure.
        self._rate = pipeline.breaker.rate
        self._slow_call = NEVER if (slow_call := pipeline.breaker.parameters.slow_call) is None else slow_call
        #: Successes count here while no run of rejections has begun, as other scopes of the provider may have it.
        self.shared = pipeline.shared
        #: The queues of shared limits: while a call waits in one of them, a success may be what it waits for.
        self.queues = tuple([share.queue for share in pipeline.shares])
        #: The generation from which on all limits and the breaker know of grants. Successes of earlier ones do not count here.
        self.since = max(0 if breaker is None else breaker.since, max(pipeline.born, default=0))
        #: What writes down which calls are on their way, if the state of the scope is kept.
        self._trackers = () if pipeline.mark is None else pipeline.mark.trackers
        #: As `record`, for a plain request that was not granted ahead and was answered; None if a limit has no such way.
        self.succeed: Succeed | None = None
        parts: list[Brief] = [limit for limit in self._limits if isinstance(limit, _BRIEF) and type(limit) in _BRIEF]
        if len(parts) == len(self._limits):
            # The limits first: whatever fails after them, the places that the request has taken are free again.
            parts += [] if breaker is None else [breaker]
            alone = len(parts) == 1 and not self._trackers
            self.succeed = parts[0].succeed if alone else partial(_succeed, tuple(parts), self._trackers)
        self._parts = tuple(parts)

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self | None:
        """None if the scope is not calm."""
        guard, breaker = pipeline.guard, pipeline.breaker
        if breaker.failures or not breaker.unrestricted or guard.own.run or guard.restricted:
            return None
        return cls(pipeline)

    def answered(self, now: Instant, grant: Grant) -> bool:
        """Records that an answer has begun, as `Pipeline.answered` does. A breaker that is closed waits for its end.

        False if the scope is not calm any more, as by `record`.
        """
        for limit in self._limits:
            limit.answered(now, grant)
        for tracker in self._trackers:
            tracker.look(now)
        return all(limit.ready <= now for limit in self._limits)

    def record(self, now: Instant, grant: Grant) -> bool:
        """Records a success, with no run of failures in degraded mode, as `Pipeline.record` and the ban guard do.

        False if the scope is not calm any more: `regate`.
        """
        calm = True
        for limit in self._limits:
            limit.record(now, grant, Result.SUCCESS)
            if limit.ready > now:
                calm = False
        breaker = self._breaker
        if breaker is not None:
            breaker.record(now, grant, Result.SUCCESS)
            calm = calm and not breaker.failures and breaker.status is BreakerStatus.CLOSED
        for tracker in self._trackers:
            tracker.look(now)
        return calm


def _succeed(parts: Iterable[Brief], trackers: "Iterable[Tracker]", now: Instant, granted_at: Instant) -> bool:
    calm = True
    for part in parts:
        calm = part.succeed(now, granted_at) and calm
    for tracker in trackers:
        tracker.look(now)
    return calm
