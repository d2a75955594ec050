"""`governor presets`: lists the presets of providers, or prints one as a part of a policy file."""

import argparse
from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import msgspec

from governor.config import Config
from governor.config.names import join, quoted
from governor.presets import Figure, built_in, find, reference

if TYPE_CHECKING:
    from governor.cli.completion import Commands

_DESCRIPTION: Final = (
    "Lists the presets, which are the published limits of providers, with the source and the date of each figure. A policy "
    'file uses one by its name, as in preset = "github/token". With a PRESET, prints its settings as a part of a policy file.'
)


def add_to(commands: "Commands") -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("presets", help="list the published limits of providers", description=_DESCRIPTION)
    parser.add_argument(
        "preset", nargs="?", metavar="PRESET", help="a preset such as 'github/token', or the path of a preset file"
    )
    parser.set_defaults(run=_run)


def _run(said: argparse.Namespace) -> int:
    lines = _list() if said.preset is None else _settings(said.preset)
    print("\n".join(lines))
    return 0


def in_use(config: Config) -> Iterator[str]:
    """The presets that a configuration uses, with the source and the date of each figure, as comments."""
    for name, settings in config.provider.items():
        if settings.preset is not None:
            preset, tier, _ = find(settings.preset)
            meant = f", which is {tier}" if tier and not settings.preset.endswith(f"/{tier}") else ""
            yield f"# {join('provider', name)}: preset {quoted(settings.preset)}{meant}"
            yield from dict.fromkeys(f"#   {figure.says}: {_source(figure)}" for figure in preset.of(tier))
            yield ""


def _list() -> Iterator[str]:
    for name, preset in built_in().items():
        yield f"{name}: {preset.title}"
        for tier in preset.tiers or ("",):
            yield f"  {reference(name, tier)}" + (f"  ({preset.tiers[tier]})" if tier else "")
            for key, limits in preset.limits(tier).items():
                yield f"    {f'{key}: ' if key else ''}{', '.join(limits)}"
        yield from (f"  {line}" for line in dict.fromkeys(_source(figure) for figure in preset.figures))
        yield ""
    yield "governor presets NAME prints the settings of one, and why a figure is not verified."


def _settings(said: str) -> Iterator[str]:
    """The settings of a preset as a policy file: above each section the figures from which it follows."""
    preset, tier, name = find(said, field="PRESET")
    yield from _comment(preset.title + (f", {tier}: {preset.tiers[tier]}" if tier else "") + ". " + preset.note)
    for table, sections in preset.settings(name, tier).items():
        for section, settings in sections.items():
            yield ""
            for figure in preset.of(tier):
                if figure.place(name) == (table, section):
                    yield from _comment(f"{figure.says} ({_source(figure)})", figure.unverified or "")
            yield f"[{join(table, section)}]"
            yield from (f"{key} = {_toml(value)}" for key, value in settings.items())


def _source(figure: Figure) -> str:
    """Where and when a figure was published: `https://acme.example/limits, 2026-11-26`."""
    return f"{figure.source}, {figure.date}" + ("" if figure.unverified is None else ", not verified")


def _comment(*paragraphs: str) -> Iterator[str]:
    yield from (
        f"# {line}" for paragraph in paragraphs for line in wrap(paragraph, 118, break_long_words=False, break_on_hyphens=False)
    )


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{join('', key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return quoted(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
