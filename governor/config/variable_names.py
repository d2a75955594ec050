"""Names of environment variables: those of settings, and misspelled ones.

`GOVERNOR__SECTION__KEY` is a setting. A name that was probably meant as one, such as `GOVERNOR_GLOBAL_MAX_SCOPES` or
`governor__global__max_scopes`, is a mistake. All other names belong to other programs, including those that begin with
`GOVERNOR_`: Kubernetes sets `GOVERNOR_SERVICE_HOST` in containers beside a service with the name `governor`.
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from governor.config.machine_settings import MachineSettings
from governor.config.provider_settings import ProviderSettings
from governor.config.sections import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, ScopeSettings
from governor.policies import method_names

PREFIX: Final = "GOVERNOR__"
#: The path of the policy file, for programs that pass none.
POLICY_FILE: Final = "GOVERNOR_CONFIG"
#: The name that `governor init` gives to a policy file. Nothing reads it by this name alone.
USUAL_POLICY_FILE: Final = "governor.toml"
#: Variables with names of the reference system.
LOGGING_SWITCH: Final = "ENABLE_TRAFFIC_CONTROL_LOGGING"
LOGGING_DIRECTORY: Final = "TRAFFIC_CONTROL_LOG_DIR"
#: The socket of the daemon, for programs whose policy file names none.
SOCKET: Final = "GOVERNOR_SOCKET"

_OWN_NAMES: Final = (POLICY_FILE, LOGGING_SWITCH, LOGGING_DIRECTORY, SOCKET)
#: What every name contains that may be a misspelled setting.
_CLUE: Final = re.compile("gov|traffic", re.IGNORECASE)
#: Settings outside of scopes and groups.
_RECORDS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "GLOBAL": GlobalSettings,
    "INBOUND": InboundSettings,
    "LOGGING": LoggingSettings,
    "MACHINE": MachineSettings,
}
_SECTIONS: Final = ("GLOBAL", "PROVIDER", "OUTBOUND", "INBOUND", "BUDGET", "PRICES", "LOGGING", "MACHINE")


def unread_policy_file() -> str | None:
    """Advice if the working directory has a policy file with the usual name, by which nothing reads it."""
    if not os.path.exists(USUAL_POLICY_FILE):
        return None
    return f"{USUAL_POLICY_FILE} is not read: set {POLICY_FILE}={USUAL_POLICY_FILE}"


def is_setting(name: str) -> bool:
    """Whether a variable of this name is read."""
    return name.startswith(PREFIX) or name in _OWN_NAMES


def meant(name: str) -> str | None:
    """The variable that a misspelled name means; None for a variable that is read, and for those of other programs."""
    if not _CLUE.search(name) or is_setting(name):
        return None
    upper = name.upper()
    if upper in _OWN_NAMES:
        return upper
    first, _, rest = upper.partition("__")
    if rest.partition("__")[0] in _SECTIONS and _nearest(first, ("GOVERNOR",), 0.8):
        return f"{PREFIX}{rest}"
    return (respelled(upper) if upper.startswith("GOVERNOR_") else None) or _nearest(upper, _OWN_NAMES, 0.9)


def respelled(name: str) -> str | None:
    """The variable with the same or similar words: `GOVERNOR__GLOBAL__MAX_SCOPES`. None if there is none."""
    words = re.sub("_+", "_", name.removeprefix("GOVERNOR")).strip("_")
    if words.startswith("CONFIG") or _nearest(words, ("CONFIG",), 0.75):
        return POLICY_FILE
    section, _, rest = words.partition("_")
    settings = _settings()
    if words not in settings:
        if section == "INBOUND":
            found = _named(section, rest, InboundGroup.__struct_fields__)
        elif section == "PROVIDER":
            found = _named(section, rest, ProviderSettings.__struct_fields__)
        else:
            found = _named("OUTBOUND", rest if section == "OUTBOUND" else words, _of_scopes())
        if found:
            return found
    nearest = _nearest(words, settings, 0.8)
    if nearest:
        return settings[nearest]
    return f"{PREFIX}{section}__{rest or 'KEY'}" if section in _SECTIONS else None


def _settings() -> dict[str, str]:
    """The variables of all settings outside of scopes and groups, by their words, with and without the section."""
    variables: dict[str, str] = {}
    for section, record in _RECORDS.items():
        for key in map(str.upper, record.__struct_fields__):
            variables[f"{section}_{key}"] = f"{PREFIX}{section}__{key}"
            # A single word, such as ENABLED, is ambiguous.
            if "_" in key:
                variables[key] = f"{PREFIX}{section}__{key}"
    return variables


def _of_scopes() -> list[str]:
    """The paths of all settings of a scope, the longest first: `retry_budget__floor`, `limits`."""
    fields = msgspec.structs.fields(ScopeSettings)
    tables = [one for one in fields if isinstance(one.default, msgspec.Struct)]
    inner = [f"{one.name}__{key}" for one in tables for key in one.default.__struct_fields__]
    return sorted([*inner, *(one.name for one in fields)], key=len, reverse=True)


def _named(section: str, words: str, paths: Collection[str]) -> str | None:
    """The variable of a scope or group whose words end with one of the paths: `GOVERNOR__OUTBOUND__GITHUB__POST__LIMITS`."""
    for path in map(str.upper, paths):
        name, end, rest = f"_{words}".rpartition(f"_{path.replace('__', '_')}")
        if end and not rest:
            provider, _, method = name.strip("_").rpartition("_")
            scope = f"{provider}__{method}" if provider and method.lower() in method_names.METHODS else name.strip("_")
            return f"{PREFIX}{section}__{scope or 'DEFAULT'}__{path}"
    return None


def _nearest(words: str, known: Collection[str], cutoff: float) -> str | None:
    import difflib  # loaded only for a name that resembles ours

    return next(iter(difflib.get_close_matches(words, known, n=1, cutoff=cutoff)), None)
