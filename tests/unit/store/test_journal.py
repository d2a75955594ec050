"""The journal of a life holds as many accounts as there are, and tells the next life of each."""

import os
import sqlite3
import sys
from pathlib import Path
from random import Random
from shutil import copytree
from typing import cast

import pytest

from governor._store.contract import ToWrite, Unusable
from governor._store.file import StateFile
from governor._store.journal import Journal, digest, has_entries, read_journal, writes_known
from governor._units import Instant
from governor.clock import system_clock
from governor.policies.account import FIRST_WITH_JOURNAL, Account, Tariff

TOKEN = b"of this one life"


def test_every_account_is_read_again_beyond_the_first_part_of_the_file_as_well(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", TOKEN)
    slots = {str(number): journal.slot(str(number), number) for number in range(5_000)}
    journal.close()

    found = read_journal(tmp_path / "journal", TOKEN)

    assert found is not None
    assert {digest(key): int(key) for key in slots} == {key: entry.base for key, entry in found.items()}


def test_the_slot_of_an_account_that_has_gone_is_empty_and_the_next_account_gets_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", TOKEN)
    first, _ = journal.slot("first", 1), journal.slot("second", 2)
    journal.release(first)

    assert {digest("second")} == (read_journal(tmp_path / "journal", TOKEN) or {}).keys()
    assert first.obj is journal.slot("third", 3).obj
    assert digest("third") == first[0]
    journal.close()


def test_a_journal_that_is_spoiled_or_of_another_life_is_not_believed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", TOKEN)
    journal.slot("first", 1)

    assert read_journal(tmp_path / "journal", b"of some other one") is None
    journal.note_writes(3)
    journal.spoil()
    assert read_journal(tmp_path / "journal", TOKEN) is None
    # If the state file has lost its latest writes besides, the next life knows that.
    assert 3 == writes_known(tmp_path / "journal")
    journal.close()


def test_a_journal_in_which_any_byte_or_page_has_changed_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, TOKEN)
    for key in ("first", "second"):
        account = Account(key, Tariff({"requests": 1}, 64), write=bool, cells=journal.slot(key, 7), base=7)
        account.spend(Instant(10**12), 5)
        account.hand_out(3)
    journal.close()
    used, random = path.read_bytes().rstrip(b"\0"), Random(0)
    meant = [*range(32), *range(96, 192)]  # The rest of the header means nothing.
    changed = {
        **{f"byte {at}": _with(used, at, bytes([used[at] ^ random.randrange(1, 256)])) for at in meant},
        **{f"cell {at}": _with(used, at, bytes(8)) for at in meant[::8]},
        "all slots": used[:96],
        "the last slot": used[:192],
    }

    assert [(15, 3)] * 2 == [(entry.granted, entry.out) for entry in (read_journal(path, TOKEN) or {}).values()]
    believed = [name for name, some in changed.items() if read_journal(_written(path, some.ljust(len(used), b"\0")), TOKEN)]
    assert [] == believed


def _with(data: bytes, at: int, changed: bytes) -> bytes:
    return data[:at] + changed + data[at + len(changed) :]


def _written(path: Path, begin: bytes) -> Path:
    with path.open("r+b") as file:
        file.write(begin)
    return path


@pytest.mark.parametrize("damaged", [False, True])
def test_after_a_death_the_mark_ahead_counts_in_place_of_a_damaged_journal(tmp_path: Path, damaged: bool) -> None:
    life = StateFile(tmp_path, system_clock)
    assert life.journal is not None
    Account("key", Tariff({"requests": 1}, 64), write=bool, cells=life.journal.slot("key", 0)).spend(Instant(1), 5)
    life._close()
    life._unlock()
    if damaged:
        with (tmp_path / "journal-1").open("r+b") as file:
            file.seek(96 + 8)
            file.write(bytes(8))

    following = StateFile(tmp_path, system_clock)

    assert [(1, FIRST_WITH_JOURNAL)] * damaged == [(one.life, one.first) for one in following.head.takeovers]
    assert [5] * (not damaged) == [loss.tally.points for losses in following.losses.values() for loss in losses.values()]
    following.close()


@pytest.mark.parametrize("lost", ["nothing", "a write", "a life"])
def test_a_state_file_that_has_lost_its_latest_writes_is_believed_as_far_as_its_journal_says_the_rest(
    lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, killed = tmp_path / "state", tmp_path / "killed"
    life = StateFile(folder, system_clock)
    life.write([ToWrite("key", 0, 0, 0, 0, b"first")], [], ended=True)
    life.close()
    life = StateFile(folder, system_clock)
    begun = (folder / "state.db-wal").stat().st_size
    assert life.journal is not None
    account = Account("key", Tariff({"requests": 1}, 64), write=bool, cells=life.journal.slot("key", 0))
    account.spend(Instant(1), 5)
    life.write([ToWrite("key", 0, 3, 0, 0, b"second")], [])
    copytree(folder, killed)
    life.close()
    kept = {"nothing": None, "a write": begun, "a life": 0}[lost]
    (killed / "state.db-wal").write_bytes((killed / "state.db-wal").read_bytes()[:kept])

    following = StateFile(killed, system_clock)
    key = following.records.get("key")
    points = [loss.tally.points for losses in following.losses.values() for loss in losses.values()]

    expected = {"nothing": (b"second", [2], False), "a write": (b"first", [5], False), "a life": (None, [], True)}[lost]
    assert expected == (key and key.body, points, following.damage is not None)
    assert [True] * (lost == "a life") == [one.everything for one in following.head.takeovers]
    assert (lost == "a write") == ("latest writes" in caplog.text)
    following.close()
    # What is begun in its place has no writes missing.
    assert StateFile(killed, system_clock).damage is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE head SET body = replace(body, '\"life\":2', '\"life\":3')",
        "UPDATE loss SET account = account + 1",
        "UPDATE record SET key = 'kex'",
        "UPDATE record SET checksum = 'text'",
    ],
)
def test_a_state_file_in_which_anything_has_changed_but_one_record_is_set_aside(change: str, tmp_path: Path) -> None:
    life = StateFile(tmp_path, system_clock)
    assert life.journal is not None
    life.write([ToWrite("key", 0, 0, 0, 0, b"body")], [])
    Account("other", Tariff({"requests": 1}, 64), write=bool, cells=life.journal.slot("other", 0)).spend(Instant(1), 5)
    life._close()
    life._unlock()
    StateFile(tmp_path, system_clock).close()
    sql = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    assert sql.execute(change).rowcount
    sql.close()

    following = StateFile(tmp_path, system_clock)

    assert following.damage is not None
    assert ({}, {}, True) == (following.records, following.losses, following.head.takeovers[0].everything)
    following.close()


def test_the_journal_of_a_life_that_could_not_begin_is_not_that_of_the_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = StateFile._begin

    def full(self: StateFile, *, new: bool, learning: bool) -> None:
        begin(self, new=new, learning=learning)
        monkeypatch.setattr("governor._store.file.Journal", _none_left)
        monkeypatch.setattr(StateFile, "_begin", begin)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(StateFile, "_begin", full)
    life = StateFile(tmp_path, system_clock)

    assert ("database or disk is full", b"", None) == (life.damage, life.head.token, life.journal)
    life.close()


def _none_left(path: Path, token: bytes) -> Journal:
    raise OSError("no space left on device")


class Dying:
    """Cells of a process that dies before it stores in them."""

    def __getitem__(self, place: int) -> int:
        return 0

    def __setitem__(self, place: int, number: int) -> None:
        raise KeyboardInterrupt


def test_a_process_may_die_while_a_slot_is_given_away_or_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal", TOKEN)
    journal.slot("first", 1)
    with pytest.raises(KeyboardInterrupt):
        journal.release(cast("memoryview", Dying()))
    returned = read_journal(tmp_path / "journal", TOKEN)
    journal._count(1)
    monkeypatch.setattr(journal, "_header", Dying())
    with pytest.raises(KeyboardInterrupt):
        journal.slot("second", 2)

    assert {digest("first")} == (returned or {}).keys()
    assert {digest("first"), digest("second")} == (read_journal(tmp_path / "journal", TOKEN) or {}).keys()
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are those of POSIX")
def test_no_link_in_the_place_of_a_file_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    victim, pipe = tmp_path / "of-another-program", tmp_path / "pipe"
    victim.write_bytes(b"precious")
    for name in ("journal", "lock"):
        (tmp_path / name).symlink_to(victim)
    os.mkfifo(pipe)

    with pytest.raises(OSError, match="journal"):
        Journal(tmp_path / "journal", TOKEN)
    with pytest.raises(Unusable):
        StateFile(tmp_path, system_clock)
    assert (b"precious", None, False) == (victim.read_bytes(), read_journal(pipe, TOKEN), has_entries(pipe))
