"""State that survives, with real processes, kills and files."""

import json
import os
import sqlite3
import sys
from pathlib import Path
from shutil import rmtree

import pytest

from governor import Config, Denied, Governor, Permit
from governor._actors import keeper
from governor._actors.actor import ScopeActor
from governor._actors.kept_actor import KeptScopeActor
from governor._store.contract import Unwritable
from governor._store.journal import digest, read_journal
from governor._store.records import scope_key
from governor._supervisor import Supervisor
from governor._units import Duration
from governor.errors import UsageError
from governor.hints import Hint
from governor.testing import ManualClock
from tests.support.programs import run
from tests.support.waits import PATIENCE, until

LIVES = 50
#: Calls in any second.
LIMIT = 25
#: A bucket that is used up by calls in a row, and a cap; of both, requests are granted without a look at their accounts.
RATE, CAP = "100000/s burst 3000", {"requests_per_minute": 60_000}


@pytest.fixture(autouse=True)
def no_call_is_denied_for_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_WRITE_TIMEOUT", PATIENCE)


def keeping(folder: Path, *limits: str, **sections: object) -> Config:
    outbound = {"default": {"limits": limits}}
    return Config.from_mapping({"outbound": outbound, "machine": {"state": str(folder)}, **sections})


#: A program that starts, calls and is killed, again and again. It is forked, as to import it each time takes half a minute.
#: Each life calls each provider until that has denied a call, but for 20 times at most.
CRASH_LOOP = """
    import json, os, signal, time
    from governor import Config, Governor, Permit

    settings, log = json.loads(os.environ["SETTINGS"]), os.open(os.environ["LOG"], os.O_CREAT | os.O_APPEND | os.O_RDWR)
    config, providers, ended = Config.from_mapping(settings), os.environ["PROVIDERS"].split(), []
    with Governor() as governor, governor.permit("api", "get"):
        pass  # Once, so that everything is imported.
    for life in range(int(os.environ["LIVES"])):
        child = os.fork()
        if not child:
            governor = Governor(config).__enter__()
            for provider in providers:
                for call in range(20):
                    permit = governor.try_permit(provider, "get", caller=provider)
                    if not isinstance(permit, Permit):
                        os.write(log, b"overloaded\\n" if permit.reason == "overloaded" else b"")
                        break
                    os.write(log, b"%s %d\\n" % (provider.encode(), time.monotonic_ns()))
                    permit.record(status=200)
            os.kill(os.getpid(), signal.SIGKILL)
        ended.append(os.WTERMSIG(os.waitpid(child, 0)[1]))
    with open(os.environ["LOG"]) as lines:
        print(json.dumps([set(ended) == {9}, [line.split() for line in lines], time.monotonic_ns()]))
"""
LIMITS = {
    "window": [f"{LIMIT} per second strict"],
    "bucket": [f"{LIMIT}/s burst {LIMIT}"],
    "flight": [f"{LIMIT} per second strict", "30 in flight"],
    "day": ["60 per day strict"],
    "budget": ["1000 per second strict"],
}


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
@pytest.mark.promise("R62")
@pytest.mark.parametrize(("lives", "providers"), [(LIVES, ["window", "bucket", "flight", "day"]), (12, ["budget"])])
def test_a_program_that_is_killed_again_and_again_gets_what_one_long_life_would_get(
    lives: int, providers: list[str], tmp_path: Path
) -> None:
    settings = {
        "outbound": {provider: {"limits": limits} for provider, limits in LIMITS.items()},
        "budget": {"all": {"labels": ["budget"], "requests": "60 per day"}},
        "global": {"requests_per_minute": "off"},
        "machine": {"state": str(tmp_path)},
    }

    killed, log, ended_at = json.loads(
        run(
            CRASH_LOOP,
            SETTINGS=json.dumps(settings),
            LIVES=str(lives),
            PROVIDERS=" ".join(providers),
            LOG=str(tmp_path / "log"),
        )
    )
    calls = {provider: [int(line[1]) for line in log if line[0] == provider] for provider in providers}

    assert killed
    assert 60 == len(calls.pop(providers[-1]))
    for provider, times in calls.items():
        seconds, bursts = (ended_at - times[0]) / 1e9, 2 if provider == "bucket" else 1
        assert bursts * LIMIT >= max(sum(first <= one < first + 1e9 for one in times) for first in times)
        # What is granted after the last record of a life counts from its last call on: one window in five may be lost; and
        # nothing is granted while a life begins, which takes longer on a busy machine.
        assert LIMIT * (seconds + 1) >= len(times) >= 0.6 * LIMIT * seconds - LIMIT


def left(folder: Path, *limits: str) -> int:
    """The units of the first limit that a governor finds left."""
    with Governor(keeping(folder, *limits)) as governor:
        governor.try_permit("api", "get")  # Denied or not: then its scope is known.
        return governor.statistics().scopes["api:get"].limits[0].available


def actor_of(governor: Governor) -> ScopeActor:
    backend = governor._access.supervised()
    assert isinstance(backend, Supervisor)
    return backend.actors["api:get"]


@pytest.mark.anyio
async def test_a_scope_whose_state_is_kept_grants_as_any_other_and_counts_each_request_once(tmp_path: Path) -> None:
    clock, ahead = ManualClock(), 0
    config = Config.from_mapping({"outbound": {"default": {"limits": [RATE]}}, "global": CAP})
    kept = keeping(tmp_path, RATE, **{"global": CAP})
    async with Governor(config, clock=clock) as other, Governor(kept, clock=clock) as governor:
        for number in range(4_500):
            clock.advance(0.000_002)
            granted, expected = governor.try_permit("api", "get"), other.try_permit("api", "get")
            actor, beside = actor_of(governor), actor_of(other)
            mark, pipeline, control = actor.ledger.pipeline.mark, actor.ledger.pipeline, beside.ledger.pipeline

            assert mark is not None
            assert isinstance(granted, Permit) is isinstance(expected, Permit)
            assert control.limits[0].state() == pipeline.limits[0].state()
            assert (control.cap.left, beside.counters.requests) == (pipeline.cap.left, actor.counters.requests)
            assert number % 100 or control.cap.state() == pipeline.cap.state()
            assert {actor.counters.requests} == {one.account.granted - mark.left for one in mark._charges}
            ahead += mark.left > 0

    assert ahead > 1_500


@pytest.mark.anyio
async def test_the_journal_knows_at_once_which_calls_have_ended_or_arrived(tmp_path: Path) -> None:
    async with Governor(keeping(tmp_path, "1000 per minute strict", "40 in flight")) as governor:
        for cost, says_so in [(1, False), (1, True), (2, True)] * 8:
            permit = await governor.acquire("api", "get", cost=cost)
            assert (cost, cost) == on_their_way(governor, tmp_path)
            if says_so:
                permit.answered(status=200)
                assert (0, cost) == on_their_way(governor, tmp_path)
            permit.record(status=200)
            assert (0, 0) == on_their_way(governor, tmp_path)


def on_their_way(governor: Governor, folder: Path) -> tuple[int, int]:
    """By the journal: the units that may not have arrived, and the places of calls that may not have ended."""
    actor = actor_of(governor)
    assert isinstance(actor, KeptScopeActor)
    store = actor._keeper.earlier.store
    assert store is not None
    tally = (read_journal(folder / "journal-1", store.head.token) or {})[digest(scope_key("api:get"))].tally
    assert tally.moving is not None
    assert tally.places is not None
    return tally.moving - tally.out, tally.places - tally.out


def test_a_governor_that_is_left_in_order_loses_nothing(tmp_path: Path) -> None:
    config = keeping(tmp_path, "9 per day strict", "90/day burst 20")
    for _ in range(3):
        with Governor(config) as governor:
            for _ in range(2):
                governor.acquire_blocking("api", "get", timeout=5.0).record(status=200)

    with Governor(config) as governor:
        governor.acquire_blocking("api", "get", timeout=5.0).record(status=200)
        assert [2, 13] == [limit.available for limit in governor.statistics().scopes["api:get"].limits]


def test_breakers_pauses_and_budgets_survive_as_well(tmp_path: Path) -> None:
    config = keeping(tmp_path, "90/day burst 20", budget={"all": {"labels": ["team"], "requests": "2 per day"}})
    with Governor(config) as governor:
        for provider in ("api", "team"):
            governor.acquire_blocking(provider, "get", caller="team", timeout=5.0).record(status=200)
        governor.set_breaker("api:get", open_for="1h")

    with Governor(config) as governor:
        denied = governor.try_permit("api", "get"), governor.try_permit("team", "get", caller="team")
        assert ["circuit_breaker_open", "budget_spent"] == [one.reason for one in denied if isinstance(one, Denied)]


def test_what_an_operator_has_closed_stays_closed_and_can_be_opened_before_any_call(tmp_path: Path) -> None:
    config = keeping(tmp_path, "9/day burst 9", provider={"idle": {}})
    with Governor(config) as governor:
        assert isinstance(governor.try_permit("api", "get"), Permit)
        governor.operator.close("api:get", "1h")
        governor.operator.close("api", "1h")
        governor.operator.close("idle", "1h")  # It was never called.
    with Governor(config) as governor:
        assert ["circuit_breaker_open"] * 2 == [
            getattr(governor.try_permit(one, "put"), "reason", None) for one in ("api", "idle")
        ]
    with Governor(config) as governor:
        governor.operator.open("api")
        governor.operator.open("idle")
    with Governor(config) as governor:
        assert all(isinstance(governor.try_permit(one, "get"), Permit) for one in ("api", "idle"))


def test_a_bucket_whose_number_is_too_large_to_be_written_disturbs_no_other_scope(tmp_path: Path) -> None:
    limits = {"api": {"limits": ["9 per day strict"]}, "x": {"limits": ["999999999989/s"]}}
    config = keeping(tmp_path, outbound=limits)
    for calls in (1, 2):
        with Governor(config, clock=ManualClock(86_400.0 * 30)) as governor:
            for provider in ("x", "api") if calls == 1 else ("api",):
                governor.acquire_blocking(provider, "get", timeout=5.0).record(status=200)
            assert 9 - calls == governor.statistics().scopes["api:get"].limits[0].available


@pytest.mark.parametrize("fails", [False, True])
def test_a_scope_learns_of_a_limit_of_a_unit_that_no_record_counts_or_fails_alone(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> int:
        raise RuntimeError

    provider = {"api": {"limits": ["9 per day strict"], "cost": {"get": 0}}}
    with Governor(keeping(tmp_path, provider=provider)) as governor:
        permit = governor.acquire_blocking("api", "get", timeout=5.0)
        if fails:
            monkeypatch.setattr("governor._actors.keeper.shared_points", broken)
        permit.hints([Hint("tokens", remaining=5, reset=Duration(86_400_000_000), scope="provider")])
        permit.record(status=200)
        granted = isinstance(governor.try_permit("api", "get"), Permit)
        assert isinstance(governor.try_permit("other"), Permit)

    assert fails is not granted
    assert fails is ("failed" in caplog.text)
    assert "assert" not in caplog.text.lower()


@pytest.mark.parametrize("damage", ["garbage", "foreign", "version", "page", "record", "empty", "missing"])
def test_a_file_that_cannot_be_read_is_set_aside_and_counts_as_everything_used(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert 8 == left(tmp_path, "9 per hour strict")
    _damage(tmp_path / "state.db", damage)

    assert 0 == left(tmp_path, "9 per hour strict")
    assert "damaged" in caplog.text
    assert (damage != "record") == (tmp_path / "state.db.damaged-1").exists()
    # The next start knows what this one did.
    assert 0 == left(tmp_path, "9 per hour strict")


def _damage(path: Path, how: str) -> None:
    if how == "garbage":
        path.write_bytes(b"no database" * 1000)
        return
    if how in ("empty", "missing"):
        path.unlink()
        if how == "empty":
            path.touch()
        return
    if how == "page":
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(4096))
        return
    sql = sqlite3.connect(path)
    statement = {
        "foreign": "PRAGMA application_id = 1",
        "version": "PRAGMA user_version = 99",
        "record": "UPDATE record SET ahead = ahead + 1",
    }[how]
    sql.execute(statement)
    sql.commit()
    sql.close()


def test_a_folder_that_cannot_be_used_counts_as_everything_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")

    assert 0 == left(tmp_path / "file" / "folder", "9 per hour strict")
    assert "cannot be kept" in caplog.text
    assert "80 %" not in caplog.text


def test_a_folder_has_one_owner_and_names_it(tmp_path: Path) -> None:
    config = keeping(tmp_path, "9 per hour strict")
    with Governor(config), pytest.raises(UsageError, match=f"belongs to process {os.getpid()}"):
        Governor(config).__enter__()


@pytest.mark.parametrize("removed", [False, True])
def test_a_disk_that_is_full_or_a_folder_that_is_removed_holds_up_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, removed: bool
) -> None:
    folder = tmp_path / "state"

    def full(*_: object, **__: object) -> None:
        raise Unwritable("database or disk is full")

    monkeypatch.setattr("governor._store.writer._FIRST_RETRY", 0.001)
    with Governor(keeping(folder, "9 per hour strict")) as governor:
        if removed:
            rmtree(folder)
        else:
            monkeypatch.setattr("governor._store.file.StateFile.write", full)
        for _ in range(9):
            governor.acquire_blocking("api", "get", timeout=5.0).record(status=200)
    monkeypatch.undo()

    assert 0 == left(folder, "9 per hour strict")
    assert (folder / "state.db.damaged-1").exists()


def test_a_folder_that_another_governor_has_made_anew_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("governor._store.writer._FIRST_RETRY", 0.001)
    config = keeping(folder := tmp_path / "state", "9 per hour strict")
    with Governor(config) as first:
        folder.rename(tmp_path / "removed")
        with Governor(config) as second:
            second.acquire_blocking("api", "get", timeout=5.0).record(status=200)
            first.acquire_blocking("api", "get", timeout=5.0).record(status=200)
            until(lambda: "goes on without writing its state" in caplog.text)
            second.acquire_blocking("api", "get", timeout=5.0).record(status=200)

    assert "removed or replaced" in caplog.text
    assert 6 == left(folder, "9 per hour strict")
