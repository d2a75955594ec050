"""Time lines as SVG: a strip for each contender, with answers above its line, denials below it, and bans shaded."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from benchmarks.bans.measures import BINS, Measures

_WIDTH: Final = 860
_LEFT, _RIGHT, _TOP = 210, 16, 62
_STRIP, _UP, _DOWN = 56, 32, 18
_LIGHT: Final = ("#ffffff", "#24292f", "#d0d7de", "#1a7f37", "#cf222e", "#ffebe9")
_DARK: Final = ("#0d1117", "#e6edf3", "#30363d", "#56d364", "#ff7b72", "#3c1618")


def draw(heading: str, runs: Sequence[tuple[str, Measures]], minutes: float) -> str:
    """The chart of one scenario, whose runs take so many minutes: calls come in the first half."""
    height = _TOP + _STRIP * len(runs) + 40
    scale = max(1, *(count for _, run in runs for count in run.timeline.answered))
    parts = [part for place, (title, run) in enumerate(runs) for part in _strip(place, title, run, scale, minutes)]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(heading)}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>',
        f'<text class="heading" x="16" y="24">{escape(heading)}</text>',
        '<text x="16" y="43">Above each line: calls answered. Below: requests denied. Shaded: banned.</text>',
        *parts,
        *_axis(minutes, _TOP + _STRIP * len(runs)),
    ]
    return "\n".join([*lines, "</svg>\n"])


def _strip(place: int, title: str, run: Measures, scale: int, minutes: float) -> Iterator[str]:
    base = _TOP + place * _STRIP + _UP
    for since, until in run.timeline.bans:
        x, end = _x(since / 60, minutes), _x(until / 60, minutes)
        yield f'<rect class="ban" x="{x:.1f}" y="{base - _UP}" width="{max(1.0, end - x):.1f}" height="{_UP + _DOWN}"/>'
    for counts, kind, room, up in (
        (run.timeline.answered, "answered", _UP - 2, True),
        (run.timeline.denied, "denied", _DOWN - 2, False),
    ):
        path = "".join(
            f"M{_bin(number):.1f} {base}v{(-1 if up else 1) * max(1.0, min(1.0, count / scale) * room):.1f}"
            for number, count in enumerate(counts)
            if count
        )
        if path:
            yield f'<path class="{kind}" d="{path}"/>'
    yield f'<line class="grid" x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}"/>'
    yield f'<text x="{_LEFT - 8}" y="{base - 6}" text-anchor="end">{escape(title)}</text>'
    told = f"{run.in_time:,} in time, {run.denied:,} denied"
    yield f'<text class="small" x="{_LEFT - 8}" y="{base + 9}" text-anchor="end">{told}</text>'


def _axis(minutes: float, y: float) -> Iterator[str]:
    for quarter in range(5):
        at = minutes * quarter / 4
        anchor = "end" if quarter == 4 else "middle"
        yield f'<text x="{_x(at, minutes):.1f}" y="{y + 14}" text-anchor="{anchor}">{at:g}</text>'
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield f'<text x="{middle}" y="{y + 32}" text-anchor="middle">minutes; calls come in the first half</text>'


def _x(minute: float, minutes: float) -> float:
    return _LEFT + minute / minutes * (_WIDTH - _LEFT - _RIGHT)


def _bin(number: int) -> float:
    return _LEFT + (number + 0.5) / BINS * (_WIDTH - _LEFT - _RIGHT)


def _style() -> str:
    shape = "text{font:13px system-ui,sans-serif}.heading{font-weight:600}.small{font-size:11px}path{stroke-width:4}"
    return f"{shape}{_theme(_LIGHT)}@media(prefers-color-scheme:dark){{{_theme(_DARK)}}}"


def _theme(colours: tuple[str, ...]) -> str:
    ground, ink, grid, answered, denied, ban = colours
    return (
        f".ground{{fill:{ground}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}"
        f".answered{{stroke:{answered}}}.denied{{stroke:{denied}}}.ban{{fill:{ban}}}"
    )
