"""Names of scopes, providers and inbound groups, and paths of keys.

A scope is `provider:method`, or just `provider`, in lower case. Other names are rejected: otherwise `GitHub` would silently get
the settings of the default instead of those of `github`.
"""

import re
from typing import Final

import msgspec

from governor.errors import ConfigError
from governor.policies import method_names

#: The section that applies to everything without one of its own.
DEFAULT: Final = "default"

_BARE_KEY: Final = re.compile("[A-Za-z0-9_-]+")
_NAME: Final = "[a-z0-9][a-z0-9_.-]{0,99}"
_PROVIDER: Final = re.compile(_NAME)
_SCOPE: Final = re.compile(f"{_NAME}(?::{_NAME})?")
_CHARACTERS: Final = "lower-case letters, digits, '_', '-' and '.', at most 100 characters"


def join(path: str, key: str) -> str:
    """The path of a key, as TOML writes it: `outbound.github`, `outbound."github:post"`."""
    name = key if _BARE_KEY.fullmatch(key) else quoted(key)
    return f"{path}.{name}" if path else name


def quoted(text: str) -> str:
    """The text as a TOML string. TOML strings are those of JSON, except for the character DEL."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")


def check_scope(name: object, *, field: str = "scope") -> None:
    """Raises `ConfigError` for `field` unless `name` is a scope: `github` or `github:post`.

    `default` stands for all providers, and has no methods of its own.
    """
    if not isinstance(name, str) or not _SCOPE.fullmatch(name):
        raise ConfigError(field, name, f"a scope such as 'github' or 'github:post', of {_CHARACTERS} on each side of the ':'")
    if name.startswith(f"{DEFAULT}:"):
        raise ConfigError(field, name, "'default' alone, for every method of every provider without a section")


def check_method(scope: str, *, field: str) -> None:
    """Raises `ConfigError` for `field` if the method of a scope is a misspelled HTTP method: `github:psot`.

    Other words are valid methods, such as `openai:embeddings`.
    """
    provider, _, method = scope.partition(":")
    meant = method_names.near(method)
    if meant is not None:
        raise ConfigError(
            field,
            scope,
            f"'{provider}:{meant}', or a method that is no misspelled HTTP method",
            message=f"unknown method {method!r} in scope {scope!r}; did you mean '{provider}:{meant}'?",
        )


def check_name(name: object, *, field: str) -> None:
    """Raises `ConfigError` for `field` unless `name` can be the name of a provider or an inbound group: `github`, `chat`."""
    if not isinstance(name, str) or not _PROVIDER.fullmatch(name):
        raise ConfigError(field, name, f"a name such as 'github', of {_CHARACTERS}")


def provider_of(scope: str) -> str:
    """The provider of a scope: `github` for `github:post` and for `github`."""
    return scope.partition(":")[0]
