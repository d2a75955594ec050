"""Ban budget of a provider: closes the provider well before its server bans the client for calls that it rejects.

Servers ban clients that go on after rejections (401, 403, 429): Discord, for instance, after 10,000 of them within 10 minutes
(https://discord.com/developers/docs/topics/rate-limits). Here the rejections of the last `per` are counted. While they and the
calls under way, each of which may be rejected as well, reach the share `close_at` of the budget, no call is granted: not before
a rejection has left the window, or a call under way has got another answer.

The law: no window of length `per` has more rejections than `close_at` * `refusals`. The count is exact up to 4,096; above, a
rejection leaves the window up to 1/4096 of it late, and never early.

Calls under way are counted from half of the threshold on, or always where the threshold is below `MIN_UNCOUNTED`; before, a
call costs nothing. `count` begins it, with the number of calls that are under way by then. A call without an answer for one
window counts no longer; its rejection counts when it comes.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from governor._lazy import always
from governor._units import DAY, HOUR, MINUTE, SECOND, Duration, DurationLike, Instant
from governor.errors import ConfigError, Reason
from governor.policies import _checks
from governor.policies._sliding_log import SlidingLog, SlidingLogState
from governor.policies.contract import Request

#: With a lower threshold, calls under way are counted always.
MIN_UNCOUNTED: Final = 200
#: At most so many entries are kept for calls under way and for rejections, as in `_sliding_log`.
_MAX_REJECTIONS: Final = 1_000_000_000


class BanBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a server may reject. Raises `ConfigError`.

    The server bans after `refusals` rejections within `per`; the provider closes at the share `close_at` of them, above 0 and
    at most 1. After `in_a_row` rejections in a row that look like a ban or like wrong credentials (401 and 403), the scope
    closes for `closed_for`, and the provider does after as many from several of its scopes; then one call at a time probes, and
    while it is rejected the next spell is twice as long, up to `max_closed_for`. `in_a_row` None does not close for that.

    `refusals` is 1 to 10^9, `in_a_row` at least 1, `per` text or a `timedelta` from 1 second to 1 day, the others up to 366
    days.
    """

    refusals: int = 10_000
    per: Duration = Duration(10 * MINUTE)
    close_at: float = 0.5
    in_a_row: int | None = 10
    closed_for: Duration = MINUTE
    max_closed_for: Duration = HOUR

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            refusals: int = 10_000,
            per: DurationLike = "10m",
            close_at: float = 0.5,
            in_a_row: int | None = 10,
            closed_for: DurationLike = MINUTE,
            max_closed_for: DurationLike = HOUR,
        ) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("refusals", self.refusals, maximum=_MAX_REJECTIONS)
        _checks.span(self, "per", minimum=SECOND, maximum=DAY)
        _checks.share("close_at", self.close_at)
        if self.in_a_row is not None:
            _checks.whole("in_a_row", self.in_a_row)
        _checks.span(self, "closed_for")
        _checks.span(self, "max_closed_for")
        if self.max_closed_for < self.closed_for:
            raise ConfigError("max_closed_for", self.max_closed_for, f"at least closed_for, {self.closed_for}")

    @property
    def threshold(self) -> int:
        """The number of rejections at which the provider closes: at least 1."""
        return max(1, int(self.refusals * self.close_at))


class BanBudgetState(msgspec.Struct, frozen=True, tag="ban_budget"):
    """Rejections and calls under way, each with its date, and whether the latter are counted."""

    rejected: SlidingLogState
    under_way: SlidingLogState
    counting: bool


#: Of a provider that has rejected nothing: never added to.
_NO_LOG: Final = SlidingLog(1, 1)


class BanBudgetPolicy(msgspec.Struct, eq=False, gc=False):
    """The state machine, one for each provider. `now` never goes back. Its logs are made when something is to be dated."""

    reason: ClassVar[Reason] = Reason.BAN_BUDGET

    parameters: BanBudget
    #: Whether calls under way are counted, so that each must report how it ends.
    counting: bool = False
    _rejected: SlidingLog = msgspec.field(default_factory=always(_NO_LOG))
    _under_way: SlidingLog = msgspec.field(default_factory=always(_NO_LOG))

    def __post_init__(self) -> None:
        self.counting = self.parameters.threshold < MIN_UNCOUNTED

    @property
    def unrestricted(self) -> bool:
        """Whether it grants everything and counts no calls."""
        return not self.counting

    @property
    def noted(self) -> int:
        """The rejections on record, some of which may have left the window."""
        return self._rejected.total

    def rejections(self, now: Instant) -> int:
        """The rejections in the window that ends at `now`."""
        return self._rejected.used(now)

    def reject(self, now: Instant) -> bool:
        """Counts a rejection. True if calls under way must be counted from now on: call `count` with their number."""
        if self._rejected is _NO_LOG:
            self._rejected = self._log()
        self._rejected.add(now, 1)
        return not self.counting and 2 * self._rejected.used(now) >= self._threshold

    def count(self, now: Instant, under_way: int) -> None:
        """Begins to count calls under way, of which there are so many."""
        self.counting = True
        if under_way > 0:
            self._add_under_way(now, under_way)

    def earliest(self, now: Instant, request: Request) -> Instant:
        """`now`, or when so many rejections and calls under way have left the window that there is room for another one."""
        if not self.counting or self._used(now) < self._threshold:
            return now
        # Both logs in the order in which they leave the window.
        entries = sorted((*self._rejected.state().slots, *self._under_way.state().slots))
        left = self._used(now)
        for dated, count in entries:
            if dated > now - self.parameters.per:
                left -= count
                if left < self._threshold:
                    return Instant(dated + self.parameters.per)
        raise AssertionError("an empty window is above its threshold")

    def hangs(self, now: Instant) -> bool:
        """Whether the answer to a call under way may make room before time does."""
        return self.counting and self._rejected.used(now) < self._threshold

    def commit(self, now: Instant) -> None:
        """Counts a granted call, which may be rejected."""
        if self.counting:
            self._add_under_way(now, 1)

    def answer(self, now: Instant, granted_at: Instant) -> bool:
        """A call is no longer under way: its answer has begun, or it will not come. True if that makes room for others.

        Call it after `reject` if it was rejected: the place of the call is then taken by the rejection.
        """
        if not self.counting:
            return False
        full = self._used(now) >= self._threshold
        self._under_way.remove(granted_at, 1)
        if self._threshold >= MIN_UNCOUNTED and 4 * self._rejected.used(now) < self._threshold:
            self.counting = False
            self._under_way = _NO_LOG
            return True
        return full and self._used(now) < self._threshold

    def reset(self) -> None:
        """Forgets all rejections. Calls under way stay counted."""
        self._rejected = _NO_LOG

    def rests_at(self) -> Instant:
        """The instant from which on a new policy would be the same, if nothing happens."""
        return max(self._rejected.emptied(), self._under_way.emptied())

    def carry_over(self, now: Instant, before: "BanBudgetPolicy") -> None:
        """Continues from a policy whose parameters may differ: what is in its logs counts, dated as late as it may be."""
        self._rejected, self._under_way = self._log(), self._log()
        for mine, theirs in ((self._rejected, before._rejected), (self._under_way, before._under_way)):
            for dated, count in theirs.state().slots:
                if count and dated > now - self.parameters.per:
                    mine.add(dated, count)
        self.counting = self.counting or before.counting

    def state(self) -> BanBudgetState:
        """The state as a frozen record, for `restore`."""
        return BanBudgetState(self._rejected.state(), self._under_way.state(), self.counting)

    def restore(self, state: BanBudgetState) -> None:
        """Continues from a state that `state` returned under the same parameters."""
        self._rejected, self._under_way = self._log(), self._log()
        self._rejected.restore(state.rejected)
        self._under_way.restore(state.under_way)
        self.counting = state.counting

    @property
    def _threshold(self) -> int:
        return self.parameters.threshold

    def _add_under_way(self, now: Instant, count: int) -> None:
        if self._under_way is _NO_LOG:
            self._under_way = self._log()
        self._under_way.add(now, count)

    def _log(self) -> SlidingLog:
        return SlidingLog(self.parameters.per, self._threshold)

    def _used(self, now: Instant) -> int:
        return self._rejected.used(now) + self._under_way.used(now)


@lru_cache(maxsize=64)
def unspent(parameters: BanBudget) -> BanBudgetPolicy:
    """One policy for all providers with these parameters that have rejected nothing: never changed, unless it is `counting`."""
    return BanBudgetPolicy(parameters)
