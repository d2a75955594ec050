"""Names of scopes, providers and inbound groups, and paths of keys.

A scope is `provider:method`, or just `provider`. Where limits are per model, resource or account, the provider is followed by a
key: `openai/gpt-5:post`. Upper and lower case do not differ, in code or in a policy file: `GitHub` is the provider `github`.
Inside they are in lower case.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from governor.errors import ConfigError
from governor.policies import method_names

#: The section that applies to everything without one of its own.
DEFAULT: Final = "default"

_BARE_KEY: Final = re.compile("[A-Za-z0-9_-]+")
_NAME: Final = "[a-z0-9][a-z0-9_.-]{0,99}"
_PROVIDER: Final = re.compile(_NAME)
#: A provider with a key, which may itself have a `/`, as in `openrouter/meta-llama/llama-4`.
_KEYED: Final = re.compile(f"{_NAME}(?:/[a-z0-9][a-z0-9_./-]{{0,99}})?")
_SCOPE: Final = re.compile(f"{_KEYED.pattern}(?::{_NAME})?")
_MAX_KEY: Final = 100
_CHARACTERS: Final = "letters from a to z, digits, '_', '-' and '.', at most 100 characters"
_OTHERS: Final = "[^a-z0-9_.-]+"
_NO_KEY: Final = re.compile("[^a-z0-9_./-]+")


def join(path: str, key: str) -> str:
    """The path of a key, as TOML writes it: `outbound.github`, `outbound."github:post"`."""
    name = key if _BARE_KEY.fullmatch(key) else quoted(key)
    return f"{path}.{name}" if path else name


def quoted(text: str) -> str:
    """The text as a TOML string. TOML strings are those of JSON, except for the character DEL, and have no lone surrogates."""
    valid = text.encode("utf-8", "backslashreplace").decode()
    return msgspec.json.encode(valid).decode().replace("\x7f", "\\u007f")


def scope_of(provider: object, method: object = None) -> str:
    """The scope of a provider and a method, as code spells them: `github:get` for `GitHub` and `GET`. Raises `ConfigError`.

    The provider may have a key: `openai/gpt-5:post` for `openai/gpt-5` and `POST`.
    """
    name = keyed_name(provider)
    if method is None:
        return name
    if name == DEFAULT:
        return _checked(f"{name}:{method_name(method)}", name, field="provider")
    return f"{name}:{_known_method(method) if type(method) is str else method_name(method)}"


def method_name(name: object, *, field: str = "method") -> str:
    """The name of a method in lower case: `get` for `GET`. Raises `ConfigError` for `field`."""
    folded = _folded(name)
    if not _PROVIDER.fullmatch(folded):
        raise ConfigError(field, name, f"a method such as 'get', of {_CHARACTERS}{_hint(folded)}")
    return folded


#: Methods are few, and every new scope has one.
_known_method: Final = lru_cache(maxsize=64)(method_name)


def provider_name(name: object, *, field: str = "provider") -> str:
    """The name of a provider in lower case: `github` for `GitHub`. Raises `ConfigError` for `field`."""
    folded = _folded(name)
    if _PROVIDER.fullmatch(folded):
        return folded
    if _SCOPE.fullmatch(folded):
        provider, _, method = folded.partition(":")
        if not method:
            advice = f"the provider {folded.partition('/')[0]!r}; the argument `key` of an HTTP client gives keys"
            raise ConfigError(field, name, f"a name without '/', which separates provider and key: {advice}")
        advice = f"the provider {provider!r} with the method {method!r}, or the provider {f'{provider}-{method}'!r}"
        raise ConfigError(field, name, f"a name without ':', which separates provider and method: {advice}")
    raise ConfigError(field, name, f"a name such as 'github', of {_CHARACTERS}{_hint(folded)}")


def keyed_name(name: object, *, field: str = "provider") -> str:
    """The name of a provider, with or without a key, in lower case: `openai/gpt-5`. Raises `ConfigError` for `field`."""
    folded = name.lower() if isinstance(name, str) else ""
    if not _KEYED.fullmatch(folded):
        return provider_name(name, field=field)
    return _checked(folded, name, field=field) if folded.startswith(DEFAULT) else folded


def with_key(provider: str, key: object) -> str:
    """The provider with a key: `openai/gpt-5` for `openai` and `GPT-5`. Raises `ConfigError`.

    Keys come from requests, so any text is one: other characters than letters, digits and `_./-` become `-`, and only the first
    100 characters count. Raises `ConfigError` for text without a letter or digit, and for what is not text.
    """
    name = _NO_KEY.sub("-", _folded(key)).lstrip("-_./")[:_MAX_KEY]
    if not name:
        raise ConfigError("key", key, "text with a letter or a digit, such as the name of a model")
    return f"{provider_name(provider)}/{name}"


def scope_name(name: object, *, field: str = "scope") -> str:
    """The name of a scope in lower case: `github:post` for `GitHub:POST`. Raises `ConfigError` for `field`.

    `default` stands for all providers, and has no methods of its own.
    """
    folded = _folded(name)
    if not _SCOPE.fullmatch(folded):
        provider, separator, method = folded.partition(":")
        near = f"{_slug(provider)}{separator}{_slug(method)}"
        hint = f" (did you mean {near!r}?)" if _SCOPE.fullmatch(near) else ""
        allowed = f"a scope such as 'github' or 'github:post', of {_CHARACTERS} on each side of the ':'"
        raise ConfigError(field, name, f"{allowed}{hint}")
    return _checked(folded, name, field=field)


def folded_scopes(said: Mapping[str, object]) -> Mapping[str, object]:
    """The same settings, with the names of providers and of outbound sections in lower case.

    Raises `ConfigError` for two sections of the same scope or provider.
    """
    return {**said, **{key: _folded_names(key, said[key]) for key in ("provider", "outbound") if key in said}}


def _folded_names(section: str, tables: object) -> object:
    if not isinstance(tables, Mapping):
        return tables
    folded: dict[object, object] = {}
    for name, table in tables.items():
        scope = name.lower() if isinstance(name, str) else name
        if scope in folded:
            message = f"[{join(section, name)}] is the second section of {scope}: upper and lower case do not differ"
            raise ConfigError(join(section, name), name, "one section for each name", message=message)
        folded[scope] = table
    return folded


def _checked(scope: str, said: object, *, field: str) -> str:
    if scope.startswith((f"{DEFAULT}:", f"{DEFAULT}/")):
        raise ConfigError(field, said, "'default' alone, for every method of every provider without a section")
    return scope


def _folded(name: object) -> str:
    return name.lower() if isinstance(name, str) else ""


def _slug(text: str) -> str:
    return re.sub(_OTHERS, "-", text).strip("-_.")


def _hint(folded: str) -> str:
    near = _slug(folded.partition("://")[2] or folded)
    return f" (did you mean {near!r}?)" if _PROVIDER.fullmatch(near) else ""


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
    """Raises `ConfigError` for `field` unless `name` can be the name of an inbound group, a route or a tier: `chat`."""
    if not isinstance(name, str) or not _PROVIDER.fullmatch(name):
        raise ConfigError(field, name, f"a name such as 'chat', in lower case, of {_CHARACTERS}")


def provider_of(scope: str) -> str:
    """The provider of a scope: `github` for `github:post` and for `github`, `openai` for `openai/gpt-5:post`."""
    return scope.partition(":")[0].partition("/")[0]


def keyed_of(scope: str) -> str | None:
    """The provider of a scope with its key: `openai/gpt-5` for `openai/gpt-5:post`. None if there is no key."""
    keyed = scope.partition(":")[0]
    return keyed if "/" in keyed else None


def is_within(scope: str, whole: str) -> bool:
    """Whether `whole` is the scope itself, its provider, or its provider with its key."""
    return whole in (scope, provider_of(scope), scope.partition(":")[0])


def sections_of(scope: str) -> tuple[str, ...]:
    """The sections of the policy file that may have the settings of a scope, the closest first.

    `openai/gpt-5:post`, `openai/gpt-5`, `openai:post`, `openai`, `default`.
    """
    keyed, colon, method = scope.partition(":")
    provider = keyed.partition("/")[0]
    names = (scope, keyed, f"{provider}{colon}{method}", provider, DEFAULT)
    return tuple(dict.fromkeys(names))
