"""Built-in settings of providers and presets of inbound groups, one data file each.

A file `NAME.toml` in this folder has the tables of a policy file, and no others:

- `[outbound.SCOPE]`: built-in settings of a scope. They are always in force, as the lowest layer beneath the policy file.
- `[inbound.GROUP]`: the groups of the preset NAME, in force where a policy file says `preset = "NAME"`.

Name the page that documents the limits of a provider, and the date, in a comment; of retries, the SDK that they follow.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from governor._data import data_folder
from governor.errors import ConfigError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_TABLES: Final = ("outbound", "inbound")


class Provider(NamedTuple):
    """The tables of one data file, by the names of scopes and groups."""

    outbound: Mapping[str, Mapping[str, object]]
    inbound: Mapping[str, Mapping[str, object]]


@cache
def built_in() -> Mapping[str, Provider]:
    """The providers of this package by name."""
    return read(data_folder(__package__))


def read(folder: "Traversable") -> dict[str, Provider]:
    """The providers of a folder, by the names of their files. Raises `ConfigError` for a file that has no such tables."""
    found = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name.removesuffix(".toml"): _provider(name, entry.read_text(encoding="utf-8")) for name, entry in found}


def _provider(name: str, text: str) -> Provider:
    said = tomllib.loads(text)
    for table in said:
        if table not in _TABLES:
            raise ConfigError(
                table, said[table], "a table [outbound.SCOPE] or [inbound.GROUP]", message=f"{name}: unknown table [{table}]"
            )
    return Provider(said.get("outbound", {}), said.get("inbound", {}))
