"""The report: tables, targets, and its place in the page."""

import msgspec
import pytest

from benchmarks.contention.exactness import OVER
from benchmarks.contention.threads import together
from benchmarks.contract import PAIR_US, BenchmarkError, Contender, Family, Sample
from benchmarks.machine import Machine
from benchmarks.report import BEGIN, CANNOT_PROVE, END, publish, render
from benchmarks.results import Results, json_lines

MACHINE = Machine(
    measured_at="2026-01-02 03:04 UTC",
    processor="Some CPU",
    cpus=2,
    system="Linux x86_64",
    python="CPython 3.11.7",
    packages={"anyio": "4.16.0"},
    load=0.5,
)
TEXTBOOK = Contender(
    name="textbook",
    family=Family.PAIRS,
    entry="x:y",
    size=1,
    quick_size=1,
    title="the textbook",
    does="acquires",
    does_not="no breaker",
)
OURS = Contender(name="try-permit", family=Family.PAIRS, entry="x:y", size=1, quick_size=1, title="ours", does="the whole job")


def report(ours_us: float) -> str:
    samples = [
        sample
        for number in range(5)
        for sample in (Sample("textbook", number, {PAIR_US: 0.5}), Sample("try-permit", number, {PAIR_US: ours_us}))
    ]
    return render(Results(MACHINE, tuple(samples)), [TEXTBOOK, OURS])


def test_a_row_tells_the_figures_the_ratio_and_what_is_compared() -> None:
    row = "| ours | 1.50 (1.50 to 1.50) | 666,667 | 3.00 (3.00 to 3.00) | not measured | the whole job |  |"

    assert row in report(1.5).splitlines()


def test_the_machine_stands_beside_the_figures() -> None:
    text = report(1.5)

    assert [] == [
        word for word in ("2026-01-02", "Some CPU", "2 CPUs", "CPython 3.11.7", "anyio 4.16.0", "0.50") if word not in text
    ]


@pytest.mark.parametrize(("ours_us", "kept"), [(1.65, "yes"), (1.66, "**no**")])
def test_a_target_is_kept_up_to_its_bound_and_missed_above(ours_us: float, kept: str) -> None:
    row = next(line for line in report(ours_us).splitlines() if "3.3 times" in line)

    assert kept == row.split(" | ")[-1].removesuffix(" |")


@pytest.mark.parametrize(("over", "cell"), [((0.0, 0.0), "no"), ((0.0, 499.0), "**by 499**")])
def test_a_row_says_whether_the_limit_was_kept_in_every_round(over: tuple[float, ...], cell: str) -> None:
    contender = msgspec.structs.replace(TEXTBOOK, name="threads-textbook", family=Family.THREADS)
    samples = [Sample(contender.name, number, {together(8): 2_000.0, OVER: excess}) for number, excess in enumerate(over)]
    table = render(Results(MACHINE, tuple(samples)), [contender]).partition("### Threads in one scope")[2]
    titles, _, row = (line.split(" | ") for line in table.splitlines()[2:5])

    assert cell == row[titles.index("over-admits")]


def test_a_family_that_was_not_measured_has_no_table() -> None:
    assert "Memory per scope" not in report(1.5)


def test_the_report_says_what_it_cannot_prove() -> None:
    assert CANNOT_PROVE in report(1.5)


def test_the_report_takes_its_place_in_the_page_and_only_there() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert f"before\n{BEGIN}\n\nnew\n{END}\nafter\n" == publish(page, "new")


def test_publishing_twice_is_publishing_once() -> None:
    page = publish(f"{BEGIN}\n{END}\n", "new")

    assert page == publish(page, "new")


def test_a_page_without_a_place_is_left_alone() -> None:
    with pytest.raises(BenchmarkError, match="the page has no place for the report"):
        publish(f"{END}\n{BEGIN}\n", "new")


def test_results_are_kept_line_by_line_with_the_machine_first() -> None:
    lines = json_lines(Results(MACHINE, (Sample("textbook", 0, {PAIR_US: 0.5}),))).splitlines()

    assert (2, b'{"contender":"textbook","round":0,"values":{"pair_us":0.5}}') == (len(lines), lines[1])
