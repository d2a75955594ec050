"""What survives: lives that end in order and lives that are killed, one after another, against a log of every grant."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from governor._actors import keeper as keepers
from governor._actors.keeper import Keeper
from governor._actors.portal import Portal
from governor._store.earlier import EarlierLives
from governor._store.file import StateFile, ToWrite
from governor._store.writer import Entry
from governor._units import MINUTE, SECOND, Instant
from governor.config import parse_limit
from governor.policies.breaker_parameters import Breaker
from governor.policies.budget import Budget, BudgetLimit, Budgets
from governor.policies.contract import PLAIN, Request
from governor.policies.degraded import Degraded, DegradedPolicy
from governor.policies.mark import tariff_of
from governor.policies.pipeline import DEFAULT_ARRIVALS, Pipeline, PipelineSettings
from governor.policies.provider import ProviderParameters, ProviderPolicies
from governor.policies.request_cap import RequestCap, RequestCapPolicy
from governor.policies.server_limits import ServerLimits

WINDOW, BURST, RATE, SHARED, CAP, BUDGET = 4, 3, 6, 8, 10, 9


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
        found = [ToWrite(one.key, one.ahead, one.rests_at, one.recovers, one.body()) for one in batch if one.body is not None]
        self.file.write(found, [one.key for one in batch if one.body is None], ended=ended)
        for entry in batch:
            entry.written()

    def finish(self, entries: list[Entry]) -> None:
        self.queue += entries
        self.work(len(self.queue), ended=True)
        self.file.close()


class Life:
    """A governor with two scopes of one provider, as far as its policies go."""

    def __init__(self, folder: Path, clock: Callable[[], Instant], scale: int = 1) -> None:
        self.clock = clock
        with patch.object(keepers, "Writer", SlowWriter):
            # Only the thread of a real writer posts to the portal.
            self.keeper = Keeper(EarlierLives(folder, clock), now=clock, portal=cast("Portal", None), wake=bool)
        self.cap, self.degraded = RequestCapPolicy(RequestCap(scale * CAP)), DegradedPolicy(Degraded())
        each = Budget(("*",), (BudgetLimit("requests", scale * BUDGET, MINUTE),))
        self.budgets = Budgets({"all": each})
        self.keeper.restore_global(self.cap, self.degraded, self.budgets)
        limits = (parse_limit(f"{scale * SHARED} per minute strict"),)
        self.provider = self.keeper.provider(ProviderPolicies("x", ProviderParameters(limits=limits)))
        self.scopes = [
            self._scope("x:get", f"{scale * WINDOW} per minute strict"),
            self._scope("x:post", f"{scale * RATE}/minute burst {scale * BURST}"),
        ]

    def _scope(self, name: str, limit: str) -> Pipeline:
        settings = Breaker(), (parse_limit(limit),), False, 1.0, DEFAULT_ARRIVALS
        pipeline = self.keeper.scope(name, self._build(name, settings, ServerLimits()), self._build)
        self.keeper.attach(name, pipeline)
        return pipeline

    def _build(self, name: str, settings: PipelineSettings, own_server: ServerLimits) -> Pipeline:
        breaker, limits, exempt, max_debt, arrivals = settings
        return Pipeline(
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
        )

    def ask(self, place: int, request: Request) -> bool:
        now, pipeline = self.clock(), self.scopes[place]
        granted = pipeline.verdict(now, request).when <= now and self.budgets.earliest(now, "label", request) <= now
        if granted:
            pipeline.commit(now, request)
            self.budgets.commit(now, "label", request)
        self.end_step(pipeline)
        return granted

    def end_step(self, pipeline: Pipeline) -> None:
        self.keeper.look_at(pipeline.guard.name, pipeline)
        assert pipeline.mark is not None
        pipeline.mark.flush()

    def look(self) -> None:
        self.keeper._look()

    def end(self, writes: int | None) -> None:
        """In order, or killed after so many writes."""
        if writes is None:
            self.keeper.finish()
        else:
            SlowWriter.latest.work(writes)
            SlowWriter.latest.file.close()


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="state-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield path
    shutil.rmtree(path)


Grants = list[tuple[int, int, int]]

#: In place of the cost of a call: what has been asked for so far is written.
WRITE = 0
COSTS = st.lists(st.sampled_from([1, 1, 1, 2, WRITE, WRITE]), min_size=1, max_size=6)
ACTIONS = st.one_of(
    st.tuples(
        st.just("ask"),
        st.sampled_from([0, 0, 1]),
        st.lists(st.sampled_from([1, 1, 1, 2, WRITE, WRITE]), min_size=1, max_size=6),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, SECOND, 5 * SECOND, 31 * SECOND]), st.none()),
    st.tuples(st.just("look"), st.none(), st.none()),
)
#: What happens in one life, and how many records are still written before it is killed; None: it ends in order.
LIVES = st.lists(
    st.tuples(st.lists(ACTIONS, max_size=6), st.sampled_from([0, 0, 1, 3, None])),
    min_size=3,
    max_size=16,
)


def most_in_a_minute(grants: list[tuple[int, int]]) -> int:
    return max((sum(cost for at, cost in grants if first <= at < first + MINUTE) for first, _ in grants), default=0)


@pytest.mark.promise("R62")
@example(1, [([("ask", 0, [1, 1, 1, 1])], 0)] * 6)
@example(1, [([("ask", 0, [1, WRITE, 1, WRITE, 1, 1])], 0)] * 6)
@given(st.sampled_from([1, 1, 25]), LIVES)
def test_no_window_holds_more_than_its_limit_whenever_the_process_dies(
    scale: int, lives: list[tuple[list[tuple[str, object, object]], int | None]]
) -> None:
    now = 1_000 * SECOND
    granted: Grants = []

    def clock() -> Instant:
        return Instant(now)

    with folder() as path:
        for actions, writes in lives:
            life = Life(path, clock, scale)
            for what, how, costs in actions:
                match what, how, costs:
                    case "ask", int(place), list():
                        for cost in costs * scale:
                            if cost == WRITE:
                                SlowWriter.latest.work(4)
                            elif life.ask(place, PLAIN if cost == 1 else Request(cost)):
                                granted.append((now, cost, place))
                    case "wait", int(span), _:
                        now += span
                    case _:
                        life.look()
            life.end(writes)

    assert most_in_a_minute([(at, cost) for at, cost, place in granted if place == 0]) <= scale * WINDOW
    assert most_in_a_minute([(at, cost) for at, cost, place in granted if place == 1]) <= scale * (BURST + RATE)
    assert most_in_a_minute([(at, cost) for at, cost, _ in granted]) <= scale * SHARED


def test_a_scope_that_has_made_room_leaves_no_record_and_may_still_learn_of_outcomes() -> None:
    with folder() as path:
        life = Life(path, lambda: Instant(SECOND))
        life.ask(0, PLAIN)
        SlowWriter.latest.work(9)
        life.keeper.forget("x:get")
        for until in (2, 3):
            life.scopes[0].own_cooldown.until = Instant(until * SECOND)
            life.end_step(life.scopes[0])
        life.end(None)

        file = StateFile(path, lambda: Instant(SECOND))
        assert {"global", "provider x"} == file.records().keys()
        file.close()


def test_a_death_costs_no_more_than_half_of_a_limit() -> None:
    tariffs = [tariff_of([("requests", capacity, rate)]) for capacity, rate in ((40, 40.0), (20, 1000.0), (1000, 1.0))]
    assert [20, 10, 64] == [tariff.most for tariff in tariffs if tariff is not None]
