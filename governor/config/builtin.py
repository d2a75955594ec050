"""Built-in settings, beyond the defaults of the records in `sections`: of providers, and presets of inbound groups.

They have the shape of the policy file, and are its lowest layer: a section of the same name overrides them key by key. They are
tables of Python and no data files, because every program that makes a governor needs them: its first permit would wait for them
to be found, read and parsed.

Name the page that documents the limits of a provider, and the date, in a comment; of retries, the SDK that they follow.
"""

from collections.abc import Mapping
from typing import Final

#: The tables that a policy file may have.
SECTIONS: Final = ("global", "provider", "outbound", "inbound", "budget", "prices", "logging", "machine")
#: The preset of a configuration without inbound groups.
DEFAULT_PRESET: Final = "venom"

Groups = Mapping[str, Mapping[str, object]]

#: Of providers of language models, POST is retried, and after the statuses that their SDKs repeat (`_should_retry` of openai
#: 3.57, anthropic 2.14, cohere 7.3 and groq 1.7): 408, 409, 429, and 500 or more. The others follow them.
_OF_MODELS: Final = {
    "methods": ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE"],
    "statuses": [408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529],
}

#: `[outbound.SCOPE]`: built-in settings of scopes and their methods, always in force.
OUTBOUND: Final[Mapping[str, Mapping[str, object]]] = {
    "anthropic": {"retry": _OF_MODELS},
    "cohere": {"retry": _OF_MODELS},
    "gemini": {"retry": _OF_MODELS},
    "github": {"limits": ["1/s burst 60"], "breaker": {"failures": 3}},
    "groq": {"retry": _OF_MODELS},
    "mistral": {"retry": _OF_MODELS},
    "ollama": {"retry": _OF_MODELS},
    "openai": {"limits": ["8.33/s burst 500"], "retry": _OF_MODELS},
    "reddit": {"limits": ["1/s burst 60"]},
}

#: `[inbound.GROUP]` of each preset, in force where a policy file says `preset = "NAME"`.
PRESETS: Final[dict[str, Groups]] = {
    # The HTTP API of the Venom platform. Groups without limits have those of [inbound.default].
    "venom": {
        "chat": {"paths": ["/api/v1/chat"], "limits": ["30/s burst 300"]},
        "memory": {"paths": ["/api/v1/memory"], "limits": ["10/s burst 100"]},
        "models_introspection": {"paths": ["/api/v1/models/introspection"], "limits": ["3/s burst 30"]},
        "workflow": {"paths": ["/api/v1/workflow"]},
        "agents": {"paths": ["/api/v1/agents"]},
        "knowledge": {"paths": ["/api/v1/knowledge"]},
        "models": {"paths": ["/api/v1/models"]},
        "system": {"paths": ["/api/v1/system"]},
        "governance": {"paths": ["/api/v1/governance"]},
    },
}


def built_in() -> dict[str, Mapping[str, object]]:
    """The built-in settings of all scopes, with the other tables empty."""
    return {section: OUTBOUND if section == "outbound" else {} for section in SECTIONS}


def preset_of(group: str) -> str | None:
    """The first preset that has this group."""
    return next((name for name, groups in PRESETS.items() if group in groups), None)


def is_preset_path(group: str, path: str) -> bool:
    """Whether a preset has this group with this path."""
    return any(path in _paths(groups.get(group, {})) for groups in PRESETS.values())


def _paths(group: Mapping[str, object]) -> list[object]:
    paths = group.get("paths")
    return paths if isinstance(paths, list) else []
