"""The chart of throughput by number of threads, as SVG."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from benchmarks.contention.exactness import OVER
from benchmarks.contention.threads import COUNTS, together
from benchmarks.contract import Contender, Family
from benchmarks.results import Results

_WIDTH, _HEIGHT = 860, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 250, 68, 52
#: Pixels between the baselines of two labels.
_LINE_HEIGHT: Final = 17
#: Of each line, on light ground and on dark. The first belongs to the contender that is listed first, and is drawn thicker.
_COLOURS: Final = (
    ("#0550ae", "#79c0ff"),
    ("#bc4c00", "#ffa657"),
    ("#cf222e", "#ff7b72"),
    ("#1a7f37", "#56d364"),
    ("#8250df", "#d2a8ff"),
    ("#9a6700", "#e3b341"),
    ("#57606a", "#8b949e"),
    ("#bf3989", "#f778ba"),
)


class _Line(NamedTuple):
    """Pairs per second of one contender, by number of threads; dashed if it admits too much."""

    title: str
    values: Sequence[float]
    dashed: bool


def draw(results: Results, contenders: Sequence[Contender]) -> str:
    """The chart of all threads in one scope, as far as it was measured."""
    lines = list(_lines(results, contenders))
    powers = [math.log10(value) for line in lines for value in line.values]
    scale = _Scale(math.floor(min(powers)), math.floor(max(powers)) + 1)
    parts = [*_frame(scale), *(part for place, line in enumerate(lines) for part in _drawn(scale, place, line))]
    parts += _labels([(place, line.title, scale.y(line.values[-1])) for place, line in enumerate(lines)])
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">', *parts, "</svg>\n"]
    )


class _Scale:
    """Where a number of pairs per second is, from 10 to the power of `lowest` to 10 to the power of `highest`."""

    def __init__(self, lowest: int, highest: int) -> None:
        self.powers = range(lowest, highest + 1)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self.powers[0]) / (len(self.powers) - 1)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _x(place: int) -> float:
    return _LEFT + 16 + place * (_WIDTH - _LEFT - _RIGHT - 32) / (len(COUNTS) - 1)


def _lines(results: Results, contenders: Sequence[Contender]) -> Iterator[_Line]:
    for contender in contenders:
        if contender.family is Family.THREADS:
            spreads = [results.spread(contender.name, together(count)) for count in COUNTS]
            over = results.spread(contender.name, OVER)
            values = [spread.median for spread in spreads if spread is not None]
            yield _Line(contender.title, values, dashed=over is not None and over.most > 0)


def _frame(scale: _Scale) -> Iterator[str]:
    yield "<title>Pairs per second of threads in one scope</title>"
    yield f"<style>{_style()}</style>"
    yield f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>'
    yield f'<text class="heading" x="{_LEFT}" y="24">Pairs per second, by number of threads in one scope</text>'
    yield f'<text x="{_LEFT}" y="43">Dashed: over-admits.</text>'
    for power in scale.powers:
        y = scale.y(10**power)
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(10**power)}</text>'
    for place, count in enumerate(COUNTS):
        yield f'<text x="{_x(place):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{count}</text>'
    yield f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">threads</text>'


def _drawn(scale: _Scale, place: int, line: _Line) -> Iterator[str]:
    points = [(_x(number), scale.y(value)) for number, value in enumerate(line.values)]
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    yield f'<polyline class="line{place}"{dashes} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
    for x, y in points:
        yield f'<circle class="mark{place}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _labels(wanted: Sequence[tuple[int, str, float]]) -> Iterator[str]:
    """Each beside the end of its line, or as near to it as the one above allows."""
    lowest = _HEIGHT - _BOTTOM - _LINE_HEIGHT * (len(wanted) - 1)
    y = -math.inf
    for number, (place, title, at) in enumerate(sorted(wanted, key=lambda one: one[2])):
        y = max(y + _LINE_HEIGHT, min(at, lowest + number * _LINE_HEIGHT))
        yield f'<text class="mark{place}" x="{_WIDTH - _RIGHT + 8}" y="{y + 4:.1f}">{escape(title)}</text>'


def _short(value: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            return f"{value // size}{unit}"
    return str(value)


def _style() -> str:
    light = _theme("#ffffff", "#24292f", "#d0d7de", [light for light, _ in _COLOURS])
    dark = _theme("#0d1117", "#e6edf3", "#30363d", [dark for _, dark in _COLOURS])
    shape = "text{font:13px system-ui,sans-serif}.heading{font-weight:600}"
    shape += "polyline{fill:none;stroke-width:1.5}.line0{stroke-width:3.5}"
    return f"{shape}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def _theme(ground: str, ink: str, grid: str, colours: Sequence[str]) -> str:
    lines = "".join(f".line{place}{{stroke:{colour}}}.mark{place}{{fill:{colour}}}" for place, colour in enumerate(colours))
    return f".ground{{fill:{ground}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}{lines}"
