"""Where do settings come from, and which wins?

Built-in defaults, then the policy file, then `.env`, then the environment: what comes later wins, key by key.

A variable is named after the path of its key, `GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE=500`, and holds a value of TOML, or else
text. The method of a scope is a part of its own: `GOVERNOR__OUTBOUND__GITHUB__POST__LIMITS`. A variable that is blank is unset.
"""

import logging
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec

from governor.config.builtin import BUILT_IN
from governor.config.files import FilePath, decoded, expanded
from governor.config.parts import ScopeSettings
from governor.config.schema import join
from governor.config.variable_names import LOGGING_DIRECTORY, LOGGING_SWITCH, POLICY_FILE, PREFIX, is_setting, meant, respelled
from governor.errors import ConfigError

_log: Final = logging.getLogger("governor")

_SWITCH_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
#: What may be a name in a line of `.env`.
_ASSIGNED: Final = re.compile(r"^[^\S\n]*(?:export\s+)?['\"]?([A-Za-z_][\w:.-]*)", re.MULTILINE)
_SCOPE_KEYS: Final = frozenset(ScopeSettings.__struct_fields__)

Table = Mapping[str, object]


class Layer(msgspec.Struct, frozen=True):
    """What one source says, in the shape of the policy file. `source` is how it is called in messages."""

    source: str
    said: Table


def layers(path: FilePath | None, environ: Mapping[str, str], env_file: FilePath | None) -> list[Layer]:
    """Everything that is said beyond the built-in defaults, the weakest first; a variable is a layer of its own.

    Without a `path`, the policy file is the one that `GOVERNOR_CONFIG` names, if any. An `env_file` that is missing is no
    mistake, nor is one that cannot be read and names no setting. Raises `ConfigError` for a policy file that is missing or no
    TOML, and for variables that cannot be read.
    """
    dotted = {} if env_file is None else _env_file(expanded(env_file))
    sources = (("", environ), (f"{env_file}: ", dotted))
    what = "policy file"
    for source, said in sources if path is None else ():
        if path is None and _is_set(said.get(POLICY_FILE)):
            path, what = said[POLICY_FILE].strip(), f"{source}{POLICY_FILE}"
    file = [] if path is None else [policy_file(expanded(path), what)]
    return [*file, *(layer for source, said in reversed(sources) for layer in variables(said, source=source))]


def merge(tables: Iterable[Table]) -> Table:
    """One table from many: of tables all keys, of anything else the latest."""
    merged: dict[str, object] = {}
    for table in tables:
        for key, value in table.items():
            beneath = merged.get(key)
            merged[key] = merge((beneath, value)) if isinstance(beneath, Mapping) and isinstance(value, Mapping) else value
    return merged


def located(mistake: ConfigError, said: Sequence[Layer]) -> ConfigError:
    """The same mistake with its source in front: `governor.toml: outbound.github.limits[0]`.

    The source is the strongest layer that says something about the path, or else about the table around it.
    """
    around = mistake.field
    while around:
        for layer in reversed(said):
            if any(_touches(path, around) for path in _paths(layer.said)):
                return ConfigError(f"{layer.source}: {mistake.field}", mistake.value, mistake.allowed)
        around = around.rpartition(".")[0]
    return mistake


def policy_file(path: Path, what: str = "policy file") -> Layer:
    """What a policy file says; `what` stands for the file in messages.

    Raises `ConfigError` if it cannot be read, or names the line that is no TOML.
    """
    try:
        text = decoded(path.read_bytes())
    except UnicodeDecodeError:
        raise ConfigError(what, str(path), "a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(what, str(path), f"a file that can be read (here: {error.strerror})") from None
    try:
        return Layer(str(path), tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        lines = text.splitlines() or [""]
        found = re.search(r"at line (\d+)", str(error))
        number = min(int(found[1]) if found else len(lines), len(lines))
        raise ConfigError(f"{path}: line {number}", lines[number - 1].strip(), f"a line of TOML ({error})") from None


def variables(environ: Mapping[str, str], *, source: str = "") -> list[Layer]:
    """What the variables say, one layer each; a variable for a whole table comes before those for keys in it.

    `source` goes in front of the names in messages. Raises `ConfigError` for a name that is nearly one of ours, for one with an
    empty part, and for a logging switch that is neither on nor off.
    """
    said: list[tuple[str, list[str], object]] = []
    for name, text in environ.items():
        if not _is_set(text):
            continue
        near = meant(name)
        if near is not None:
            raise _unknown(f"{source}{name}", text, near)
        if name == LOGGING_SWITCH:
            said.append((name, ["logging", "enabled"], _switch(text, f"{source}{name}")))
        elif name == LOGGING_DIRECTORY:
            said.append((name, ["logging", "directory"], text))
        elif name.startswith(PREFIX):
            said.append((name, _keys(name, text, source), _value(text)))
    said.sort(key=lambda one: len(one[1]))
    return [Layer(f"{source}{name}", _nested(keys, value)) for name, keys, value in said]


def _is_set(text: str | None) -> bool:
    return text is not None and bool(text.strip())


def _unknown(name: str, text: str, near: str) -> ConfigError:
    return ConfigError(name, text, f"no such variable (did you mean {near!r}?)")


def _env_file(path: Path) -> Mapping[str, str]:
    """The variables in the file; nothing, and python-dotenv is not even imported, if it names none of ours.

    Such a file belongs to other programs, and its encoding is theirs.
    """
    try:
        if not path.is_file():
            return {}
        raw = path.read_bytes()
    except OSError as error:
        _log.warning("%s cannot be read, and no settings are taken from it: %s.", path, error.strerror)
        return {}
    try:
        text = decoded(raw)
    except UnicodeDecodeError:
        ours = _ours(raw.replace(b"\0", b"").decode("latin-1"))
        if not ours:
            return {}
        raise ConfigError("env file", str(path), f"a text file in UTF-8, because it sets {ours[0]}") from None
    if not _ours(text):
        return {}
    from dotenv import dotenv_values

    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _ours(text: str) -> list[str]:
    """The names in the text of an env file that are settings, or nearly."""
    return [name for name in _ASSIGNED.findall(text) if is_setting(name) or meant(name)]


def _keys(name: str, text: str, source: str) -> list[str]:
    """The path that a variable's name says: `outbound`, `github:post`, `limits`."""
    keys = name.removeprefix(PREFIX).lower().split("__")
    if not all(keys):
        raise ConfigError(f"{source}{name}", text, f"a name without empty parts, for instance {PREFIX}GLOBAL__MAX_SCOPES")
    if keys[0] not in BUILT_IN:
        near = respelled(name)
        if near is not None:
            raise _unknown(f"{source}{name}", text, near)
    if keys[0] == "outbound" and len(keys) > 3 and keys[2] not in _SCOPE_KEYS:
        keys[1:3] = [f"{keys[1]}:{keys[2]}"]
    return keys


def _value(text: str) -> object:
    """A value of TOML if it is one, else the text itself."""
    try:
        said = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return said["value"] if len(said) == 1 else text


def _switch(words: str, name: str) -> bool:
    try:
        return _SWITCH_WORDS[words.strip().lower()]
    except KeyError:
        raise ConfigError(name, words, f"one of {', '.join(_SWITCH_WORDS)}") from None


def _nested(keys: Sequence[str], value: object) -> Table:
    first, *rest = keys
    return {first: _nested(rest, value) if rest else value}


def _paths(table: Table, path: str = "") -> Iterator[str]:
    """The path of everything that is said, in the words of the messages."""
    for key, value in table.items():
        inner = join(path, key)
        if isinstance(value, Mapping) and value:
            yield from _paths(value, inner)
        else:
            yield inner


def _touches(path: str, field: str) -> bool:
    """Is one of the two inside the other, or are they the same?"""
    outer, inner = sorted((path, field), key=len)
    return inner == outer or (inner.startswith(outer) and inner[len(outer)] in ".[")
