"""Marks ahead of one scope: how much it may grant before a store has written it down, over all accounts that it is charged to.

See `account`. A scope draws slices of what its accounts may grant, so that most of its requests need no look at them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

from governor._fields import MarkFields
from governor._units import MILLISECOND, Instant
from governor.errors import Reason
from governor.policies.account import UNBOUNDED, Account, Tracker
from governor.policies.contract import PLAIN, REQUESTS, Request

#: A slice of a credit is at most one in so many of its points: small limits are counted exactly, and several scopes find some.
_SLICE: Final = 64
#: What is left of a slice at a death counts as used. So it lasts for so many microseconds, and is at most one in so many of the
#: requests that were granted at such a rate without a pause.
_SLICE_LASTS: Final = 5 * MILLISECOND
_SLICE_OF_RUN: Final = 8
_MAX_SLICE: Final = 4096


def excess(asked: Request, used: Mapping[str, int]) -> Request:
    """What was used beyond what was asked for."""
    units = {unit: max(0, amount - asked.amount(unit)) for unit, amount in used.items() if unit != REQUESTS}
    return Request(max(0, used.get(REQUESTS, asked.cost) - asked.cost), units)


class Charge(NamedTuple):
    """An account that a call of a scope is charged to: with its points for a plain request, and for any other one."""

    account: Account
    plain: int
    points: Callable[[Request], int]


@final
class Mark(MarkFields):
    """The marks ahead of one scope, over its accounts: its own, and those that it shares with other scopes.

    `left` plain requests may be granted without a look at any account; the hot path counts them down. The `trackers` write down
    which calls are on their way: at the end of each step, and with each outcome that takes none.
    """

    __slots__ = ("_charges", "_drawn_at", "_run", "_slice", "trackers")

    #: The reason of a denial while a record is being written.
    reason = Reason.OVERLOADED

    def __init__(self, charges: Sequence[Charge], trackers: Iterable[Tracker] = ()) -> None:
        self._charges = tuple(charges)
        self.trackers = tuple(trackers)
        self.left = 0
        #: The requests that `left` began with.
        self._slice = 0
        #: When that was, and how many had been granted then without a pause.
        self._drawn_at = Instant(0)
        self._run = 0

    def short(self, now: Instant, request: Request) -> bool:
        """Whether a request has to wait for a record."""
        if request is PLAIN:
            if self.left:
                return False
            found = [account.short(plain) for account, plain, _ in self._charges if plain]
        else:
            self.close(now)
            found = [account.short(points(request)) for account, _, points in self._charges]
        return any(found)

    def commit(self, now: Instant, request: Request) -> None:
        """Charges a request, after `short` has returned False."""
        if request is not PLAIN:
            for account, _, points in self._charges:
                account.spend(now, points(request))
        elif self.left:
            self.left -= 1
        else:
            drawn = self._slice + 1
            self.close(now)
            for account, plain, _ in self._charges:
                account.spend(now, plain)
            self._draw(now, drawn)

    def renew(self, now: Instant) -> bool:
        """Charges a plain request for which nothing is left of the slice, and draws another one.

        False, and nothing has changed, if that takes a step: an account wants a record, or would with this request.
        """
        for account, plain, _ in self._charges:
            if plain and (account.wants or 2 * (account.room - plain) < account.credit):
                return False
        self.commit(now, PLAIN)
        return True

    def settled(self, now: Instant, more: Request) -> None:
        """A call has used this much more than its permit allowed. What it used less stays charged."""
        self.commit(now, more)

    def is_tight(self, request: Request) -> bool:
        """Whether there is no room for a request. Changes nothing."""
        plain = request is PLAIN
        return not (plain and self.left) and any(
            account.room < (one if plain else points(request)) for account, one, points in self._charges
        )

    def wait(self, now: Instant, request: Request) -> bool:
        """Blocks, within a bound, until there is room for a request. False if that has not sufficed."""
        for _ in range(2):  # The record that is being written may not cover it.
            self.flush()
            if not all(account.wait_written() for account, _, _ in self._charges):
                return False
            if not self.short(now, request):
                return True
        return False

    def flush(self) -> None:
        """Asks for the records that are wanted. To be called when no policy is in the middle of a grant."""
        for account, _, _ in self._charges:
            if account.wants and not account.writing:
                account.write(account)

    def close(self, now: Instant) -> None:
        """Returns what is left to the accounts."""
        begun, left = self._slice, self.left
        if begun:
            self._slice = self.left = 0
            for account, plain, _ in self._charges:
                account.used(now, plain * (begun - left))
                account.returned(plain * left)
                account.open.pop(self, None)

    def _draw(self, now: Instant, since: int) -> None:
        """Has requests handed out to be granted without a look. So many have been granted since the last time."""
        lasting = since * _SLICE_LASTS // max(1, now - self._drawn_at)
        self._drawn_at = now
        self._run = self._run + since if lasting else 0
        count = min(self._run // _SLICE_OF_RUN, lasting, _MAX_SLICE)
        if count:
            count = min([count, *(account.room // plain // _SLICE for account, plain, _ in self._charges if plain)])
        if count > 0:
            for account, plain, _ in self._charges:
                account.hand_out(plain * count)
                account.open[self] = None
            self._slice = self.left = count

    # Granting ahead.

    def leasable(self, now: Instant) -> int:
        """The requests that all accounts have room for. A larger credit is wanted while that is little."""
        self.close(now)
        for account, plain, _ in self._charges:
            if plain and account.credit < account.tariff.most and 2 * account.room < account.tariff.most:
                account.wants = True
        return max(0, min((account.room // plain for account, plain, _ in self._charges if plain), default=UNBOUNDED))

    def lease(self, count: int) -> None:
        """Hands out requests."""
        for account, plain, _ in self._charges:
            account.hand_out(plain * count)

    def collect(self, now: Instant, used: int) -> None:
        """So many have been used."""
        for account, plain, _ in self._charges:
            account.used(now, plain * used)

    def reclaim(self, count: int) -> None:
        """So many will not be used."""
        for account, plain, _ in self._charges:
            account.returned(plain * count)
