"""Where do settings come from, and which wins?

Built-in defaults, then the policy file, then `.env`, then the environment: what comes later wins, key by key.

A variable is named after the path of its key, `GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE=500`, and holds a value of TOML, or else
text. The method of a scope is a part of its own: `GOVERNOR__OUTBOUND__GITHUB__POST__LIMITS`.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec

from governor.config.parts import ScopePolicy
from governor.config.schema import join
from governor.errors import ConfigError

PREFIX: Final = "GOVERNOR__"
#: Variables with a name of their own, known from the reference system.
LOGGING_SWITCH: Final = "ENABLE_TRAFFIC_CONTROL_LOGGING"
LOGGING_DIRECTORY: Final = "TRAFFIC_CONTROL_LOG_DIR"

_SWITCH_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_SCOPE_KEYS: Final = frozenset(ScopePolicy.__struct_fields__)

Table = Mapping[str, object]
FilePath = str | os.PathLike[str]


class Layer(msgspec.Struct, frozen=True):
    """What one source says, in the shape of the policy file. `source` is how it is called in messages."""

    source: str
    said: Table


def layers(path: FilePath | None, environ: Mapping[str, str], env_file: FilePath | None) -> list[Layer]:
    """Everything that is said beyond the built-in defaults, the weakest first; a variable is a layer of its own.

    A missing `env_file` is no mistake. Raises `ConfigError` for a policy file that is missing or no TOML, and for variables
    that cannot be read.
    """
    file = [] if path is None else [policy_file(Path(path))]
    dotted = [] if env_file is None else variables(_env_file(Path(env_file)), source=f"{env_file}: ")
    return [*file, *dotted, *variables(environ)]


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


def policy_file(path: Path) -> Layer:
    """What a policy file says. Raises `ConfigError` if it cannot be read, or names the line that is no TOML."""
    text = _text(path, "policy file")
    try:
        return Layer(str(path), tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        lines = text.splitlines() or [""]
        found = re.search(r"at line (\d+)", str(error))
        number = min(int(found[1]) if found else len(lines), len(lines))
        raise ConfigError(f"{path}: line {number}", lines[number - 1].strip(), f"a line of TOML ({error})") from None


def variables(environ: Mapping[str, str], *, source: str = "") -> list[Layer]:
    """What the variables say, one layer each; a variable for a whole table comes before those for keys in it.

    `source` goes in front of the names in messages. Raises `ConfigError` for a name with an empty part, and for a logging
    switch that is neither on nor off.
    """
    said: list[tuple[str, list[str], object]] = []
    if words := environ.get(LOGGING_SWITCH):
        said.append((LOGGING_SWITCH, ["logging", "enabled"], _switch(words, f"{source}{LOGGING_SWITCH}")))
    if folder := environ.get(LOGGING_DIRECTORY):
        said.append((LOGGING_DIRECTORY, ["logging", "directory"], folder))
    said += [(name, _keys(name, text, source), _value(text)) for name, text in environ.items() if name.startswith(PREFIX)]
    said.sort(key=lambda one: len(one[1]))
    return [Layer(f"{source}{name}", _nested(keys, value)) for name, keys, value in said]


def _text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(what, str(path), "a text file in UTF-8") from None
    except OSError as error:
        raise ConfigError(what, str(path), f"a file that can be read (here: {error.strerror})") from None


def _env_file(path: Path) -> Mapping[str, str]:
    """The variables in the file; nothing, and python-dotenv is not even imported, if it names none of ours."""
    if not path.is_file():
        return {}
    text = _text(path, "env file")
    if not any(name in text for name in (PREFIX, LOGGING_SWITCH, LOGGING_DIRECTORY)):
        return {}
    from dotenv import dotenv_values

    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _keys(name: str, text: str, source: str) -> list[str]:
    """The path that a variable's name says: `outbound`, `github:post`, `limits`."""
    keys = name.removeprefix(PREFIX).lower().split("__")
    if not all(keys):
        raise ConfigError(f"{source}{name}", text, f"a name without empty parts, for instance {PREFIX}GLOBAL__MAX_SCOPES")
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
