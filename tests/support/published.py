"""Test vectors that other projects published, and what we answer to them."""

from collections import Counter
from collections.abc import Iterable, Mapping

#: The name of one thing that a file says, what its project expects, and what we answer.
Row = tuple[str, object, object]


def agree_except(differs: Mapping[str, str], rows: Iterable[Row]) -> None:
    """Fails unless exactly the rows disagree that are listed, each with its reason."""
    answers = list(rows)
    unexplained = [row for row in answers if row[0] not in differs and row[1] != row[2]]
    needless = [name for name, expected, actual in answers if name in differs and expected == actual]

    assert [] == unexplained, "these rows disagree, and no reason is given (name, theirs, ours)"
    assert [] == needless, "these rows are listed as different, but agree"
    assert [] == [name for name, times in Counter(name for name, _, _ in answers).items() if times > 1], "a name for two rows"
    assert set() == differs.keys() - {name for name, _, _ in answers}, "listed, but not in the file"
