"""Presets as records, and the settings that a preset means for a provider.

A reference to a preset is the name of a built-in one, `github`, or the path of a file, `acme.toml`; with a tier after a `/`:
`github/token`. Without a tier it means the first one of the file, which is the strictest.
"""

import datetime
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from governor._data import data_folder
from governor.errors import ConfigError

#: The settings of a provider and of its scopes, in the shape of the tables `provider` and `outbound` of a policy file.
Settings = Mapping[str, Mapping[str, Mapping[str, object]]]

_SUFFIX: Final = ".toml"
#: The largest file that is read, in bytes.
_MAX_SIZE: Final = 1_000_000
#: How similar a name must be to be suggested: `nope` is none of `openai`.
_SIMILAR: Final = 0.7
#: The fields of a figure that describe it; the others are settings.
_DESCRIPTION: Final = ("says", "source", "date", "unverified", "tiers", "key", "method")


class Figure(msgspec.Struct, frozen=True):
    """What a provider publishes about one limit, and the settings that follow from it.

    `says` is the statement in short; `source` is the address of the page, and `date` the day on which it said so. A figure that
    could not be read on a page of the provider has `unverified`: where it comes from, and what to compare it with.

    `settings` belong to `[provider.NAME]`; with a `key` to `[provider."NAME/key"]`, and with a `method` to
    `[outbound."NAME:method"]`. Without `tiers`, the figure holds for all of them.
    """

    says: str
    source: str
    date: datetime.date
    settings: Mapping[str, object] = {}
    unverified: str | None = None
    tiers: tuple[str, ...] = ()
    key: str | None = None
    method: str | None = None

    def place(self, provider: str) -> tuple[str, str]:
        """The table and the section to which the settings belong, for a provider of this name."""
        if self.method is not None:
            return "outbound", f"{provider}:{self.method}"
        return "provider", provider if self.key is None else f"{provider}/{self.key}"


class Preset(msgspec.Struct, frozen=True):
    """The presets of one file: one for each tier, the strictest first, or a single one in a file without tiers.

    `tiers` maps each name to its description. `note` says what the figures leave out.
    """

    title: str
    figures: tuple[Figure, ...]
    hosts: tuple[str, ...] = ()
    tiers: Mapping[str, str] = {}
    note: str = ""

    @property
    def default(self) -> str:
        """The first tier; empty for a preset without tiers."""
        return next(iter(self.tiers), "")

    def of(self, tier: str) -> Iterator[Figure]:
        """The figures of a tier, in the order of the file."""
        return (figure for figure in self.figures if not figure.tiers or tier in figure.tiers)

    def limits(self, tier: str) -> Mapping[str, list[str]]:
        """The limits of a tier as text: those of the provider under an empty name, then those of each key and method."""
        limits: dict[str, list[str]] = {"": []}
        for figure in self.of(tier):
            said = figure.settings.get("limits")
            limits.setdefault(figure.key or figure.method or "", []).extend(said if isinstance(said, list) else [])
        return {name: said for name, said in limits.items() if said}

    def settings(self, provider: str, tier: str) -> Settings:
        """What a tier means for a provider of this name.

        The limits of a provider replace those of its scopes. Lists of several figures are joined, and tables merged.
        """
        tables: dict[str, dict[str, dict[str, object]]] = {"provider": {}, "outbound": {}}
        tables["provider"][provider] = {"hosts": list(self.hosts)} if self.hosts else {}
        tables["outbound"][provider] = {"limits": []}
        for figure in self.of(tier):
            table, section = figure.place(provider)
            _add(tables[table].setdefault(section, {}), figure.settings)
        return tables


class Found(NamedTuple):
    """What a reference means: the preset, its tier, and its name without the folder and the ending of a file."""

    preset: Preset
    tier: str
    name: str


@cache
def built_in() -> Mapping[str, Preset]:
    """The presets of this package by name."""
    found = sorted(data_folder(__package__, "data").iterdir(), key=lambda entry: entry.name)
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in found if entry.name.endswith(_SUFFIX)}
    return {name.removesuffix(_SUFFIX): read(text, name=name) for name, text in texts.items()}


def reference(name: str, tier: str) -> str:
    """The reference to a tier of a preset: `github/token`."""
    return f"{name}/{tier}" if tier else name


def references() -> list[str]:
    """Every built-in preset and every one of its tiers."""
    return [one for name, preset in built_in().items() for one in (name, *(reference(name, tier) for tier in preset.tiers))]


def find(said: str, *, field: str = "preset") -> Found:
    """The preset and the tier that a reference means; the path of a file is relative to the current directory.

    Raises `ConfigError` for `field` if there is no such preset or tier, naming the most similar preset or all tiers, or if the
    file is not a preset.
    """
    name, tier = _parted(said)
    if name.endswith(_SUFFIX):
        preset = _file(name, said, field)
    elif name in built_in():
        preset = built_in()[name]
    else:
        raise _unknown(said, name, list(built_in()), field)
    if tier and not preset.tiers:
        raise ConfigError(field, said, f"no tier, because {name!r} has none")
    if tier and tier not in preset.tiers:
        raise ConfigError(field, said, f"a tier of {name!r}: {', '.join(preset.tiers)}")
    return Found(preset, tier or preset.default, Path(name).name.removesuffix(_SUFFIX))


def read(text: str, *, name: str) -> Preset:
    """The preset that the text of a file describes. Raises `ConfigError` if it is not a preset; `name` is for the message."""
    try:
        said = msgspec.convert(tomllib.loads(text), _File)
        figures = tuple(_figure(index, one) for index, one in enumerate(said.figures))
        preset = Preset(said.title, figures, said.hosts, said.tiers, said.note)
        _check(preset)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError, ConfigError) as error:
        raise ConfigError("preset", name, "a preset", message=f"preset {name}: {error}") from None
    return preset


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A preset as it is written."""

    title: str
    figures: tuple[object, ...] = ()
    hosts: tuple[str, ...] = ()
    tiers: dict[str, str] = {}
    note: str = ""


def _figure(index: int, said: object) -> Figure:
    if not isinstance(said, Mapping):
        raise ConfigError(f"figures[{index}]", said, "a table [[figures]]")
    settings = {key: value for key, value in said.items() if key not in _DESCRIPTION}
    try:
        return msgspec.convert({**{key: said[key] for key in _DESCRIPTION if key in said}, "settings": settings}, Figure)
    except msgspec.ValidationError as error:
        raise ConfigError(f"figures[{index}]", said, "a figure", message=f"figures[{index}]: {error}") from None


def _check(preset: Preset) -> None:
    if not preset.figures:
        raise ConfigError("figures", [], "at least one table [[figures]]")
    for index, figure in enumerate(preset.figures):
        for tier in figure.tiers:
            if tier not in preset.tiers:
                known = f": {', '.join(map(repr, preset.tiers))}" if preset.tiers else ", which has none"
                raise ConfigError(f"figures[{index}].tiers", tier, f"one of the tiers of the file{known}")
        if not figure.source.startswith("https://"):
            raise ConfigError(f"figures[{index}].source", figure.source, "the address of a page, https://...")
        if figure.key is not None and figure.method is not None:
            raise ConfigError(f"figures[{index}].method", figure.method, "no method, because the figure has a key")


def _add(section: dict[str, object], settings: Mapping[str, object]) -> None:
    for key, value in settings.items():
        before = section.get(key)
        if isinstance(before, list) and isinstance(value, list):
            section[key] = [*before, *value]
        elif isinstance(before, dict) and isinstance(value, dict):
            section[key] = merged = dict(before)
            _add(merged, value)
        else:
            section[key] = value


def _parted(said: str) -> tuple[str, str]:
    """Name and tier of a reference. In a path, the tier is what follows the name of the file."""
    if said.endswith(_SUFFIX):
        return said, ""
    head, suffix, tier = said.rpartition(f"{_SUFFIX}/")
    if suffix:
        return f"{head}{_SUFFIX}", tier
    name, _, tier = said.partition("/")
    return name, tier


def _file(name: str, said: str, field: str) -> Preset:
    try:
        with Path(name).expanduser().open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except (OSError, RuntimeError, ValueError) as error:
        # A home that is not known is a RuntimeError, and a path with a null character a ValueError.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(field, said, "", message=f"{field}: cannot read preset {name!r}: {reason}") from None
    if len(content) > _MAX_SIZE:
        raise ConfigError(field, said, "", message=f"{field}: preset {name!r} is larger than {_MAX_SIZE} bytes")
    try:
        return read(content.decode(), name=name)
    except UnicodeDecodeError:
        raise ConfigError(field, said, "", message=f"{field}: preset {name!r} is not a text file in UTF-8") from None
    except ConfigError as error:
        raise ConfigError(field, said, "a preset", message=f"{field}: {error}") from None


def _unknown(said: str, word: str, known: list[str], field: str) -> ConfigError:
    from difflib import get_close_matches  # loaded only for settings with mistakes

    near = get_close_matches(word.lower(), known, n=1, cutoff=_SIMILAR)
    return ConfigError(field, said, f"a preset (did you mean {near[0]!r}?)" if near else f"a preset: {', '.join(known)}")
