"""Which names may scopes, providers and groups have?

A scope is `provider:method`, or just `provider`, in lower case. Other names are refused: `GitHub` would otherwise quietly get
the generous default instead of the policy of `github`.
"""

import re
from typing import Final

from governor.errors import ConfigError
from governor.policies import method_names

#: The section that applies to everything without one of its own.
DEFAULT: Final = "default"

_NAME: Final = "[a-z0-9][a-z0-9_.-]{0,99}"
_PROVIDER: Final = re.compile(_NAME)
_SCOPE: Final = re.compile(f"{_NAME}(?::{_NAME})?")
_CHARACTERS: Final = "lower-case letters, digits, '_', '-' and '.', at most 100 characters"


def check_scope(name: object, *, field: str = "scope") -> None:
    """Raises `ConfigError`, naming `field`, unless `name` is a scope: `github` or `github:post`.

    `default` stands for every provider at once, and has no methods of its own.
    """
    if not isinstance(name, str) or not _SCOPE.fullmatch(name):
        raise ConfigError(field, name, f"a scope such as 'github' or 'github:post', of {_CHARACTERS} on each side of the ':'")
    if name.startswith(f"{DEFAULT}:"):
        raise ConfigError(field, name, "'default' alone, for every method of every provider without a section")


def check_method(scope: str, *, field: str) -> None:
    """Raises `ConfigError`, naming `field`, if the method of a scope is one of HTTP with a typing mistake: `github:psot`.

    Other words are methods too, such as `openai:embeddings`.
    """
    provider, _, method = scope.partition(":")
    meant = method_names.near(method)
    if meant is not None:
        allowed = f"a scope whose method is one of HTTP or another word, and {method!r} is nearly {meant!r}"
        raise ConfigError(field, scope, f"{allowed} (did you mean '{provider}:{meant}'?)")


def check_name(name: object, *, field: str) -> None:
    """Raises `ConfigError`, naming `field`, unless `name` can be a provider or an inbound group: `github`, `chat`."""
    if not isinstance(name, str) or not _PROVIDER.fullmatch(name):
        raise ConfigError(field, name, f"a name such as 'github', of {_CHARACTERS}")


def provider_of(scope: str) -> str:
    """`github` for `github:post` and for `github`."""
    return scope.partition(":")[0]
