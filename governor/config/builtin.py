"""What is in force when nobody says anything, beyond the defaults of the records in `parts`?

Written in the words of the policy file, because it is its lowest layer: a section of the same name overrides it key by key. The
four tables are all that there can be.
"""

from collections.abc import Mapping
from typing import Final

_PLAIN_GROUPS: Final = ("workflow", "agents", "knowledge", "models", "system", "governance")

BUILT_IN: Final[Mapping[str, Mapping[str, object]]] = {
    "global": {},
    "outbound": {
        "github": {"limits": ["1/s burst 60"], "breaker": {"failures": 3}},
        "reddit": {"limits": ["1/s burst 60"]},
        "openai": {"limits": ["8.33/s burst 500"]},
    },
    "inbound": {
        "chat": {"paths": ["/api/v1/chat"], "limits": ["30/s burst 300"]},
        "memory": {"paths": ["/api/v1/memory"], "limits": ["10/s burst 100"]},
        "models_introspection": {"paths": ["/api/v1/models/introspection"], "limits": ["3/s burst 30"]},
        **{group: {"paths": [f"/api/v1/{group}"]} for group in _PLAIN_GROUPS},
    },
    "logging": {},
}
