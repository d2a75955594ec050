"""The journal of a life holds as many accounts as there are, and tells the next life of each."""

import os
import sys
from pathlib import Path

import pytest

from governor._store.contract import Unusable
from governor._store.file import StateFile
from governor._store.journal import Journal, digest, has_entries, read_journal
from governor.clock import system_clock

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
    journal.spoil()
    assert read_journal(tmp_path / "journal", TOKEN) is None
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
