"""The figures that the README repeats are those of the page that `make bench` writes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text().split("## Performance")[1].split("## Documentation")[0]
PAGE = (ROOT / "docs" / "reference" / "benchmarks.md").read_text()


@pytest.mark.parametrize(
    ("said", "row"),
    [
        (
            r"take ([\d.]+) times as long as one",
            r"`try_permit` \+ `record`, to one `acquire` of the textbook \|[^|]*\| ([\d.]+)",
        ),
        (r"get ([\d.]+) times as many", r"8 threads in one scope, to acquires of the textbook \|[^|]*\| ([\d.]+)"),
        (r"adds ([\d.]+) µs", r"limits on clients add to a call of an application \|[^|]*\| ([\d.]+)"),
        (r"are ([\d.]+) times as fast", r"\| pair: `try_permit` \+ `record` (?:\|[^|]*){2}\|[^|]*\| ([\d.]+)x"),
    ],
    ids=["textbook", "threads", "middleware", "compiled"],
)
def test_the_readme_rounds_the_figure_that_was_measured_last(said: str, row: str) -> None:
    (repeated,) = re.findall(said, " ".join(README.split()))
    (measured,) = re.findall(row, PAGE)
    digits = len(repeated.partition(".")[2])
    assert repeated == f"{float(measured):.{digits}f}"
