"""Run of rejections: closes a scope, or a provider, whose calls are rejected one after another, and probes it.

An answer 401 or 403 that does not say "rate limited" is repeated by the server as long as the credentials are wrong or the
client is banned, and some bans become longer with each further call. After so many in a row, without any other answer in
between, nothing is granted for a spell. Then one call at a time probes: another rejection begins a spell that is twice as long,
up to a bound; any other answer of the server ends the run. A probe that gets no answer frees its place, at the latest after
`PROBE_DEADLINE`.

Rate limits (429) and failures of the server (5xx, timeouts) neither lengthen the run nor end it. Answers to calls that were
granted before a spell began change nothing after that.

A scope has a run of its own. That of the provider needs rejections from at least two scopes: one method that is forbidden does
not close the others. Successes are reported only if `listens` is true, which it is from the second rejection on: so one in a
hundred costs nothing. The rejections of a run that closes are without a success in between from the second one on.
"""

from typing import ClassVar, Final

import msgspec

from governor._units import MINUTE, Instant
from governor.errors import Reason
from governor.policies.ban_budget import BanBudget

#: The number of rejections from which on successes must be reported.
LISTENING: Final = 2
#: After this time without an answer a probe frees its place.
PROBE_DEADLINE: Final = MINUTE
#: Spells in a row that are counted. Their length has reached its bound, 366 days at most, long before.
_MAX_SPELLS: Final = 64


class RejectionRunState(msgspec.Struct, frozen=True, tag="rejection_run"):
    """The run, the scope that began it, whether there are others, the spell, and the probe."""

    run: int = 0
    first: str = ""
    several: bool = False
    spells: int = 0
    until: Instant = Instant(0)
    probe: Instant | None = None


class RejectionRunPolicy(msgspec.Struct, eq=False, gc=False):
    """The state machine, one for each scope and one for each provider, which is `wide`."""

    reason: ClassVar[Reason] = Reason.BAN_BUDGET

    parameters: BanBudget
    #: Whether only rejections from at least two scopes close it.
    wide: bool = False
    #: Rejections in a row, before a spell.
    run: int = 0
    #: Spells in a row, each begun by rejections; 0 if it is not closed and does not probe.
    spells: int = 0
    #: The end of the spell.
    until: Instant = Instant(0)
    _first: str = ""
    _several: bool = False
    _probe: Instant | None = None

    @property
    def unrestricted(self) -> bool:
        """Whether it grants everything."""
        return not self.spells

    @property
    def listens(self) -> bool:
        """Whether a success would change anything."""
        return self.run >= LISTENING or self.spells > 0

    def reject(self, now: Instant, granted_at: Instant, scope: str) -> bool:
        """Counts the rejection of a call. True if others must know: it closes, or successes matter from now on."""
        if self.spells:
            if granted_at != self._probe:
                return False
            self._close(now)
            return True
        if self.parameters.in_a_row is None:
            return False
        self._several = self._several or (self.run > 0 and scope != self._first)
        if not self.run:
            self._first = scope
        # A run that cannot close for want of another scope stays as long as it is; its next rejection may come from there.
        self.run = min(self.run + 1, self.parameters.in_a_row)
        if self.run >= self.parameters.in_a_row and (self._several or not self.wide):
            self._close(now)
            return True
        return self.run == LISTENING

    def succeed(self, granted_at: Instant) -> bool:
        """The server has answered a call without rejecting it. True if others must know."""
        if self.spells and granted_at != self._probe:
            return False
        changes = self.listens
        self.reset()
        return changes

    def let_go(self, granted_at: Instant) -> bool:
        """A call has ended without an answer that counts. True if it was the probe: there is room for another one."""
        if self._probe is None or granted_at != self._probe:
            return False
        self._probe = None
        return True

    def earliest(self, now: Instant) -> Instant:
        """`now`, the end of the spell, or the deadline of the probe."""
        if not self.spells:
            return now
        if now < self.until:
            return self.until
        return now if self._probe is None else max(now, Instant(self._probe + PROBE_DEADLINE))

    def hangs(self, now: Instant) -> bool:
        """Whether the answer to the probe may make room before time does."""
        return self._probe is not None and now >= self.until

    def commit(self, now: Instant) -> None:
        """A call is granted. After a spell it is the probe."""
        if self.spells:
            self._probe = now

    def reset(self) -> None:
        """Ends the run, and the spells that it has led to."""
        self.run = self.spells = 0
        self.until = Instant(0)
        self._first, self._several = "", False
        self._probe = None

    def _close(self, now: Instant) -> None:
        parameters = self.parameters
        self.until = Instant(now + min(parameters.closed_for << self.spells, parameters.max_closed_for))
        self.spells = min(self.spells + 1, _MAX_SPELLS)
        self._probe = None

    def state(self) -> RejectionRunState:
        """The state as a frozen record, for `restore`."""
        return RejectionRunState(self.run, self._first, self._several, self.spells, self.until, self._probe)

    def restore(self, state: RejectionRunState) -> None:
        """Continues from a state that `state` returned, under parameters that may differ."""
        self.run, self.spells, self.until = state.run, state.spells, state.until
        self._first, self._several, self._probe = state.first, state.several, state.probe


#: Of a provider that has rejected nothing: nothing but a rejection changes it, and it is never told of one.
NO_REJECTIONS: Final = RejectionRunPolicy(BanBudget(), wide=True)
