"""Leases of one connected process: a holder in each scope where it has asked, and when they run out.

Every answer that the process gets makes all of its leases last for their time to live, as the process counts it from the
sending of what was answered; the owner counts from the answer, and waits a tenth longer, because two clocks may drift.

Bound: `MAX_HOLDERS` scopes. Beyond, holders without permits are forgotten.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, final

from governor._actors.actor import ScopeActor
from governor._actors.leases.remote_holder import RemoteHolder
from governor._owner.checks import ProtocolError
from governor._units import Duration, Instant
from governor.policies.leased import may_lease
from governor.protocol import FromOwner, Leased, LeaseUse, Recall

#: Scopes in which a process has a holder, whether or not that holds anything.
MAX_HOLDERS: Final = 4096
#: The owner waits longer than the holder by one part in this many.
_DRIFT: Final = 10


def outlasting(ttl: Duration) -> Duration:
    """The time after which no process uses a lease any more, however its clock drifts."""
    return Duration(ttl + ttl // _DRIFT)


class _Lease(NamedTuple):
    actor: ScopeActor
    holder: RemoteHolder


@final
class Leases:
    """The leases of one process. Belongs to the actors' thread.

    `find` returns the actor of a scope, or None, and `send` sends a message. A lease lasts for `ttl`.
    """

    def __init__(
        self,
        *,
        find: Callable[[str], ScopeActor | None],
        clock: Callable[[], Instant],
        ttl: Duration,
        send: Callable[[FromOwner], None],
    ) -> None:
        self._find = find
        self._clock = clock
        self._send = send
        #: How long the owner waits for a process from its last answer on.
        self.lasts = outlasting(ttl)
        self._refreshed_at = clock()
        self._leases: dict[str, _Lease] = {}
        #: How many asks in each scope a lease could have served, since the last `lease`.
        self._asked: dict[str, int] = {}
        #: Leased permits that have been used.
        self.used = 0

    @property
    def leased(self) -> int:
        """Permits that are outstanding."""
        return sum(lease.holder.outstanding for lease in self._leases.values())

    def by_scope(self) -> dict[str, int]:
        """The same by scope, where there are any."""
        return {scope: lease.holder.outstanding for scope, lease in self._leases.items() if lease.holder.outstanding}

    def refresh(self) -> None:
        """The process gets an answer now."""
        self._refreshed_at = self._clock()

    def have_run_out(self) -> bool:
        """Whether the process can use no lease any more, unless it gets another answer."""
        return self._clock() >= self._refreshed_at + self.lasts

    def asked(self, scope: str) -> None:
        """The process has asked for one permit, which a lease could have served."""
        self._asked[scope] = self._asked.get(scope, 0) + 1

    def lease(self) -> None:
        """Grants ahead where asks have come in."""
        if not self._asked:
            return
        asked, self._asked = self._asked, {}
        for scope, asks in asked.items():
            lease = self._lease(scope)
            if lease is not None:
                lease.holder.demand.short(self._clock(), asks)
                self._fill(lease, lease.holder.demand.size)

    def report(self, use: LeaseUse) -> None:
        """Counts what the process says, and grants ahead what it wants. Raises `ProtocolError` for more than it was leased."""
        lease = self._lease(use.scope)
        if lease is None:
            return
        if use.generation == lease.holder.generation and use.used + use.back > lease.holder.outstanding:
            raise ProtocolError(f"{use.used + use.back:,} permits of {use.scope} are reported, and fewer are outstanding")
        lease.actor.change(partial(self._settle, lease, use))
        self._fill(lease, use.wanted)

    def look(self, *, gone: bool = False) -> None:
        """Counts as used what has run out: all leases, or one that was recalled, without an answer, for as long.

        If the process is `gone`, it can use none of them any more.
        """
        over, now = gone or self.have_run_out(), self._clock()
        for lease in self._leases.values():
            recalled = lease.holder.recalled_at
            if lease.holder.outstanding and (over or (recalled is not None and now >= recalled + self.lasts)):
                lease.actor.change(partial(lease.actor.leasing.expire, lease.holder))

    def recall_all(self) -> int:
        """Recalls everything. Returns how many permits are outstanding: until they are reported, or the leases run out."""
        for lease in self._leases.values():
            lease.holder.recall(self._clock())
        return self.leased

    def _settle(self, lease: _Lease, use: LeaseUse) -> None:
        leasing = lease.actor.leasing
        self.used += use.used
        leasing.returned(lease.holder, use.generation, use.used, use.back)
        leasing.report(Counter({status or None: times for status, times in use.successes.items()}), min(use.deposits, use.used))

    def _lease(self, scope: str) -> _Lease | None:
        """The lease in a scope, whose actor may be another one than before; None if there is no room for the scope."""
        actor, lease = self._find(scope), self._leases.get(scope)
        if actor is None:
            return None
        if lease is None or lease.actor is not actor:
            if len(self._leases) >= MAX_HOLDERS:
                self._leases = {name: one for name, one in self._leases.items() if one.holder.outstanding}
            # A later generation than any of an earlier connection, or of an earlier actor.
            lease = _Lease(actor, RemoteHolder(scope, self, int(self._clock())))
            self._leases[scope] = lease
        return lease

    def _fill(self, lease: _Lease, wanted: int) -> None:
        actor = lease.actor
        if wanted and may_lease(actor.ledger.pipeline) and actor.life.live and not actor.logic.watched:
            actor.within(partial(actor.leasing.lease, lease.holder, wanted))

    # The way to the holders.

    def lease_to(self, scope: str, generation: int, count: int, granted_at: Instant, breaker: int) -> None:
        """See `Channel.lease_to`."""
        self._send(Leased(scope, generation, count, granted_at, breaker))

    def recall(self, scope: str, generation: int) -> None:
        """See `Channel.recall`."""
        self._send(Recall(scope, generation))
