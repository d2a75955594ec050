"""Dialects: how providers say their limits. Each is one data file, `dialects/NAME.toml`.

`python -m tools.dialects` writes `dialects/table.json` from these files, and programs read that: to parse the files took longer
than all else that the first answer loads, in the event loop.

A source of a value is the name of a header, in lower case, or a path into a JSON body, such as `$.errors[].type`. Every
dialect also reads `Retry-After` and its relatives, and the fields `RateLimit` and `RateLimit-Policy`.
"""

import datetime
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from governor._data import data_folder
from governor._units import MILLISECOND, SECOND, Duration, parse_duration
from governor.errors import ConfigError
from governor.hints.hint import MIN_WAIT
from governor.hints.retry_after import ALWAYS_MEANT

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: Characters of a name that may be followed by further words: `x` and a word is another provider.
_MIN_WORD: Final = 4
#: The dialect of providers that have none.
GENERIC: Final = "generic"


class LimitSources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where an answer says the state of one limit."""

    dimension: str = "requests"
    limit: str | None = None
    remaining: str | None = None
    #: When the limit is available again; the latest of several counts.
    reset: tuple[str, ...] = ()
    #: `used/limit`, as `40/40`, and what is used beside `limit`.
    ratio: str | None = None
    used: str | None = None
    #: The length of the window: as the provider documents it, or where an answer says it, in `interval_unit` without a unit.
    #: Of a provider that says several limits in one header, `600,30000`, the windows are several: `15m, 24h`.
    window: str | None = None
    interval: str | None = None
    interval_unit: Literal["s", "ms"] = "s"
    #: The units that come back each second, and those that the call needs: they tell the reset after a denial.
    refill: str | None = None
    needed: str | None = None
    #: The provider's name of the limit: a bucket or a resource.
    name: str | None = None
    #: The unit of a number in `reset` that is a span.
    unit: Literal["s", "ms"] = "s"


class PolicyFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The names of a pair of fields in the syntax of RateLimit and RateLimit-Policy, and of a reset that goes with them."""

    state: str
    policy: str
    reset: str | None = None


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition on an answer: its status, and a value that is there, has one of these texts, or is absent."""

    status: tuple[int, ...] = ()
    where: str | None = None
    equals: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    absent: bool = False


class Ban(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which answers the provider counts before it bans a client: statuses, unless `exempt` holds."""

    statuses: tuple[int, ...] = (401, 403, 429)
    exempt: tuple[Condition, ...] = ()


STANDARD: Final = PolicyFields(state="ratelimit", policy="ratelimit-policy")
#: The denials of a dialect that names none.
_ONLY_429: Final = (Condition(status=(429,)),)


class DialectFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a dialect file says."""

    title: str
    #: The page that documents the limits, and the date on which it said so.
    source: str
    date: datetime.date
    #: Other names of the provider.
    aliases: tuple[str, ...] = ()
    #: What a limit without remaining units holds: the scope of the call, or all scopes of the provider.
    scope: Literal["scope", "provider"] = "provider"
    #: Conditions under which such a limit holds the provider whatever `scope` says.
    provider_wide: tuple[Condition, ...] = ()
    limits: tuple[LimitSources, ...] = ()
    fields: tuple[PolicyFields, ...] = ()
    #: Sources of a wait beside Retry-After and its relatives, in seconds without a unit.
    waits: tuple[str, ...] = ()
    #: Headers that say in JSON how much of a limit is used, in percent: at 100 no call may be sent, whatever the status.
    usage: tuple[str, ...] = ()
    #: Answers that deny a call as rate limited.
    throttled: tuple[Condition, ...] = _ONLY_429
    #: The wait after such an answer that does not say when to come back.
    default_wait: str | None = None
    ban: Ban = Ban()
    #: Whether calls that fail are answered with 200 as well: adapters then read the small bodies of all answers.
    fails_with_200: bool = False


# What msgspec has to know of these types is built while one thread imports. Two threads that build it at once, each with its
# first answer, crash the process.
_TABLE: Final = msgspec.json.Decoder(dict[str, DialectFile])


class LimitReader(NamedTuple):
    """The sources of a limit, with what is derived from them for speed."""

    sources: LimitSources
    #: The header or the path without which an answer that is not rate limited does not say the limit.
    marker: str
    #: Headers and paths of which one says the limit in an answer that is rate limited.
    signs: tuple[str, ...]
    unit: int
    #: The window, or -1; and those of limits that are said in one header, if there are several.
    window: int
    windows: tuple[int, ...]
    #: Whether one of the sources is in a body, and whether an answer without one cannot say the limit.
    in_body: bool
    only_in_body: bool = False
    #: Whether the limit, or what remains, is said by a ratio or by the units that come back.
    is_calculated: bool = False


class Dialect(DialectFile, frozen=True, forbid_unknown_fields=True, eq=False):
    """How one provider says its limits, with what is derived from its file for speed. Hashed by identity, which is fast."""

    #: Headers of which one is in every answer that has a hint in its headers, and a status below 400.
    markers: tuple[str, ...] = ()
    #: Headers that say a limit, for answers whose headers cannot be listed.
    known: tuple[str, ...] = ()
    readers: tuple[LimitReader, ...] = ()
    #: Statuses that mean "rate limited" whatever else the answer says.
    throttled_statuses: frozenset[int] = frozenset()
    #: `default_wait`, or `MIN_WAIT`.
    wait: Duration = MIN_WAIT


@lru_cache(maxsize=1_024)
def dialect_of(provider: str) -> Dialect:
    """The dialect of a provider by its name; `generic` for an unknown one.

    What follows a `/` or `:` is a key or a method. Case and separators do not matter, and further words may follow the name:
    `azure-openai`, `GitHub`, `github-enterprise`, `stack-exchange-eu` and `openai/gpt-5` are known.
    """
    names, words = _names(), re.split("[-_. ]", re.split("[/:]", provider, maxsplit=1)[0][:64].lower())
    for many in range(len(words), 0, -1):
        known = "".join(words[:many])
        if known in names and (many == len(words) or len(known) >= _MIN_WORD):
            return _built_in(names[known])
    return _built_in(GENERIC)


def built_in_dialects() -> Mapping[str, Dialect]:
    """The dialects of this package by name."""
    return {name: _built_in(name) for name in _table()}


@cache
def _built_in(name: str) -> Dialect:
    table = _table()
    said, generic = table[name], table[GENERIC]
    if not said.limits and said.throttled == _ONLY_429:
        # What has neither limits nor denials of its own is read as the answers of an unknown provider are.
        said = msgspec.structs.replace(said, limits=generic.limits, throttled=generic.throttled)
    found = _derived(said)
    if said.limits is generic.limits:
        # What a known provider says only about limits is understood in the answers of an unknown one that say "rate limited".
        known = {_marker(limit): limit for one in table.values() for limit in one.limits}
        others = [limit for marker, limit in known.items() if marker[0] != "$" and marker not in found.markers]
        readers = (*found.readers, *map(_reader, others))
        found = msgspec.structs.replace(found, readers=readers, known=_known(found.markers, found.fields, readers))
    # The waits of the generic dialect are those of all.
    return msgspec.structs.replace(found, waits=tuple(dict.fromkeys((*found.waits, *generic.waits))))


@cache
def _table() -> Mapping[str, DialectFile]:
    return _TABLE.decode((data_folder(__package__, "dialects") / "table.json").read_bytes())


def read_dialects(folder: "Traversable") -> dict[str, Dialect]:
    """The dialects of a folder, by the names of their files. Raises `ConfigError` for a file that is not a dialect."""
    found = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {name.removesuffix(".toml"): _read(name, entry.read_text(encoding="utf-8")) for name, entry in found}


def _read(name: str, text: str) -> Dialect:
    import tomllib  # The built-in dialects need none.

    try:
        return _derived(msgspec.convert(tomllib.loads(text), DialectFile))
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ConfigError) as error:
        raise ConfigError(name, text, "a dialect", message=f"dialect {name}: {error}") from None


def _derived(said: DialectFile) -> Dialect:
    readers = tuple([_reader(limit) for limit in said.limits])
    conditions = [one.where for one in said.throttled if one.where is not None and not one.status]
    fields = (field.state for field in said.fields)
    markers = [*sorted(ALWAYS_MEANT), STANDARD.state, STANDARD.policy, *fields, *_sources(readers), *conditions, *said.usage]
    return Dialect(
        **{field: getattr(said, field) for field in DialectFile.__struct_fields__},
        markers=_headers(markers),
        known=_known(markers, said.fields, readers),
        readers=readers,
        throttled_statuses=frozenset(status for one in said.throttled if one.where is None for status in one.status),
        wait=max(MIN_WAIT, parse_duration(said.default_wait)) if said.default_wait else MIN_WAIT,
    )


def _marker(limit: LimitSources) -> str:
    marker = limit.remaining or limit.ratio or limit.used or limit.limit or limit.refill
    if marker is None:
        raise ConfigError("limits", limit, "a limit with `remaining`, `ratio`, `used`, `limit` or `refill`")
    return marker


def _reader(limit: LimitSources) -> LimitReader:
    marker = _marker(limit)
    windows = tuple([int(parse_duration(one.strip())) for one in (limit.window or "").split(",") if one.strip()])
    return LimitReader(
        limit,
        marker,
        (marker, *limit.reset),
        MILLISECOND if limit.unit == "ms" else SECOND,
        windows[0] if len(windows) == 1 else -1,
        windows if len(windows) > 1 else (),
        any(source is not None and source[0] == "$" for source in (limit.limit, limit.remaining, limit.ratio, limit.name)),
        all(sign[0] == "$" for sign in (marker, *limit.reset, limit.limit or "$", limit.ratio or "$")),
        limit.ratio is not None or limit.refill is not None,
    )


def _headers(sources: Iterable[str]) -> tuple[str, ...]:
    """The sources that are headers, each once."""
    return tuple(dict.fromkeys(source for source in sources if source[0] != "$"))


def _known(markers: Iterable[str], fields: Iterable[PolicyFields], readers: Iterable[LimitReader]) -> tuple[str, ...]:
    signs = [sign for reader in readers for sign in (*reader.signs, reader.sources.limit, reader.sources.interval) if sign]
    return _headers((*markers, *(field.policy for field in fields), *signs))


def _sources(readers: tuple[LimitReader, ...]) -> list[str]:
    return [reader.marker for reader in readers]


@cache
def _names() -> dict[str, str]:
    """The names of the dialects, and the other names of their providers, without separators."""
    return {re.sub("[-_. ]", "", name): key for key, one in _table().items() for name in (key, *one.aliases)}
