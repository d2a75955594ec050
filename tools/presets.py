"""Writes the tables of presets of the reference from their data.

Run as `python -m tools.presets`; a test compares the page with the data.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from governor.presets import Figure, Preset, built_in, reference

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "presets.md"
BEGIN: Final = "<!-- The rest is written by `python -m tools.presets`. -->\n"


def page() -> str:
    """The page with its tables written anew."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[0] + BEGIN + "\n" + "\n".join(_sections())


def _sections() -> Iterator[str]:
    for name, preset in built_in().items():
        yield f"## {name}\n"
        yield f"{preset.title}. {preset.note}".strip() + "\n"
        if preset.hosts:
            yield f"Hosts: {_code(preset.hosts)}.\n"
        if preset.tiers:
            yield "\n".join(f"- `{reference(name, tier)}`: {said}" for tier, said in preset.tiers.items()) + "\n"
        yield "| preset | of | figure | settings | source | date |"
        yield "|---|---|---|---|---|---|"
        yield from (_row(name, preset, figure) for figure in preset.figures)
        yield ""
        reasons = dict.fromkeys(f"*Not verified*, {one.date}: {one.unverified}\n" for one in preset.figures if one.unverified)
        yield from reasons


def _row(name: str, preset: Preset, figure: Figure) -> str:
    tiers = (
        "" if set(figure.tiers or preset.tiers) == set(preset.tiers) else _code(reference(name, tier) for tier in figure.tiers)
    )
    of = _code([figure.key or figure.method or ""]) if figure.key or figure.method else "provider"
    said = figure.says if figure.unverified is None else f"{figure.says}; *not verified*"
    settings = "; ".join(f"`{key} = {value}`" for key, value in figure.settings.items()).replace("'", '"')
    return f"| {tiers or 'all'} | {of} | {said} | {settings} | [page]({figure.source}) | {figure.date} |"


def _code(words: object) -> str:
    return ", ".join(f"`{word}`" for word in words)  # type: ignore[attr-defined] # any iterable


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
