"""Draws the layers of the package, from the import contract in pyproject.toml.

Run as `python -m tools.architecture [FILE]`; the default is the picture of the documentation.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "explanation" / "architecture.svg"

_WIDTH: Final = 760
_HEIGHT: Final = 34
_GAP: Final = 12
_MARGIN: Final = 12
_NOTE: Final = "Modules of the package governor, and governor_client. A layer imports only from layers below it."
_STYLE: Final = (
    "rect { fill: #eef3fb; stroke: #5b7db1; } text { font: 13px ui-monospace, monospace; fill: #1c2f4f; text-anchor: middle; } "
    ".note { font: 12px sans-serif; fill: #66758c; text-anchor: start; } "
    "@media (prefers-color-scheme: dark) "
    "{ rect { fill: #22304a; stroke: #7f9fd0; } text { fill: #dfe8f7; } .note { fill: #a9b6ca; } }"
)


def layers(root: Path = ROOT) -> list[list[str]]:
    """The modules of each layer, from the top. A layer imports only from layers below it, and never sideways."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (lines,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    found = ([name.strip() for name in line.split("|")] for line in lines)
    # Names in parentheses are modules that do not exist yet.
    return [names for line in found if (names := [name for name in line if not name.startswith("(") or _exists(name, root)])]


def _exists(name: str, root: Path) -> bool:
    path = root.joinpath(*name.strip("()").split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def picture(lines: Sequence[Sequence[str]]) -> str:
    """The layers as SVG: one row of boxes for each."""
    height = 2 * _MARGIN + 24 + len(lines) * (_HEIGHT + _GAP)
    label = "The layers of traffic-governor, from the command line at the top to the units and errors at the bottom"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">',
            f"<style>{_STYLE}</style>",
            f'<text class="note" x="{_MARGIN}" y="{_MARGIN + 8}">{_NOTE}</text>',
            *(box for row, names in enumerate(lines) for box in _row(names, _MARGIN + 24 + row * (_HEIGHT + _GAP))),
            "</svg>\n",
        ]
    )


def _row(names: Sequence[str], top: int) -> Iterator[str]:
    width = (_WIDTH - 2 * _MARGIN - (len(names) - 1) * _GAP) // len(names)
    for column, name in enumerate(names):
        left = _MARGIN + column * (width + _GAP)
        yield f'<rect x="{left}" y="{top}" width="{width}" height="{_HEIGHT}" rx="5"/>'
        label = escape(name.strip("()").removeprefix("governor."))
        yield f'<text x="{left + width // 2}" y="{top + _HEIGHT // 2 + 5}">{label}</text>'


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PICTURE).write_text(picture(layers()), encoding="utf-8")
