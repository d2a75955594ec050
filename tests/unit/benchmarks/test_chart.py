"""The chart: one line for each contender, readable on any ground."""

from itertools import pairwise
from xml.etree import ElementTree

from benchmarks.chart import draw
from benchmarks.contention.exactness import OVER
from benchmarks.contention.threads import COUNTS, together
from benchmarks.contract import Contender, Family, Sample
from benchmarks.machine import Machine
from benchmarks.results import Results

MACHINE = Machine(measured_at="today", processor="one", cpus=2, system="Linux", python="CPython 3", packages={}, load=None)
SVG = "{http://www.w3.org/2000/svg}"


def contender(name: str, family: Family = Family.THREADS) -> Contender:
    return Contender(name=name, family=family, entry="x:y", size=1, quick_size=1, title=f"<{name}>", does="")


def chart(**per_second: float) -> ElementTree.Element:
    samples = [
        Sample(name, number, {together(count): value for count in COUNTS})
        for name, value in per_second.items()
        for number in range(2)
    ]
    contenders = [*map(contender, per_second), contender("elsewhere", Family.PAIRS)]
    return ElementTree.fromstring(draw(Results(MACHINE, tuple(samples)), contenders))


def labels(root: ElementTree.Element) -> dict[str, float]:
    return {text.text or "": float(text.attrib["y"]) for text in root.iter(f"{SVG}text") if (text.text or "").startswith("<")}


def test_every_contender_of_the_family_has_its_line_and_its_name() -> None:
    root = chart(ours=1e6, theirs=1e5)

    assert (2, {"<ours>", "<theirs>"}) == (len(list(root.iter(f"{SVG}polyline"))), set(labels(root)))


def test_a_line_has_a_point_for_each_number_of_threads_and_more_is_higher() -> None:
    root = chart(ours=1e6, theirs=2e5)
    points = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    heights = [float(line[0].split(",")[1]) for line in points]

    assert [len(COUNTS)] * 2 == [len(line) for line in points]
    assert heights[0] < heights[1]


def test_ten_times_as_many_are_always_as_much_higher() -> None:
    lines = list(chart(a=1e6, b=1e5, c=1e4).iter(f"{SVG}polyline"))
    a, b, c = (float(line.attrib["points"].split()[0].split(",")[1]) for line in lines)

    assert abs((b - a) - (c - b)) < 0.2


def test_names_of_lines_that_meet_do_not() -> None:
    places = sorted(labels(chart(a=1e6, b=1e6, c=1e6, d=1.01e6)).values())

    assert [] == [upper for upper, lower in pairwise(places) if lower - upper < 15]


def test_only_the_line_of_one_that_admits_too_much_is_dashed() -> None:
    samples = tuple(Sample(name, 0, {together(8): 1e6, OVER: over}) for name, over in (("exact", 0.0), ("loose", 2.0)))
    root = ElementTree.fromstring(draw(Results(MACHINE, samples), [contender("exact"), contender("loose")]))

    assert [False, True] == ["stroke-dasharray" in line.attrib for line in root.iter(f"{SVG}polyline")]


def test_it_is_drawn_for_light_and_for_dark_ground() -> None:
    style = next(chart(ours=1e6, theirs=1e5).iter(f"{SVG}style")).text or ""

    assert "prefers-color-scheme:dark" in style
