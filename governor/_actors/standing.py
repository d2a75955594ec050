"""Standing of one scope in the queues of the limits that it shares with others: when it joins and leaves them.

`governor.policies.shared_limit` states the order.
"""

from typing import final

from governor._actors.effects import Served, Surroundings
from governor._actors.ledger import Ledger
from governor._actors.queue import Waiter, WaitQueue
from governor._units import AFTER_OUTCOME, NEVER, Instant
from governor.policies.apart import without_shares
from governor.policies.contract import LimitPolicy, Request
from governor.policies.shared_limit import LimitQueue, Share
from governor.policies.verdict import Verdict


@final
class Standing:
    """The place of one scope. Belongs to the actors' thread."""

    __slots__ = ("_joins_at", "_ledger", "_number", "_queues", "_steps", "_surroundings", "moved", "queue")

    def __init__(self, ledger: Ledger, queue: WaitQueue, *, surroundings: Surroundings, steps: Served) -> None:
        self._ledger = ledger
        self._surroundings = surroundings
        self.queue = queue
        self._steps = steps
        #: The queues in which the scope stands, for the call with this number.
        self._queues: tuple[LimitQueue, ...] = ()
        self._number = 0
        # When the head of the scope has nothing else to wait for, as of the latest look at it.
        self._joins_at = Instant(0)
        #: Whether a scope that waits for a shared limit may be served now: `move_on` is to be called after the step.
        self.moved = False

    def on_turn(self) -> None:
        """Serves the scope, now or soon."""
        self._steps.read_soon()

    def __bool__(self) -> bool:
        """Whether the scope stands in a queue."""
        return bool(self._queues)

    @property
    def shares(self) -> tuple[Share, ...]:
        """The limits that the scope shares with others."""
        return self._ledger.pipeline.shares

    def is_behind(self, waiter: Waiter) -> bool:
        """Whether a call in another scope, which arrived before, waits for a shared limit that this one needs."""
        request = waiter.acquire.request
        shares = self._ledger.pipeline.shares  # Of most scopes there are none, which is known without a generator.
        return bool(shares) and any(share.queue.is_ahead_of(waiter.number) and share.amount(request) for share in shares)

    def outlook(self, now: Instant, head: Waiter) -> tuple[Verdict, Instant]:
        """The verdict for the head, and an instant before that at which to look at it again; `NEVER` if there is none."""
        pipeline = self._ledger.pipeline
        verdict = pipeline.verdict(now, head.acquire.request)
        wakes_at = pipeline.wakes_at(now) if verdict.when == AFTER_OUTCOME else NEVER
        if not pipeline.shares:
            return verdict, wakes_at
        behind = self._stand(now, head)
        if behind is not None:
            # It is woken when it is the first.
            return Verdict(AFTER_OUTCOME, behind, sooner=True, not_before=max(now, verdict.not_before)), NEVER
        # Where it waits for its own scope first, it looks before its turn, to take its place by its arrival.
        return verdict, min(wakes_at, self._joins_at) if self._joins_at > now else wakes_at

    def _stand(self, now: Instant, head: Waiter) -> LimitPolicy | None:
        """Stands in the queues of the limits that the head waits for. Returns one in which another call is before it, or None.

        In none while it waits for something else: it would keep others from units that it cannot use yet.
        """
        request = head.acquire.request
        if self._number != head.number:
            self.leave()
        self._joins_at = without_shares(self._ledger.pipeline, now, request)
        if self._joins_at > now:
            self.leave()
            return None
        self._number = head.number
        total, largest = self.queue.ahead() or request, self.queue.largest()
        behind: LimitPolicy | None = None
        queues = []
        for share in self.shares:
            if not share.amount(request):
                continue
            ahead = share.queue.is_ahead_of(head.number)
            if ahead:
                behind = share.policy
            if ahead or share.queue in self._queues or share.policy.earliest(now, request) > now:
                queues.append(share.queue)
                share.queue.join(self, head.number, share.amount(total), share.amount(largest))
        self._queues = tuple(queues)
        return behind

    def leave(self) -> None:
        """Leaves all queues, whose next scopes move up."""
        for queue in self._queues:
            queue.leave(self)
            self.moved = True
        self._queues = ()
        self._number = 0

    def freed(self) -> None:
        """Units of shared limits may have become available."""
        for share in self._ledger.pipeline.shares:
            if share.queue.ready:
                self.moved = True

    def serve_others(self) -> None:
        """Serves the scopes that stand first in the queues of the shared limits."""
        queues = [share.queue for share in self.shares if share.queue.ready]
        if queues:
            self._surroundings.sharing.serve(queues)

    def recall_for(self, now: Instant, request: Request) -> bool:
        """Recalls what is granted ahead in other scopes and stands in the way of a request. False if nothing does."""
        pipeline = self._ledger.pipeline
        for share in pipeline.shares:
            policy = share.policy
            if (policy.leases or policy.leases_places) and policy.earliest(now, request) > now:
                return self._surroundings.sharing.recall(pipeline.shared)
        return False

    def move_on(self) -> None:
        """Moves the queues on, after a step in which something became available: this scope may be one of them."""
        if self.moved:
            self.serve_others()
            self.moved = False
