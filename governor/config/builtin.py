"""Settings that are in force beneath those of the user, beyond the defaults of the records in `parts`.

Written in the words of the policy file, because they are its lowest layer: a section of the same name overrides one key by key.
"""

from collections.abc import Mapping
from typing import Final

_PLAIN_GROUPS: Final = ("workflow", "agents", "knowledge", "models", "system", "governance")

#: The four tables are all that there can be.
BUILT_IN: Final[Mapping[str, Mapping[str, object]]] = {
    "global": {},
    "outbound": {
        "github": {"limits": ["1/s burst 60"], "breaker": {"failures": 3}},
        "reddit": {"limits": ["1/s burst 60"]},
        "openai": {"limits": ["8.33/s burst 500"]},
    },
    "inbound": {},
    "logging": {},
}

#: Inbound groups by the name of their preset: those of the reference platform.
INBOUND_PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, list[str]]]]] = {
    "venom": {
        "chat": {"paths": ["/api/v1/chat"], "limits": ["30/s burst 300"]},
        "memory": {"paths": ["/api/v1/memory"], "limits": ["10/s burst 100"]},
        "models_introspection": {"paths": ["/api/v1/models/introspection"], "limits": ["3/s burst 30"]},
        **{group: {"paths": [f"/api/v1/{group}"]} for group in _PLAIN_GROUPS},
    }
}
#: The preset of a configuration that names no inbound group.
DEFAULT_PRESET: Final = "venom"
#: Every group of a preset with each of its paths.
PRESET_PATHS: Final = frozenset(
    (name, path) for groups in INBOUND_PRESETS.values() for name, group in groups.items() for path in group["paths"]
)
