"""Built-in settings, beyond the defaults of the records in `parts`: those of `governor.providers`.

They have the shape of the policy file, and are its lowest layer: a section of the same name overrides them key by key.
"""

from collections.abc import Mapping
from typing import Final

from governor import providers

#: The tables that a policy file may have.
SECTIONS: Final = ("global", "provider", "outbound", "inbound", "budget", "prices", "logging", "machine")
#: The preset of a configuration without inbound groups.
DEFAULT_PRESET: Final = "venom"

Groups = Mapping[str, Mapping[str, object]]


def built_in() -> dict[str, dict[str, object]]:
    """The built-in settings of all scopes, with the other tables empty."""
    scopes = {scope: table for provider in providers.built_in().values() for scope, table in provider.outbound.items()}
    return {section: dict(scopes) if section == "outbound" else {} for section in SECTIONS}


def presets() -> dict[str, Groups]:
    """The inbound groups of every preset, by its name."""
    return {name: provider.inbound for name, provider in providers.built_in().items() if provider.inbound}


def preset_of(group: str) -> str | None:
    """The first preset that has this group."""
    return next((name for name, groups in presets().items() if group in groups), None)


def is_preset_path(group: str, path: str) -> bool:
    """Whether a preset has this group with this path."""
    return any(path in _paths(groups.get(group, {})) for groups in presets().values())


def _paths(group: Mapping[str, object]) -> list[object]:
    paths = group.get("paths")
    return paths if isinstance(paths, list) else []
