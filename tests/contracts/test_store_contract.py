"""The contract of stores: what one life has written another one finds, with what may have been granted since."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import Config, Governor, PermitDenied
from governor._store.contract import OpenStore, Record, Store, Takeover, ToWrite, Unwritable
from governor._store.earlier import EarlierLives
from governor._store.file import NAME, StateFile
from governor._units import HOUR, Instant
from governor.errors import UsageError
from tests.contracts.memory_store import MemoryStore


class Kind(NamedTuple):
    """A kind of store, how its process dies, and how it is made unable to write."""

    name: str
    open: OpenStore
    kill: Callable[[Store], object]
    fill: Callable[[Store], object]


def _kill_file(store: Store) -> None:
    assert isinstance(store, StateFile)
    store._close()
    store._unlock()


def _fill_file(store: Store) -> None:
    assert isinstance(store, StateFile)
    # After the first of what it writes: no half of a batch may stay.
    store._sql.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON head BEGIN SELECT RAISE(ABORT, 'disk is full'); END")


def _fill_memory(store: Store) -> None:
    assert isinstance(store, MemoryStore)
    store.shelf.full = True


KINDS = (
    Kind("sqlite", StateFile, _kill_file, _fill_file),
    Kind("memory", MemoryStore, lambda store: store.close(), _fill_memory),
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as path:
        yield Path(path)


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> Instant:
        return Instant(self.now)


def record(key: str, ahead: int = 5, body: bytes = b"body") -> ToWrite:
    return ToWrite(key, ahead, 2, 3_000, 4_000, body)


def test_the_first_life_knows_nothing_and_has_nothing_to_learn(kind: Kind, folder: Path) -> None:
    store = kind.open(folder, Time())

    assert (1, (), {}, {}, False, None) == (
        store.head.life,
        store.head.takeovers,
        store.records,
        store.losses,
        store.learning,
        store.damage,
    )
    kind.kill(store)


@pytest.mark.promise("R62")
def test_a_record_is_dropped_only_if_all_that_may_have_been_granted_after_it_has_recovered(folder: Path) -> None:
    first = MemoryStore(folder, Time())
    first.write([record("a")._replace(recovers=0), record("b")._replace(recovers=HOUR)], [])
    first.close()
    lives = EarlierLives(folder, Time(), MemoryStore)

    assert ("a",) == lives.outdated
    assert "b" in lives
    assert lives.store is not None
    lives.store.close()


@pytest.mark.parametrize("damage", ["key = CAST(key AS BLOB)", "life = 9e999"])
def test_a_record_with_a_value_of_another_type_makes_the_file_one_that_is_damaged(damage: str, folder: Path) -> None:
    first = StateFile(folder, Time())
    first.write([record("a")], [])
    first.close()
    with sqlite3.connect(folder / NAME) as sql:
        sql.execute(f"UPDATE record SET {damage}")
    sql.close()
    second = StateFile(folder, Time())
    second.close()

    assert second.damage
    assert ({}, [True]) == (second.records, [one.everything for one in second.head.takeovers])


@given(
    kind=st.sampled_from(KINDS),
    lives=st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3)), st.sets(st.sampled_from("abc")))
            ),
            st.sampled_from(("ends", "is killed", "gives up")),
        ),
        max_size=4,
    ),
)
def test_a_life_finds_what_earlier_ones_have_written_and_how_they_have_ended(
    kind: Kind, lives: list[tuple[list[tuple[dict[str, bytes], set[str]]], str]]
) -> None:
    known: dict[str, tuple[int, bytes]] = {}
    killed: list[int] = []
    life, everything = 1, False
    with TemporaryDirectory() as path:
        for batches, end in lives:
            store = kind.open(Path(path), Time())
            assert (life, life > 1 or everything) == (store.head.life, store.learning)
            for written, removed in batches:
                for key in removed:
                    known.pop(key, None)
                known |= {key: (life, body) for key, body in written.items()}
                store.write([record(key, body=body) for key, body in written.items()], removed)
            if end == "ends":
                store.write([], [], ended=True)
                store.close()
            elif end == "is killed":
                if store.journal is None:  # Else it says that nothing was granted.
                    killed.append(life)
                kind.kill(store)
            else:
                store.give_up()
                known, killed, life, everything = {}, [], 0, True
            life += 1
        store = kind.open(Path(path), Time())
        found = store.records
        kind.kill(store)

    assert {key: Record(of, 5, 2, 3_000, 4_000, body) for key, (of, body) in known.items()} == found
    assert ([0] if everything else []) + killed == [one.life for one in store.head.takeovers]
    assert [everything] * everything + [False] * len(killed) == [one.everything for one in store.head.takeovers]


def test_a_batch_is_written_as_a_whole_or_not_at_all(kind: Kind, folder: Path) -> None:
    store = kind.open(folder, Time())
    store.write([record("a")], [])
    kind.fill(store)

    with pytest.raises(Unwritable):
        store.write([record("a", body=b"other"), record("b")], ["a"])
    kind.kill(store)
    with suppress(AttributeError):
        store.shelf.full = False  # type: ignore[attr-defined] # only that in memory has one

    again = kind.open(folder, Time())
    assert {"a": Record(1, 5, 2, 3_000, 4_000, b"body")} == again.records
    kind.kill(again)


@pytest.mark.promise("R62")
def test_a_store_has_one_owner_until_that_is_gone(kind: Kind, folder: Path) -> None:
    store = kind.open(folder, Time())

    with pytest.raises(UsageError):
        kind.open(folder, Time())
    store.close()

    again = kind.open(folder, Time())
    assert 2 == again.head.life
    kind.kill(again)


def test_the_clock_goes_on_from_earlier_lives(kind: Kind, folder: Path) -> None:
    time = Time()
    time.now = 50_000_000
    store = kind.open(folder, time)
    store.write([], [], ended=True)
    store.close()

    store = kind.open(folder, Time())
    assert 50_000_000 <= 1_000_000 + store.ahead == store.head.moment.instant
    kind.kill(store)


def test_a_store_that_was_given_up_counts_as_everything_used(kind: Kind, folder: Path) -> None:
    kind.open(folder, Time()).give_up()

    store = kind.open(folder, Time())
    assert (Takeover(0, Instant(1_000_000), everything=True),) == store.head.takeovers
    assert store.learning
    assert store.damage is None or kind.name == "memory"
    kind.kill(store)


def used(governor: Governor) -> bool:
    """Whether a call is granted, and makes it. It may wait for the store."""
    try:
        with governor.permit("api", "get", timeout=10.0) as permit:
            permit.record(status=200)
    except PermitDenied:
        return False
    return True


@pytest.mark.promise("R62")
def test_a_governor_goes_on_from_any_store(kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governor._store.earlier.EarlierLives", partial(EarlierLives, open_store=kind.open))
    config = Config.from_mapping({"outbound": {"default": {"limits": ["5 per day strict"]}}, "machine": {"state": str(folder)}})
    granted = []
    for _ in range(2):
        with Governor(config) as governor:
            granted.append(sum(used(governor) for _ in range(3)))

    assert [3, 2] == granted
