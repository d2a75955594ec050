"""What survives: lives that end in order and lives that are killed, one after another, against a log of every grant."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example

from governor._actors import keeper as keepers
from governor._actors.keeper import Keeper
from governor._actors.portal import Portal
from governor._store import earlier
from governor._store import file as files
from governor._store.contract import ToWrite
from governor._store.earlier import EarlierLives
from governor._store.file import StateFile
from governor._store.writer import Entry
from governor._units import MINUTE, SECOND, Instant
from governor.clock import Moment
from governor.config import parse_limit
from governor.policies.account import AT, GRANTED, OUT, PRIME, Account, Tariff, new_cells, tariff_of
from governor.policies.breakers.parameters import Breaker
from governor.policies.budget import Budget, BudgetLimit, Budgets
from governor.policies.composition import DEFAULT_ARRIVALS, compose
from governor.policies.contract import PLAIN, Grant, Request, Result
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.learning.server_limits import ServerLimits
from governor.policies.mark import Charge, Mark
from governor.policies.pipeline import Pipeline, PipelineSettings
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from tests.support import tape as st
from tests.support.tape import given

WINDOW, BURST, RATE, SHARED, CAP, BUDGET = 4, 3, 6, 8, 10, 9
MARGIN = 2 * SECOND


class SlowWriter:
    """Writes when it is told to, and dies with its process."""

    latest: "SlowWriter"

    def __init__(self, file: StateFile, *, told: Callable[[], object], failed: Callable[[], object]) -> None:
        self.file = file
        file._sql.execute("PRAGMA synchronous = OFF")
        self.queue: list[Entry] = []
        SlowWriter.latest = self

    def put(self, entry: Entry, *, hurry: bool = False) -> None:
        self.queue.append(entry)

    def hurry(self) -> None:
        """It takes its time."""

    def work(self, count: int, *, ended: bool = False) -> None:
        batch, self.queue = self.queue[:count], self.queue[count:]
        found = [ToWrite(*one[:5], one.body()) for one in batch if one.body is not None]
        self.file.write(found, [one.key for one in batch if one.body is None], ended=ended)
        for entry in batch:
            entry.written()

    def finish(self, entries: list[Entry]) -> None:
        self.queue += entries
        self.work(len(self.queue), ended=True)
        self.file.close()


class System:
    """The machine, whose clocks go on when a process dies, and which may lose its power."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.starts = 1
        self.started_at = 0

    def clock(self) -> Instant:
        return Instant(self.now)

    def moment(self, clock: Callable[[], Instant], ahead: int = 0) -> Moment:
        return Moment(Instant(self.now + ahead), self.now / SECOND, self.now - self.started_at, f"start {self.starts}")

    def lose_power(self, folder: Path) -> None:
        self.starts, self.started_at = self.starts + 1, self.now
        for journal in folder.glob("journal-*"):
            # Nothing that was only mapped has been written.
            with journal.open("r+b") as file:
                file.seek(96)
                file.write(bytes(journal.stat().st_size - 96))


class Life:
    """A governor with two scopes of one provider, as far as its policies go."""

    def __init__(self, folder: Path, system: System, scale: int = 1, *limits: str) -> None:
        clock, self.system, self.folder = system.clock, system, folder
        self.clock = clock
        limits = limits or (f"{scale * WINDOW} per minute strict", f"{scale * RATE}/minute burst {scale * BURST}")
        self.calls: list[tuple[Pipeline, Grant]] = []
        with (
            patch.object(keepers, "Writer", SlowWriter),
            patch.object(files, "moment", system.moment),
            patch.object(earlier, "moment", system.moment),
        ):
            # Only the thread of a real writer posts to the portal.
            self.keeper = Keeper(EarlierLives(folder, clock), now=clock, portal=cast("Portal", None), wake=bool)
        self.cap, self.degraded = RequestCapPolicy(RequestCap(scale * CAP)), DegradedPolicy(Degraded())
        each = Budget(("*",), (BudgetLimit("requests", scale * BUDGET, MINUTE),))
        self.budgets = Budgets({"all": each})
        self.keeper.restore_global(self.cap, self.degraded, self.budgets)
        shared = (parse_limit(f"{scale * SHARED} per minute strict"),)
        self.provider = self.keeper.provider(ProviderPolicies.of("x", ProviderParameters(limits=shared)))
        self.scopes = [self._scope(f"x:{name}", limit) for name, limit in zip(("get", "post"), limits, strict=True)]

    def _scope(self, name: str, limit: str) -> Pipeline:
        settings = Breaker(), (parse_limit(limit),), False, 1.0, DEFAULT_ARRIVALS
        pipeline = self.keeper.scope(name, self._build(name, settings, ServerLimits()), self._build)
        self.keeper.attach(name, pipeline)
        return pipeline

    def _build(self, name: str, settings: PipelineSettings, own_server: ServerLimits | None) -> Pipeline:
        breaker, limits, exempt, max_debt, arrivals = settings
        return compose(
            breaker,
            limits,
            cap=self.cap,
            degraded=self.degraded,
            provider=self.provider,
            scope=name,
            own_server=own_server,
            exempt=exempt,
            max_debt=max_debt,
            arrivals=arrivals,
            budgets=self.budgets,
            kept=True,
        )

    def ask(self, place: int, request: Request) -> bool:
        now, pipeline = self.clock(), self.scopes[place]
        verdict = pipeline.verdict(now, request)
        #: Whether the store alone was in the way.
        self.waits = isinstance(verdict.by, Mark)
        granted = verdict.when <= now and self.budgets.earliest(now, "label", request) <= now
        if granted:
            self.calls.append((pipeline, pipeline.commit(now, request)))
            self.budgets.commit(now, "label", request)
        self.end_step(pipeline)
        return granted

    def grab(self, place: int) -> bool:
        """A plain request as an actor grants it without a step: what changes is looked at, and written, later."""
        now, pipeline = self.clock(), self.scopes[place]
        mark, pipeline.mark = pipeline.mark, None
        assert mark is not None
        granted = pipeline.verdict(now, PLAIN).when <= now and self.budgets.earliest(now, "label", PLAIN) <= now
        if granted and mark.left:
            mark.left -= 1
        elif granted:
            granted = mark.renew(now)
        if granted:
            self.calls.append((pipeline, pipeline.commit(now, PLAIN)))
            self.budgets.commit(now, "label", PLAIN)
        pipeline.mark = mark
        return granted

    def call(self, place: int, cost: int) -> bool:
        return self.grab(place) if cost == GRAB else self.ask(place, PLAIN if cost == 1 else Request(cost))

    def end_step(self, pipeline: Pipeline) -> None:
        self.keeper.look_at(pipeline.guard.name, pipeline)
        assert pipeline.mark is not None
        pipeline.mark.flush()

    def answer(self) -> None:
        """All calls end."""
        calls, self.calls = self.calls, []
        for pipeline, grant in calls:
            pipeline.record(self.clock(), grant, Result.SUCCESS)
            self.end_step(pipeline)

    def look(self) -> None:
        self.keeper._look()

    def end(self, writes: int | None, *, power: bool = False) -> None:
        """In order, or killed after so many writes, or with the whole system."""
        with patch.object(files, "moment", self.system.moment):
            if writes is None:
                self.keeper.finish()
                return
            SlowWriter.latest.work(writes)
            SlowWriter.latest.file.close()
        if power:
            self.system.lose_power(self.folder)


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="state-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield path
    shutil.rmtree(path)


class Use:
    """A request that was granted. Its provider counts it when it arrives: before its answer, and within the margin."""

    def __init__(self, life: Life, cost: int, place: int) -> None:
        self.life, self.at, self.cost, self.place = life, life.system.now, cost, place
        self.arrived = self.at + MARGIN


#: In place of the cost of a call: what has been asked for so far is written.
WRITE = 0
#: A plain request without a step.
GRAB = -1
WRITTEN = [1, WRITE, 1, WRITE, 1, WRITE, 1]
ACTIONS = st.one_of(
    st.tuples(
        st.just("ask"),
        st.sampled_from([0, 0, 1]),
        st.lists(st.sampled_from([1, 1, 1, 2, GRAB, GRAB, WRITE, WRITE]), min_size=1, max_size=6),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, SECOND, 30 * SECOND, MINUTE]), st.none()),
    st.tuples(st.just("look"), st.none(), st.none()),
    st.tuples(st.just("answer"), st.none(), st.none()),
)
#: What happens in one life, and how many records are still written before it is killed; None: it ends in order.
LIVES = st.lists(
    st.tuples(st.lists(ACTIONS, max_size=6), st.sampled_from([0, 0, 1, 3, None]), st.booleans()),
    min_size=3,
    max_size=12,
)


def most_beyond(uses: list[Use], rate: int) -> float:
    """The most that was granted in any span beyond what the rate returns in it."""
    level, most, before = 0.0, 0.0, 0
    for use in uses:
        level = max(0.0, level - rate * (use.at - before) / MINUTE) + use.cost
        most, before = max(most, level), use.at
    return round(most, 6)


def most_arrived(uses: list[Use]) -> int:
    """The most that a window of the provider may hold, however late requests arrive."""
    ends = {last.at for last in uses}
    return max((sum(one.cost for one in uses if one.at <= end < one.arrived + MINUTE) for end in ends), default=0)


@pytest.mark.promise("R62")
@example(1, [([("ask", 0, [1, 1, 1, 1])], 0, True)] * 6)
@example(1, [([("ask", 0, [1, WRITE, 1, WRITE, 1, 1])], 0, False)] * 6)
@example(25, [([("ask", 0, [1, WRITE, 1, 1])], 0, True)] * 6)
@example(25, [([("ask", 1, [1, WRITE, GRAB, GRAB, GRAB])], 0, True)] * 6)
@example(1, [([("ask", 1, [1, WRITE, 1]), ("wait", 5 * SECOND, None), ("ask", 1, WRITTEN)], 0, False)] * 9)
@example(1, [([("ask", 0, [1])], 0, False)] * 9)
@example(1, [([("ask", 0, WRITTEN)], 0, False), ([("wait", MINUTE, None), ("ask", 0, WRITTEN)], 0, False)])
@given(st.sampled_from([1, 1, 25]), LIVES)
def test_no_window_holds_more_than_its_limit_whenever_the_process_dies(
    scale: int, lives: list[tuple[list[tuple[str, object, object]], int | None, bool]]
) -> None:
    system = System()
    granted: list[Use] = []

    # Few deaths are kept apart, so that some count as one.
    with folder() as path, patch.object(files, "MAX_DEATHS", 3):
        for actions, writes, power in lives:
            life = Life(path, system, scale)
            for what, how, costs in actions:
                match what, how, costs:
                    case "ask", int(place), list():
                        for cost in costs * scale:
                            if cost == WRITE:
                                SlowWriter.latest.work(4)
                            elif life.call(place, cost):
                                granted.append(Use(life, abs(cost), place))
                    case "wait", int(span), _:
                        system.now += span
                    case "answer", _, _:
                        life.answer()
                        for use in granted:
                            use.arrived = min(use.arrived, system.now) if use.life is life else use.arrived
                    case _:
                        life.look()
            life.end(writes, power=power)

    assert most_arrived([use for use in granted if use.place == 0]) <= scale * WINDOW
    assert most_beyond([use for use in granted if use.place == 1], scale * RATE) <= scale * BURST
    assert most_arrived(granted) <= scale * SHARED


#: What happens in one life that is killed; the writer has written all that was asked for after each action.
KILLED = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([0, 0, 1])),
        st.tuples(st.just("wait"), st.sampled_from([1, SECOND, 30 * SECOND, MINUTE])),
        st.tuples(st.just("answer"), st.just(0)),
        st.tuples(st.just("write"), st.just(0)),
    ),
    max_size=12,
)


#: Calls on the way are known to the next life, whose own grants come later.
DATED_ONCE = [[("ask", 0)]] * 3 + [[("wait", SECOND), ("ask", 0)], [("wait", MINUTE), ("wait", SECOND), ("ask", 0)]]


@pytest.mark.promise("R62")
@example(DATED_ONCE)
@given(st.lists(KILLED, min_size=2, max_size=12))
def test_killed_lives_deny_a_call_only_where_one_long_life_would_a_moment_later(lives: list[list[tuple[str, int]]]) -> None:
    system = System()
    # Of each grant its scope, and the last instant at which its life has granted anything, or learned of an answer.
    before: list[tuple[int, int]] = []

    with folder() as path:
        for actions in lives:
            life = Life(path, system, 1, f"{WINDOW} per minute strict", "5 per day strict")
            granted, latest = [], 0
            for what, value in actions:
                match what:
                    case "ask":
                        if life.ask(value, PLAIN):
                            granted.append(value)
                            latest = system.now
                        elif not life.waits:
                            uses = [*before, *((place, latest) for place in granted)]
                            minute = [place for place, dated in uses if dated + MARGIN + MINUTE > system.now]
                            full = minute.count(0) >= WINDOW if value == 0 else [place for place, _ in uses].count(1) >= 5
                            assert full or len(minute) >= SHARED
                    case "answer":
                        latest = system.now if life.calls else latest
                        life.answer()
                    case "wait":
                        system.now += value
                    case _:
                        SlowWriter.latest.work(9)
            before += [(place, latest) for place in granted]
            life.end(0)


def test_a_scope_that_has_made_room_leaves_no_record_and_may_still_learn_of_outcomes() -> None:
    with folder() as path:
        system = System()
        life = Life(path, system)
        life.ask(0, PLAIN)
        SlowWriter.latest.work(9)
        life.keeper.forget("x:get")
        for until in (2, 3):
            life.scopes[0].pause_alone().until = Instant(until * system.now)
            life.end_step(life.scopes[0])
        life.end(None)

        file = StateFile(path, system.clock)
        assert {"global", "provider x"} == file.records.keys()
        file.close()


def test_a_death_costs_no_more_than_half_of_a_limit() -> None:
    tariffs = [tariff_of([("requests", capacity, rate)]) for capacity, rate in ((40, 40.0), (20, 1000.0), (1000, 1.0))]
    assert [20, 10, 64] == [tariff.most for tariff in tariffs if tariff is not None]


@pytest.mark.promise("R04", "R62")
@given(st.lists(st.integers(1, 3 * SECOND), min_size=1, max_size=5), st.integers(0, 3 * SECOND), st.integers(0, SECOND))
def test_places_of_a_killed_life_come_back_a_margin_and_the_usual_duration_after_the_last_grant(
    durations: list[int], calling: int, gap: int
) -> None:
    system = System()
    with folder() as path:
        life = Life(path, system, 25, "3 in flight", "3 in flight")
        for took in durations:
            assert life.ask(0, PLAIN)
            system.now += took
            life.answer()
        assert life.ask(0, PLAIN)
        assert life.ask(0, PLAIN)
        usual = life.scopes[0].limits[0].places(life.clock())[3]  # type: ignore[attr-defined] # of a limit in flight
        granted_at = system.now
        system.now += calling
        life.end(0)
        system.now += gap
        back_at = max(granted_at + MARGIN, system.now) + usual
        last_at = system.now + MARGIN + usual
        # The life that takes the last place is killed as well, and so is one that finds none: dates stay as they are.
        for free in (True, False):
            life = Life(path, system, 25, "3 in flight", "3 in flight")
            assert [free, False] == [life.ask(0, PLAIN) for _ in range(2)]
            life.end(0)
        life = Life(path, system, 25, "3 in flight", "3 in flight")
        system.now = back_at - 1
        before = life.ask(0, PLAIN)
        system.now += 1
        granted = [before, *(life.ask(0, PLAIN) for _ in range(3))]
        life.end(0)

    assert [False, True, True, last_at == back_at] == granted


COSTED = Request(3, {"tokens": 7})
#: More than any credit.
LARGE = Request(3_000, {"tokens": 7_000})
TARIFFS = Tariff({"requests": 1}, 1_500), Tariff({"requests": 1, "tokens": 2}, 800), Tariff({"tokens": 1}, 3_000)


def double(request: Request) -> int:
    """The points of a request that costs twice as much."""
    return TARIFFS[1].points(Request(2 * request.cost, request.units))


class Ahead:
    """Two marks over three accounts, and each point that they grant, lease and leave to a slice, counted one by one."""

    def __init__(self) -> None:
        self.now = Instant(SECOND)
        self.accounts = [Account("", tariff, write=self.write, cells=new_cells(), wait=self.wait) for tariff in TARIFFS]
        one, two, three = (Charge(account, account.tariff.points(PLAIN), account.tariff.points) for account in self.accounts)
        self.charges = (one, two, three), (two._replace(plain=2, points=double),)
        self.marks = [Mark(charges) for charges in self.charges]
        self.used, self.leased, self.plain = [0, 0, 0], [0, 0], [0, 0]
        #: When each mark has drawn a slice, how many plain requests it had granted then, and how many without a pause.
        self.looked = [(0, 0, 0)] * 2
        #: What may be granted of accounts with other limits, until a record has begun since.
        self.followed: dict[Account, int] = {}
        #: What a reader of the latest record takes for granted, and a reader of the next one.
        self.bounds, self.next = {account: account.limit for account in self.accounts}, dict[Account, int]()

    def write(self, account: Account, *, lower: bool = False) -> None:
        self.followed.pop(account, None)
        assert (account.wants or lower, account.writing) == (True, False)
        ahead = account.begin(self.now, lower=lower)
        assert account.covered == self.used[self.accounts.index(account)]
        self.next[account] = account.covered + ahead

    def wait(self, done: Callable[[], bool]) -> bool:
        self.written()
        return done()

    def written(self) -> None:
        for account in self.accounts:
            if account.writing:
                account.written()
                self.bounds[account] = self.next[account]

    def spend(self, which: int, request: Request, count: int = 1) -> None:
        for account, plain, points in self.charges[which]:
            self.used[self.accounts.index(account)] += count * (plain if request is PLAIN else points(request))
        self.plain[which] += count if request is PLAIN else 0

    def ask(self, which: int, request: Request) -> None:
        mark, plain = self.marks[which], request is PLAIN
        left = mark.left if plain else 0
        costs = [(charge.account.room, charge.plain if plain else charge.points(request)) for charge in self.charges[which]]
        assert mark.is_tight(request) == (not left and any(cost > room for room, cost in costs))
        # A request that is not plain finds what is left of the slice of its scope as well.
        returned = [0 if plain else mark.left * charge.plain for charge in self.charges[which]]
        short = any(cost > room + more for (room, cost), more in zip(costs, returned, strict=True))
        assert mark.short(self.now, request) == (short and not left)
        if short and not left and which:
            mark.flush()
            assert all(account.writing for account, _, _ in self.charges[which] if account.waiting)
            return
        # The record that is written next covers the request, whatever it costs.
        assert not short or left or mark.wait(self.now, request)
        mark.commit(self.now, request)
        self.spend(which, request)
        if left:
            assert mark.left == left - plain
        elif plain:
            self.drawn(which)

    def drawn(self, which: int) -> None:
        """A slice lasts for 5 ms at the rate so far, and is a small part of the room, and of the calls without a pause."""
        left, count = self.marks[which].left, self.plain[which]
        at, before, run = self.looked[which]
        lasts = (count - before) * 5_000 // max(1, self.now - at)
        run = run + count - before if lasts else 0
        self.looked[which] = self.now, count, run
        assert left <= min(lasts, run // 8)
        for account, plain, _ in self.charges[which]:
            assert 64 * plain * left <= account.room + plain * left
            assert not plain or account.cells[AT] == self.now * PRIME

    def renew(self, which: int) -> None:
        mark, charged = self.marks[which], [(account, plain) for account, plain, _ in self.charges[which] if plain]
        while mark.left:
            self.ask(which, PLAIN)
        wanted = [account.wants or 2 * (account.room - plain) < account.credit for account, plain in charged]
        assert mark.renew(self.now) == (not any(wanted))
        if not any(wanted):
            self.spend(which, PLAIN)
            self.drawn(which)

    def lease(self, which: int, count: int) -> None:
        """Leases, or has half of what is leased used and the other half returned."""
        mark, leased = self.marks[which], self.leased[which]
        if leased:
            self.leased[which] = 0
            mark.collect(self.now, leased // 2)
            self.spend(which, PLAIN, leased // 2)
            mark.reclaim(leased - leased // 2)
            return
        found = mark.leasable(self.now)
        assert not mark.left
        charged = [(account, plain) for account, plain, _ in self.charges[which] if plain]
        assert found == min(account.room // plain for account, plain in charged)
        assert all(one.wants for one, _ in charged if one.credit < one.tariff.most and 2 * one.room < one.tariff.most)
        self.leased[which] = min(found, count)
        mark.lease(self.leased[which])

    def lower(self) -> None:
        for account in self.accounts:
            if not account.writing:
                self.write(account, lower=True)

    def step(self, what: str, which: int, times: int) -> None:
        match what:
            case "plain":
                self.ask(which, PLAIN)
            case "costed":
                self.ask(which, LARGE if times == 8 else COSTED)
            case "renew":
                self.renew(which)
            case "lease":
                self.lease(which, 9 * times)
            case "look":
                self.marks[which].flush()
            case _:
                {"written": self.written, "close": self.close, "follow": self.follow, "lower": self.lower}[what]()

    def check(self) -> None:
        marks = list(zip(self.marks, self.charges, self.leased, strict=True))
        for account, used in zip(self.accounts, self.used, strict=True):
            ahead = sum(
                (mark.left + leased) * one.plain for mark, all_, leased in marks for one in all_ if one.account is account
            )
            assert used + ahead == account.granted == account.cells[GRANTED] // PRIME <= self.bounds[account]
            assert ahead <= account.out == account.cells[OUT] // PRIME
            assert account.granted <= self.followed.get(account, account.granted)
            # What a slice has granted is known when it is closed.
            assert account.open or ahead == account.out

    def follow(self) -> None:
        for account, tariff in zip(self.accounts, TARIFFS, strict=True):
            account.follow(Tariff(tariff.quanta, tariff.most * 3 - 1 - account.tariff.most))
            self.followed[account] = account.granted

    def close(self) -> None:
        for account in self.accounts:
            account.close(self.now)
            assert not account.open
        assert all(not mark.left for mark in self.marks)


@pytest.mark.promise("R62")
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["plain", "plain", "plain", "renew", "costed", "lease", "written", "close", "look", "follow", "lower"]
            ),
            st.sampled_from([0, 0, 1]),
            st.sampled_from([1, 8, 80]),
            st.sampled_from([0, 1, 20, SECOND]),
        ),
        min_size=5,
        max_size=30,
    )
)
def test_an_account_counts_each_request_once_whether_granted_or_leased_or_left_of_a_slice(
    steps: list[tuple[str, int, int, int]],
) -> None:
    world = Ahead()
    for what, which, times, gap in steps:
        for _ in range(times):
            world.now = Instant(world.now + gap)
            world.step(what, which, times)
        world.check()


def test_of_many_plain_requests_in_a_row_few_look_at_an_account() -> None:
    world, looks = Ahead(), 0
    for _ in range(600):
        world.now = Instant(world.now + 20)
        looks += not world.marks[0].left
        world.ask(0, PLAIN)

    assert looks < 150
