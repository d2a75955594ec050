"""Files that are written, kept and removed."""

import pytest

from governor.errors import ConfigError
from governor.instrumentation._log_files import Budget, LogFile, day_of, expired, log_file

MEGABYTE = 1_000_000
TODAY = day_of(1_760_745_600.0)  # 2025-10-18, at midnight.


def files(*parts: tuple[int, int, int]) -> list[LogFile]:
    """So many days ago, number, size."""
    return [LogFile(TODAY - ago, number, size) for ago, number, size in parts]


def test_a_file_is_named_after_its_day_and_its_number() -> None:
    assert "governor-2025-10-18-0007.jsonl" == LogFile(TODAY, 7).name


def test_a_day_begins_at_midnight_of_utc() -> None:
    assert [TODAY - 1, TODAY, TODAY] == [day_of(1_760_745_599.999), day_of(1_760_745_600.0), day_of(1_760_831_999.0)]


@pytest.mark.parametrize("file", [LogFile(TODAY, 1, 5), LogFile(TODAY, 123_456, 0), LogFile(0, 1, 9)])
def test_a_name_says_which_file_it_is(file: LogFile) -> None:
    assert file == log_file(file.name, file.size)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "governor.jsonl",
        "governor-2025-10-18-0001.jsonl.gz",
        "governor-2025-13-18-0001.jsonl",
        "governor-2025-10-18.jsonl",
    ],
)
def test_other_files_are_none_of_ours(name: str) -> None:
    assert log_file(name, 5) is None


@pytest.mark.promise("R42")
def test_nothing_is_kept_for_longer_than_three_days() -> None:
    kept = [file for file in files(*((ago, 1, 0) for ago in range(-3, 6))) if file not in expired([file], TODAY)]

    assert files((-1, 1, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0)) == kept


def test_the_newest_file_of_the_day_is_written_until_it_has_an_eighth_of_the_budget() -> None:
    budget = Budget(MEGABYTE)
    before = files((1, 9, 5), (0, 1, 125_000), (0, 2, 100_000))

    assert LogFile(TODAY, 2, 100_000) == budget.current(before, TODAY, 25_000)
    assert LogFile(TODAY, 3) == budget.current(before, TODAY, 25_001)
    assert LogFile(TODAY, 1) == budget.current(before[:1], TODAY, 1)


@pytest.mark.promise("R42")
def test_what_does_not_fit_beside_the_file_that_is_written_goes_the_oldest_first() -> None:
    budget = Budget(MEGABYTE)
    others = files((0, 9, 125_000), (1, 4, 250_000), (0, 10, 125_000), (2, 7, 250_000), (0, 2, 125_000))
    current = LogFile(TODAY, 11)

    assert files((2, 7, 250_000)) == list(budget.excess([*others, current], current))
    assert [] == list(budget.excess(files((1, 4, 750_000)), current))
    assert files((1, 4, 750_001)) == list(budget.excess(files((1, 4, 750_001)), current))


def test_a_budget_of_less_than_a_megabyte_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^max_size is 999999; expected a whole number from 1000000"):
        Budget(999_999)
