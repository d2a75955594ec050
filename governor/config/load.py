"""Sources of settings: the built-in defaults, then the policy file, then `.env`, then the environment.

Later sources override earlier ones, key by key. A variable is named after the path of its key,
`GOVERNOR__GLOBAL__REQUESTS_PER_MINUTE=500`, and holds a TOML value or plain text. The method of a scope is a part of its own:
`GOVERNOR__OUTBOUND__GITHUB__POST__LIMITS`. A blank variable counts as unset.
"""

import logging
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Final

import msgspec

from governor.config.builtin import SECTIONS
from governor.config.files import FilePath, decoded, expanded
from governor.config.mistakes import Mistakes
from governor.config.names import join
from governor.config.positions import Position, positions
from governor.config.sections import ScopeSettings
from governor.config.variable_names import (
    LOGGING_DIRECTORY,
    LOGGING_SWITCH,
    POLICY_FILE,
    PREFIX,
    SOCKET,
    is_setting,
    meant,
    respelled,
)
from governor.errors import ConfigError, Problem

_log: Final = logging.getLogger("governor")

_SWITCH_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
#: A name that a line of `.env` assigns.
_ASSIGNED: Final = re.compile(r"^[^\S\n]*(?:export\s+)?['\"]?([A-Za-z_][\w:.-]*)", re.MULTILINE)
#: The paths of the variables whose names do not say them.
_OWN_PATHS: Final = {
    LOGGING_SWITCH: ("logging", "enabled"),
    LOGGING_DIRECTORY: ("logging", "directory"),
    SOCKET: ("machine", "socket"),
}
#: Tables within tables that a source may have; settings have half as many.
_MAX_DEPTH: Final = 10
#: The header of a table whose name has characters that TOML allows in quotes only: `[outbound.openai:post]`.
_UNQUOTED: Final = re.compile(r"\[(\w+)\.([^\[\]\"'\s]*[:/*][^\[\]\"'\s]*)\]")
_SCOPE_KEYS: Final = frozenset(ScopeSettings.__struct_fields__)

Table = Mapping[str, object]


class Layer(msgspec.Struct, frozen=True):
    """The settings of one source, in the shape of the policy file.

    `source` names the source in messages. `text` is that of a policy file, and None for other sources.
    """

    source: str
    said: Table
    text: str | None = None

    def position(self, path: str) -> Position | None:
        """Line and column of a path, or of the closest table or list around it that the file names."""
        found = positions(self.text or "")
        # Names of scopes may be in any case; two keys that differ in nothing else have a place each.
        folded = {key.lower(): place for key, place in found.items()}
        return next((place for around in _around(path) if (place := found.get(around) or folded.get(around.lower()))), None)


def layers(path: FilePath | None, environ: Mapping[str, str], env_file: FilePath | None, mistakes: Mistakes) -> list[Layer]:
    """The settings of all sources except the built-in defaults, the weakest first. Each variable is a layer of its own.

    Without a `path`, the policy file is the one that `GOVERNOR_CONFIG` names, if any. A missing `env_file` is ignored, and so
    is one that cannot be read and names no setting. `mistakes` collects the problems: a policy file that cannot be read or is
    not TOML, and variables that cannot be read.
    """
    dotted: Mapping[str, str] = {}
    if env_file is not None:
        with mistakes:
            dotted = _env_file(expanded(env_file))
    sources = (("", environ), (str(env_file), dotted))
    named_by = ""
    for source, said in sources if path is None else ():
        if path is None and _is_set(said.get(POLICY_FILE)):
            path, named_by = said[POLICY_FILE].strip(), f"{POLICY_FILE} in {source}" if source else POLICY_FILE
    found: list[Layer] = []
    if path is not None:
        with mistakes:
            found.append(policy_file(expanded(path), named_by=named_by))
    for source, said in reversed(sources):
        found += variables(said, mistakes, source=source)
    return found


def located(problem: Problem, said: Sequence[Layer]) -> Problem:
    """The same problem with its source, and in a policy file with its line and column.

    The source is the strongest layer that sets the path, or else the table around it.
    """
    for around in _around(problem.path):
        for layer in reversed(said):
            if any(_touches(path.lower(), around.lower()) for path in _paths(layer.said)):
                line, column = layer.position(problem.path) or (None, None)
                return problem._replace(source=layer.source, line=line, column=column)
    return problem


def lost(said: Sequence[Layer], read: Callable[[Table], object]) -> Iterator[Problem]:
    """The problems of values that a stronger source takes for tables: `global = 3` beneath `GOVERNOR__GLOBAL__MAX_SCOPES`.

    Without that source `read` would reject them. What may be a table as well, such as the cost of a method, is no mistake.
    """
    for number, layer in enumerate(said):
        stronger = [path.lower() for above in said[number + 1 :] for path in _paths(above.said)]
        paths = [path.lower() for path in _paths(layer.said)] if stronger else []
        taken = [path for path in paths if any(one.startswith(f"{path}.") for one in stronger)]
        if taken:
            try:
                read(layer.said)
            except ConfigError as error:
                yield from (located(problem, (layer,)) for problem in error.problems if problem.path.lower() in taken)


def policy_file(path: Path, *, named_by: str = "") -> Layer:
    """The settings of a policy file. `named_by` is the variable that names the file, for messages.

    Raises `ConfigError` if the file cannot be read or is not TOML.
    """
    which = f"policy file {str(path)!r}" + (f" (set by {named_by})" if named_by else "")
    try:
        text = decoded(path.read_bytes())
    except UnicodeDecodeError:
        raise ConfigError(
            "policy file", str(path), "a text file in UTF-8", message=f"cannot read {which}: not a text file in UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, FileNotFoundError) and not path.is_absolute():
            with suppress(OSError):  # The current directory may be gone, too.
                reason = f"{reason} in {Path.cwd()}"
        raise ConfigError(
            "policy file", str(path), "a file that can be read", message=f"cannot read {which}: {reason}"
        ) from None
    try:
        return Layer(str(path), tomllib.loads(text), text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.of([_invalid(path, text, str(error))]) from None
    except (ValueError, RecursionError) as error:  # A number of thousands of digits, a list in a thousand lists.
        allowed = "numbers and tables of a usual size"
        raise ConfigError("policy file", str(path), allowed, message=f"cannot read {which}: {error}") from None


def _invalid(path: Path, text: str, error: str) -> Problem:
    """The problem of text that is not TOML, from the message of `tomllib`."""
    lines = text.splitlines() or [""]
    place = re.search(r" \((?:at line (\d+), column (\d+)|at end of document)\)$", error)
    line, column = (int(place[1]), int(place[2])) if place and place[1] else (len(lines), len(lines[-1]) + 1)
    line = min(line, len(lines))
    wrong, reason = lines[line - 1].strip(), error[: place.start()] if place else error
    message = f"invalid TOML: {reason}: {wrong!r}"
    if unquoted := _UNQUOTED.fullmatch(wrong):
        message = f'{message}; a name with such characters is in quotes: [{unquoted[1]}."{unquoted[2]}"]'
    return Problem("", wrong, "a line of TOML", message, source=str(path), line=line, column=column)


def variables(environ: Mapping[str, str], mistakes: Mistakes, *, source: str = "") -> list[Layer]:
    """The settings of the variables, one layer each. A variable for a whole table comes before variables for keys of it.

    `source` is the file that sets them, for messages. `mistakes` collects misspelled names of settings, names with an empty
    part, and a logging switch that is neither on nor off.
    """
    said: list[tuple[str, list[str], object]] = []
    for name, text in environ.items():
        if not _is_set(text):
            continue
        try:
            path = _path(name, text)
            if path:
                said.append((name, path, _switch(text, name) if name == LOGGING_SWITCH else _value(name, text)))
        except ConfigError as error:
            mistakes.problems += [problem._replace(source=source) for problem in error.problems]
    said.sort(key=lambda one: len(one[1]))
    return [Layer(f"{source}: {name}" if source else name, _nested(path, value)) for name, path, value in said]


def _path(name: str, text: str) -> list[str]:
    """The path that a variable sets: `outbound`, `github:post`, `limits`. Empty for variables of other programs."""
    near = meant(name)
    if near is not None:
        raise _unknown(name, text, near)
    if name in _OWN_PATHS:
        return list(_OWN_PATHS[name])
    return _keys(name, text) if name.startswith(PREFIX) else []


def _is_set(text: str | None) -> bool:
    return text is not None and bool(text.strip())


def _unknown(name: str, text: str, near: str) -> ConfigError:
    return ConfigError(name, text, repr(near), message=f"unknown variable {name!r}; did you mean {near!r}?")


def _env_file(path: Path) -> Mapping[str, str]:
    """The variables of the file, or none if it assigns no setting of the governor; python-dotenv is not imported then.

    A file without settings belongs to other programs and may have any encoding.
    """
    try:
        if not path.is_file():
            return {}
        raw = path.read_bytes()
    except OSError as error:
        _log.warning("Cannot read %s, so that no settings are taken from it: %s.", path, error.strerror)
        return {}
    try:
        text = decoded(raw)
    except UnicodeDecodeError:
        ours = _ours(raw.replace(b"\0", b"").decode("latin-1"))
        if not ours:
            return {}
        message = f"cannot read env file {str(path)!r}, which sets {ours[0]}: not a text file in UTF-8"
        raise ConfigError("env file", str(path), "a text file in UTF-8", message=message) from None
    if not _ours(text):
        return {}
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    # Unreadable lines are only logged by `dotenv_values`.
    unread = (name for line in parse_stream(StringIO(text)) if line.error for name in _ours(line.original.string))
    for name in unread:
        message = f"cannot read {name} in env file {str(path)!r}: is a quotation mark missing?"
        raise ConfigError(name, str(path), "a line such as NAME='value'", message=message)
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text)).items()}


def _ours(text: str) -> list[str]:
    """The names in the text of an env file that are settings, or misspelled settings."""
    return [name for name in _ASSIGNED.findall(text) if is_setting(name) or meant(name)]


def _keys(name: str, text: str) -> list[str]:
    keys = name.removeprefix(PREFIX).lower().split("__")
    if not all(keys) or len(keys) > _MAX_DEPTH:
        allowed = f"a name of at most {_MAX_DEPTH} parts, none of them empty, for instance {PREFIX}GLOBAL__MAX_SCOPES"
        raise ConfigError(name, text, allowed)
    if keys[0] not in SECTIONS:
        near = respelled(name)
        if near is not None:
            raise _unknown(name, text, near)
    if keys[0] == "outbound" and len(keys) > 3 and keys[2] not in _SCOPE_KEYS:
        keys[1:3] = [f"{keys[1]}:{keys[2]}"]
    return keys


def _value(name: str, text: str) -> object:
    """The text as a TOML value if it is one, else the text itself. A path in a variable of its own is always text."""
    if name in (LOGGING_DIRECTORY, SOCKET):
        return text
    try:
        said = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # Not TOML, or a number or a list that Python does not read.
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


def _around(path: str) -> Iterator[str]:
    """The path itself, and the path of each table or list around it, the innermost first."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]


def _paths(table: Table, path: str = "", depth: int = _MAX_DEPTH) -> Iterator[str]:
    """The paths of all settings in the table, as in messages; that of an empty table ends in a dot."""
    for key, value in table.items():
        inner = join(path, key)
        if isinstance(value, Mapping) and value and depth:
            yield from _paths(value, inner, depth - 1)
        else:
            yield f"{inner}." if isinstance(value, Mapping) else inner


def _touches(path: str, field: str) -> bool:
    """Whether the two are equal, or one is inside the other."""
    outer, inner = sorted((path, field), key=len)
    return inner == outer or (inner.startswith(outer) and inner[len(outer)] in ".[")
