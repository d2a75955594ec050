"""Built-in settings of single providers and inbound groups, beyond the defaults of the records in `parts`.

They have the shape of the policy file, and are its lowest layer: a section of the same name overrides them key by key.
"""

from collections.abc import Mapping
from typing import Final

_PLAIN_GROUPS: Final = ("workflow", "agents", "knowledge", "models", "system", "governance")

#: The settings, in the four tables that a policy file may have.
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

#: Inbound groups by the name of their preset; `venom` is the reference platform.
INBOUND_PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, list[str]]]]] = {
    "venom": {
        "chat": {"paths": ["/api/v1/chat"], "limits": ["30/s burst 300"]},
        "memory": {"paths": ["/api/v1/memory"], "limits": ["10/s burst 100"]},
        "models_introspection": {"paths": ["/api/v1/models/introspection"], "limits": ["3/s burst 30"]},
        **{group: {"paths": [f"/api/v1/{group}"]} for group in _PLAIN_GROUPS},
    }
}
#: The preset of a configuration without inbound groups.
DEFAULT_PRESET: Final = "venom"
#: The pairs of group and path of all presets.
PRESET_PATHS: Final = frozenset(
    (name, path) for groups in INBOUND_PRESETS.values() for name, group in groups.items() for path in group["paths"]
)
