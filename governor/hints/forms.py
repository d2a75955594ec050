"""Forms of answers: what the names of the headers of an answer say about which limits it states, and where.

The answers of one server have the same few sets of names, so that reading one costs only the parsing of its values.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from governor._units import SECOND
from governor.hints.dialect import STANDARD, Dialect, LimitReader, PolicyFields, dialect_of
from governor.hints.families import fields_of, may_say, readers_of, waits_of
from governor.hints.hint import Headers
from governor.hints.retry_after import WAITS

#: Headers of an answer whose form is kept for the next one.
_MAX_NAMES: Final = 128


class Form(NamedTuple):
    """What an answer can say, by the names of its headers. Limits that are said in a body are always among the readers."""

    #: Whether an answer with a status below 400, and without a body, says anything.
    speaks: bool
    #: The limits of an answer that is not rate limited, and of one that is.
    readers: tuple[LimitReader, ...]
    throttled_readers: tuple[LimitReader, ...]
    fields: tuple[PolicyFields, ...]
    #: The headers that say how long to wait, and the unit of a number in them; and those that mean it in denials only.
    waits: tuple[tuple[str, int], ...]
    denied_waits: tuple[tuple[str, int], ...]


def form_of(dialect: Dialect, headers: Headers) -> Form:
    """The form of an answer. It is kept for the next answer with these names, if they are at most 128."""
    if type(headers) is dict:  # What the adapters pass, with names in lower case.
        names = tuple(headers)
    elif isinstance(headers, Mapping):
        names = tuple([name.lower() for name in headers])
    else:
        asked = dict.fromkeys([*dialect.known, *dialect.waits, *(name for name, _ in WAITS)])
        names = tuple([name for name in asked if headers.get(name) is not None])
    return _form(dialect, names) if len(names) <= _MAX_NAMES else _form.__wrapped__(dialect, names)


def is_silent(provider: str, names: tuple[str | bytes, ...]) -> bool:
    """Whether an answer with a status below 400 and headers of these names says nothing about limits, whatever their values.

    No answer of a provider is known to be silent whose failures are in the bodies of answers 200.
    The names may be as the server spells them, and decoded or not: so most answers are known without reading their headers.
    The result is kept for the next answer with these names, if they are at most 128.
    """
    return _silent(provider, names) if len(names) <= _MAX_NAMES else _silent.__wrapped__(provider, names)


@lru_cache(maxsize=256)
def _silent(provider: str, names: tuple[str | bytes, ...]) -> bool:
    read = tuple(name.lower() if isinstance(name, str) else name.decode("latin-1").lower() for name in names)
    dialect = dialect_of(provider)
    return not (dialect.fails_with_200 or _form.__wrapped__(dialect, read).speaks)


@lru_cache(maxsize=256)
def _form(dialect: Dialect, names: tuple[str, ...]) -> Form:
    there = frozenset(names)
    known = {STANDARD.state, STANDARD.policy, *dialect.known, *dialect.waits, *(name for name, _ in WAITS)}
    unknown = tuple([name for name in names if name not in known and may_say(name)])
    readers = readers_of(dialect.readers, names, unknown)
    fields = tuple(
        [field for field in (STANDARD, *dialect.fields, *fields_of(unknown)) if field.state in there or field.policy in there]
    )
    read = tuple([reader for reader in readers if reader.marker in there or reader.marker[0] == "$"])
    return Form(
        bool(fields) or any(reader.marker in there for reader in read) or not there.isdisjoint(dialect.markers),
        read,
        tuple([reader for reader in readers if any(sign in there or sign[0] == "$" for sign in reader.signs)]),
        fields,
        tuple([wait for wait in WAITS if wait[0] in there]),
        (*((source, SECOND) for source in dialect.waits if source in there), *waits_of(unknown)),
    )
