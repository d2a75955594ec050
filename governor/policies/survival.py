"""Survival: what the policies of another life are worth, after a death.

A life of a governor ends in order, and all that it has granted is known. Or the process dies, and its journal says how much
each account had granted since its last record: all of that counts as granted at the instant of the last grant. Or the system
dies, and with it the journal. Then all that is known is the last record of each account and how many points it may have granted
since: they count as granted at the instant at which another life takes over.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from governor._units import Instant
from governor.policies.account import Tariff
from governor.policies.budget import BudgetLimit, Budgets
from governor.policies.contract import LimitPolicy, Request
from governor.policies.gcra import TokenBucketPolicy
from governor.policies.in_flight import InFlightPolicy
from governor.policies.lost_calls import LostCalls
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.windows.window import StrictWindowPolicy

#: A limit with a larger capacity is none that is known: a server has not revealed it, or not yet.
_KNOWN: Final = 2**40


class Tally(NamedTuple):
    """What a journal says of an account: these `points` were granted since its record, the last of them at `at` or before.

    `out` more were handed out, and may have been granted up to the death. When `seen`, all that had been granted had arrived
    but for `moving` points, and all calls had ended but for `places`; both include what was granted since, and are None if that
    is not known. `held` calls had been given up before, and are over at `until`. Calls took `usual` as a rule; 0 if that is not
    known.
    """

    points: int
    at: Instant
    out: int = 0
    moving: int | None = None
    places: int | None = None
    seen: Instant = Instant(0)
    held: int = 0
    until: Instant = Instant(0)
    usual: int = 0


class Death(NamedTuple):
    """A process has died, and another one has taken over at this instant.

    An account may have granted so many points that no record knows of; None: everything, because there is no record. With a
    `tally` it has granted what that says.
    """

    at: Instant
    points: int | None
    tally: Tally | None = None


def mourn(limits: Iterable[LimitPolicy], tariff: Tariff | None, deaths: Iterable[Death]) -> None:
    """Counts as used what may have been granted, in limits of one account, death by death."""
    known = tuple(limits)
    for at, points, tally in deaths:
        for limit in known:
            if tally is None:
                _abandon(limit, at, _lost(limit, tariff, points))
            elif isinstance(limit, StrictWindowPolicy | InFlightPolicy):
                lost = _lost_calls(limit, tariff, tally)
                limit.abandoned(at, lost.out, lost)
            else:
                _abandon(limit, tally.at, 0 if tariff is None else tariff.units(limit.unit, tally.points))
                _abandon(limit, at, 0 if tariff is None else tariff.units(limit.unit, tally.out))


def _abandon(limit: LimitPolicy, at: Instant, units: int) -> None:
    if isinstance(limit, TokenBucketPolicy) and limit.plain:
        # At most what there is: they were granted by then, so that the others have been refilled meanwhile.
        full = at * limit.ticks
        tat = max(limit.tat, full)
        limit.move(max(tat, min(tat + units * limit.plain, full + limit.slack + limit.plain)))
    else:
        limit.abandoned(at, units)


def _lost(limit: LimitPolicy, tariff: Tariff | None, points: int | None) -> int:
    capacity = limit.capacity()
    if points == 0:
        return 0
    if points is None or isinstance(limit, InFlightPolicy):
        # Places in flight are not counted by the mark of an account: all of them may be taken.
        return capacity if capacity < _KNOWN else 0
    return 0 if tariff is None else tariff.units(limit.unit, points)


def _lost_calls(limit: LimitPolicy, tariff: Tariff | None, tally: Tally) -> LostCalls:
    worth = 0 if tariff is None else tariff.units(limit.unit, 1)
    moving = None if tally.moving is None else tally.moving * worth
    units, out = tally.points * worth, tally.out * worth
    return LostCalls(units, tally.at, out, moving, tally.places, tally.seen, tally.held, tally.until, tally.usual)


def mourn_all(cap: RequestCapPolicy, budgets: Budgets, tariff: Tariff | None, deaths: Iterable[Death]) -> None:
    """The same for what all scopes share."""
    for at, points, tally in deaths:
        counted = [(at, points)] if tally is None else [(tally.at, tally.points), (at, tally.out)]
        for dated, lost in counted:
            _mourn_all(cap, budgets, tariff, dated, lost)


def _mourn_all(cap: RequestCapPolicy, budgets: Budgets, tariff: Tariff | None, at: Instant, points: int | None) -> None:
    capped = cap.parameters.requests_per_minute
    if capped is not None and points != 0:
        cap.commit(at, Request(capped if points is None else min(points, capped)))
    for _, policy in budgets.policies():
        policy.abandoned(at, partial(_amount, tariff, points))


def _amount(tariff: Tariff | None, points: int | None, limit: BudgetLimit) -> int:
    return limit.amount if points is None or tariff is None else min(limit.amount, tariff.units(limit.unit, points))
