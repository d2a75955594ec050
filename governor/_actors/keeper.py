"""Keeper: keeps the state of a governor in a store, for as long as one life lasts.

It has the accounts of scopes, of providers and of all scopes together, has their records written when they want it and when
what they hold has changed, and restores what earlier lives have left. Belongs to the actors' thread.

Bound: accounts of scopes that are known or set aside, and of providers.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, final
from weakref import ref

import anyio

from governor._actors.portal import Portal
from governor._actors.tariffs import Stored, global_tariff, recovery_time, shared_points, shared_tariff
from governor._store.earlier import EarlierLives
from governor._store.records import GLOBAL, StoredGlobal, StoredProvider, StoredScope, provider_key, scope_key
from governor._store.writer import Entry, Writer
from governor._units import NEVER, Instant
from governor.clock import Clock
from governor.policies.account import (
    FIRST,
    Account,
    Cells,
    Tariff,
    flight_tariff,
    limits_of,
    new_cells,
    tariff_of,
    tracker_of,
)
from governor.policies.budget import Budgets
from governor.policies.contract import PLAIN, LimitPolicy, Request
from governor.policies.degraded import DegradedPolicy
from governor.policies.learning.server_limits import ServerLimits
from governor.policies.mark import Charge, Mark
from governor.policies.pipeline import Pipeline, PipelineSettings
from governor.policies.provider import ProviderPolicies
from governor.policies.request_cap import RequestCapPolicy
from governor.policies.survival import Death, mourn, mourn_all

_log: Final = logging.getLogger("governor")

#: How often accounts are looked at that have granted something, in seconds; one that has not since gets its last record.
_LOOK_INTERVAL: Final = 1.0
#: Seconds for which a call that may not wait in a queue waits for the store.
_WRITE_TIMEOUT: Final = 0.05
#: Accounts that are looked at for each second of this interval, at most.
_LOOKED_AT: Final = 2000
#: Of an account without limits, whose record counts nothing.
_FREE: Final = Tariff({}, FIRST)
#: What can be written of an account: its record, and when that says nothing any more; None if it has gone.
Left = Callable[[], tuple[Stored, Instant] | None]


@final
class Keeper:
    """Keeps the state of one life. `earlier` has been opened for it. `wake` is called when calls may go on that have waited."""

    def __init__(self, earlier: EarlierLives, *, now: Clock, portal: Portal, wake: Callable[[], object]) -> None:
        #: What earlier lives have left.
        self.earlier = earlier
        #: Whether there was a life before this one.
        self.learning = earlier.learning
        self._now = now
        self._portal = portal
        self._wake = wake
        self._accounts: dict[str, Account] = {}
        self._left: dict[str, Left] = {}
        #: Of each record what changes with events rather than with grants.
        self._seen: dict[str, tuple[object, ...]] = {}
        #: Accounts that are looked at, with what they had granted at the last look, and those to be written when they can be.
        self._active: dict[Account, int] = {}
        self._any_active = anyio.Event()
        #: No account that has gone had granted more.
        self._base = 0
        self._changed: dict[Account, None] = {}
        self._broken = earlier.store is None
        self._journal = None if earlier.store is None else earlier.store.journal
        self._writer = (
            None if earlier.store is None else Writer(earlier.store, told=self._told, failed=partial(self._told, broken=True))
        )
        for key in earlier.outdated:
            self._remove(key)

    # Restoring.

    def restore_global(self, cap: RequestCapPolicy, degraded: DegradedPolicy, budgets: Budgets) -> None:
        """Restores what all scopes share, and keeps it from now on."""
        tariff = global_tariff(cap, budgets)
        stored, deaths = self.earlier.take(GLOBAL, StoredGlobal)
        if stored is not None:
            cap.restore(stored.cap)
            degraded.restore(stored.degraded)
            budgets.restore(self._now(), stored.budgets)
        mourn_all(cap, budgets, tariff, deaths)

        def left() -> tuple[StoredGlobal, Instant]:
            states = {name: policy.state() for name, policy in budgets.policies()}
            return StoredGlobal(cap.state(), degraded.state(), states), NEVER

        self._left[GLOBAL] = left

    def provider(self, shared: ProviderPolicies) -> ProviderPolicies:
        """What is restored of a provider, or of a key of it, in place of one as new; and keeps it from now on."""
        key, tariff = provider_key(shared.name), shared_tariff((*shared.limits, *shared.stated))
        stored, deaths = self.earlier.take(key, StoredProvider)
        if stored is None:
            mourn([limit.policy for limit in shared.limits], tariff, deaths)
        else:
            parameters, shared = shared.parameters, ProviderPolicies.of(shared.name, stored.parameters)
            shared.restore(stored.state)
            limits = (*shared.limits, *shared.stated)
            mourn([limit.policy for limit in limits], shared_tariff(limits), deaths)
            if parameters != stored.parameters:
                shared.reconfigure(self._now(), parameters)
        kept = ref(shared)

        def left() -> tuple[StoredProvider, Instant] | None:
            alive = kept()
            return None if alive is None else (StoredProvider(alive.state(), alive.parameters), alive.rests_at())

        self._left[key] = left
        return shared

    def scope(
        self, scope: str, fresh: Pipeline, build: Callable[[str, PipelineSettings, ServerLimits | None], Pipeline]
    ) -> Pipeline:
        """What is restored of a scope, in place of policies as new; `build` makes some with other settings."""
        stored, deaths = self.earlier.take(scope_key(scope), StoredScope)
        if stored is None:
            _mourn_scope(fresh, deaths)
            return fresh
        own_server = stored.state.own_server()
        restored = build(scope, stored.settings, own_server)
        restored.restore(stored.state)
        _mourn_scope(restored, deaths)
        if fresh.settings() == restored.settings():
            return restored
        changed = build(scope, fresh.settings(), own_server)
        changed.carry_over(self._now(), restored)
        return changed

    def has_room(self, scope: str, most: int) -> bool:
        """Whether there may be a record of another scope: there are at most `most` records in all."""
        key = scope_key(scope)
        return key in self._accounts or key in self.earlier or len(self._accounts) + len(self.earlier) < most

    # Accounts.

    def attach(self, scope: str, pipeline: Pipeline) -> None:
        """Keeps these policies of a scope from now on, and gives them the marks ahead that they need."""
        charges, trackers = [], []
        own = _own(pipeline)
        account = self._account(scope_key(scope), tariff_of(limits_of(own)) or flight_tariff(own))
        trackers.append(tracker_of(account, own))
        if account.tariff.quanta:
            charges.append(_charge(account, account.tariff.points))
        for provider in pipeline.providers:
            limits = _shared(provider)
            shares = [share for share in pipeline.shares if share.limit in limits]
            account = self._account(*_terms(provider))
            trackers.append(tracker_of(account, limits))
            if shares and account.tariff.quanta:
                charges.append(_charge(account, partial(shared_points, tuple(shares), account.tariff.quanta)))
        tariff = global_tariff(pipeline.cap, pipeline.budgets)
        account = self._account(GLOBAL, tariff)
        if tariff is not None:
            charges.append(_charge(account, tariff.points))
        if pipeline.needs_outcome:
            # The journal says which calls are on their way, and does not know of permits that are leased.
            pipeline.leases, pipeline.leasing = False, ()
        pipeline.mark = Mark(charges, [tracker for tracker in trackers if tracker is not None])

        def left() -> tuple[StoredScope, Instant]:
            return StoredScope(pipeline.state(), pipeline.settings()), pipeline.rests_at(self._now())

        self._left[scope_key(scope)] = left

    def look_at(self, scope: str, pipeline: Pipeline) -> None:
        """At the end of a step: what has changed by more than what has been granted is written soon."""
        if pipeline.mark is not None and pipeline.mark.trackers:
            now = self._now()
            for tracker in pipeline.mark.trackers:
                tracker.look(now)
        breaker, own, shared = pipeline.breaker, pipeline.guard.own, pipeline.shared
        run, pauses = shared.rejections, (shared.cooldown.until, shared.hold.until)
        said = breaker.status, breaker.until, breaker.failures, breaker.spells
        for key, state in (
            (scope_key(scope), (*said, pipeline.own_cooldown.until, own.run, own.spells, own.until)),
            (provider_key(shared.name), (*pauses, run.run, run.spells, run.until, shared.ban_budget.noted)),
            (GLOBAL, (pipeline.degraded.until, pipeline.degraded.failures)),
        ):
            seen, account = self._seen.get(key), self._accounts.get(key)
            # A scope that has made room may still learn of outcomes.
            if seen != state and account is not None:
                self._seen[key] = state
                if seen is not None:
                    self._write_changed(account)

    def changed(self, provider: ProviderPolicies) -> None:
        """An operator has changed a provider, of which there may be no scope."""
        self._write_changed(self._account(*_terms(provider)))

    def set_aside(self, scope: str) -> None:
        """The scope makes room: its policies go, and what is left of them is written."""
        key = scope_key(scope)
        account, last = self._accounts[key], self._left[key]()
        self._left[key] = lambda: last
        self._write_changed(account)

    def forget(self, scope: str) -> None:
        """The scope makes room, or its record does, because it is as good as new."""
        key = scope_key(scope)
        account = self._accounts.pop(key, None)
        self._left.pop(key, None)
        self._seen.pop(key, None)
        if account is not None:
            self._base = max(self._base, account.granted)
            self._active.pop(account, None)
            self._changed.pop(account, None)
            if account.exact and self._journal is not None:
                self._journal.release(account.cells)
                account.cells = new_cells()
            if account.recorded or account.writing:
                self._remove(key)

    def _account(self, key: str, tariff: Tariff | None) -> Account:
        account = self._accounts.get(key)
        if account is None:
            self._accounts[key] = account = Account(
                key,
                tariff or _FREE,
                write=self._write,
                hurry=self._hurry,
                cells=None if self._broken else self._cells(key),
                base=self._base,
                wait=self._wait,
            )
            if self._broken:
                account.give_up()
        elif not self._broken:
            account.follow(tariff or _FREE)
        return account

    def _cells(self, key: str) -> Cells | None:
        """The cells of an account in the journal; None if there can be none."""
        if self._journal is None:
            return None
        try:
            return self._journal.slot(key, self._base)
        except OSError as error:
            _log.warning("The journal of the governor's state cannot be extended: %s", error)
            self._journal.spoil()
            self._journal = None
            return None

    # Writing.

    def _write(self, account: Account, *, lower: bool = False) -> None:
        found = self._left[account.key]() if account.key in self._left else None
        if found is None or self._writer is None or self._broken:
            account.wants = False
            return
        stored, rests_at = found
        hurry = account.waiting
        ahead = account.begin(self._now(), lower=lower)
        recovers = recovery_time(stored, account.tariff, ahead)
        entry = Entry(account.key, ahead, account.covered, rests_at, recovers, stored.encode, account.written)
        self._writer.put(entry, hurry=hurry)
        self._active[account] = account.granted
        self._any_active.set()

    def _hurry(self) -> None:
        if self._writer is not None:
            self._writer.hurry()

    def _wait(self, done: Callable[[], bool]) -> bool:
        return self._writer is not None and self._writer.wait(done, _WRITE_TIMEOUT)

    def _write_changed(self, account: Account) -> None:
        if account.writing:
            self._changed[account] = None
        else:
            self._write(account)

    def _remove(self, key: str) -> None:
        if self._writer is not None:
            self._writer.put(Entry(key, 0, 0, 0, 0, None, bool))

    async def look(self) -> None:
        """Has the last records written of accounts that grant nothing any more. Sleeps while there is none."""
        while True:
            await self._any_active.wait()
            await anyio.sleep(_LOOK_INTERVAL * max(1.0, len(self._active) / _LOOKED_AT))
            self._look()

    def _look(self) -> None:
        self._catch_up()
        for account, granted in list(self._active.items()):
            account.close(self._now())
            if account.granted != granted:
                self._active[account] = account.granted
            elif not account.writing and not account.out:
                if account.room > FIRST or account.granted != account.covered:
                    self._write(account, lower=True)
                self._active.pop(account, None)
        if not self._active:
            self._any_active = anyio.Event()

    def _catch_up(self) -> None:
        """Writes what has changed while a record of it was being written."""
        for account in [one for one in self._changed if not one.writing]:
            del self._changed[account]
            self._write(account)

    # What the writer says, on its thread.

    def _told(self, *, broken: bool = False) -> None:
        self._broken = self._broken or broken
        self._portal.post(self._go_on)

    def _go_on(self) -> None:
        if self._broken:
            for account in self._accounts.values():
                account.give_up()
        self._catch_up()
        self._wake()

    # The end.

    def finish(self) -> None:
        """Writes everything as it is, for a life that ends in order, and closes the file. Blocks; on any thread."""
        if self._writer is None:
            return
        entries = []
        for account in tuple(self._accounts.values()):
            found = self._left[account.key]() if account.key in self._left else None
            if found is not None and (account.granted != account.base or account.recorded or account in self._changed):
                account.end(self._now())
                entries.append(Entry(account.key, 0, account.granted, found[1], 0, found[0].encode, account.written))
        self._writer.finish(entries)

    def abandon(self) -> None:
        """The loop has ended without notice: closes the file as it is. Returns at once; on any thread."""
        if self._writer is not None:
            self._writer.abandon()

    def forked(self) -> int | None:
        """In a forked child: the descriptor that the child must close. The journal stays that of the parent."""
        self._journal = None
        for account in self._accounts.values():
            account.cells = new_cells()
        return None if self._writer is None else self._writer.forked()


def _own(pipeline: Pipeline) -> list[LimitPolicy]:
    """The limits of the scope alone."""
    return [*pipeline.limits, *(limit.policy for limit in (() if pipeline.heard is None else pipeline.heard.limits))]


def _shared(provider: ProviderPolicies) -> set[LimitPolicy]:
    """The limits over all scopes of a provider."""
    return {limit.policy for limit in (*provider.limits, *provider.stated)}


def _terms(provider: ProviderPolicies) -> tuple[str, Tariff | None]:
    """The key of the account of a provider, and its tariff."""
    limits = _shared(provider)
    return provider_key(provider.name), tariff_of(limits_of(limits)) or flight_tariff(limits)


def _mourn_scope(pipeline: Pipeline, deaths: Iterable[Death]) -> None:
    limits = _own(pipeline)
    mourn(limits, tariff_of(limits_of(limits)), deaths)
    pipeline.regate()


def _charge(account: Account, points: Callable[[Request], int]) -> Charge:
    return Charge(account, points(PLAIN), points)
