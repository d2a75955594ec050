"""Presets of providers in settings, `preset = "github/token"` in `[provider.github]`.

The settings of a preset lie beneath the policy file and above the built-in settings: a key that the file sets is that of the
file, and the others are those of the preset.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from governor.config.names import DEFAULT
from governor.errors import ConfigError

if TYPE_CHECKING:
    from governor.presets import Found, Settings

#: A reference to a preset: the name of a built-in one, or the path of a file, and a tier: `github/token`, `acme.toml`.
PresetReference = Annotated[str, "a preset of a provider"]


def beneath(providers: object) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """What the presets of a table of providers mean, as the tables `provider` and `outbound` of a policy file.

    A preset that does not exist, or of the default, means nothing here: it is rejected where the section is read.
    """
    tables: dict[str, dict[str, Mapping[str, object]]] = {"provider": {}, "outbound": {}}
    for name, table in providers.items() if isinstance(providers, Mapping) else ():
        said = table.get("preset") if isinstance(table, Mapping) else None
        if isinstance(name, str) and isinstance(said, str) and name != DEFAULT:
            for key, sections in _settings(name, said).items():
                tables[key].update(sections)
    return tables


def find(said: str) -> "Found":
    """What a reference means. Raises `ConfigError` if there is no such preset."""
    from governor import presets  # Slow to load, and needed only where a preset is named.

    return presets.find(said)


def _settings(provider: str, said: str) -> "Settings":
    try:
        found = find(said)
    except ConfigError:
        return {}
    return found.preset.settings(provider, found.tier)
