"""Settings as frozen records, one for each kind of section.

The fields are the keys of the policy file, with durations in microseconds. Their defaults are the built-in settings of
`[global]`, `[outbound.default]`, `[inbound]`, `[inbound.default]` and `[logging]`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar, get_args

import msgspec

from governor._units import DAY, MINUTE, SECOND, Duration
from governor.config.builtin import PRESETS
from governor.config.files import checked_path, expanded
from governor.config.mistakes import Mistakes
from governor.config.names import check_name, provider_name
from governor.config.text import describe
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.arrivals import DEFAULT_MARGIN, Arrivals, assumed
from governor.policies.breakers.parameters import Breaker
from governor.policies.contract import REQUESTS, Limit
from governor.policies.degraded import MAX_PROVIDERS
from governor.policies.gcra import TokenBucket
from governor.policies.limits import kind_of
from governor.policies.loops import Loops
from governor.policies.method_names import near
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget

Item = TypeVar("Item")

#: The largest `max_debt`, in bursts or in amounts of a window.
_MAX_DEBT: Final = 1000
#: A token, as in RFC 9110, section 5.6.2.
_HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: Characters of templates, patterns, queries and fragments, which the path of a request never has.
_TEMPLATE: Final = frozenset("{}<>*?#")
#: A parameter for one segment, with or without a convertor, and a parameter for all segments that follow.
_PARAMETER: Final = r"\{\w+(?::(?!path\})\w+)?\}"
_REST: Final = r"\{\w+:path\}"
#: Characters of a path that are read. A longer path belongs to the strictest group.
MAX_PATH: Final = 4096

#: In `trusted_proxies`: every peer without an address, such as those of a unix socket.
UNIX_PEERS: Final = "unix:"
#: The name of a preset of inbound groups, which is built in.
PresetName = Annotated[str, "preset"]
#: Which claimed identities are trusted: "claimed" takes them with the client address, "trusted" alone, "address" not at all.
Identity = Literal["claimed", "trusted", "address"]
#: The header field in which proxies name the client; "auto" detects it for each request.
ForwardedHeader = Literal["auto", "x-forwarded-for", "forwarded"]
#: What a strict window counts by.
Counted = Literal["arrival", "outcome"]
#: Leaves a duration to the governor.
AUTO: Final = "auto"
_NO_TIME: Final = Duration(0)
Auto = Literal["auto"]
#: "off" keeps no place.
Linger = Literal["auto", "off"]
#: What happens to a request from another event loop if the governor's loop does not answer in time.
OnOverload = Literal["pass", "deny"]
#: What the limits of a route count by.
CountedBy = Literal["client", "address"]


class GlobalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for all outbound scopes together, `[global]`. Raises `ConfigError`.

    At most `requests_per_minute` requests are granted in any 60 seconds; None means no cap.

    Degraded mode pauses all providers except the `degraded_exempt` ones for `degraded_cooldown`. It begins after
    `degraded_after_failures` failures in a row, from at least `degraded_after_providers` providers; or when the cap denies more
    than the share `degraded_after_excess` of itself within 60 seconds. None disables either trigger.

    There are at most `max_scopes` scopes, each with at most `max_waiting` queued calls. A scope that is idle for `idle_after`
    is retired. Counts are at least 1, the share is above 0 and at most 100, and durations are at least 1 microsecond.
    """

    requests_per_minute: int | None = 1000
    degraded_after_failures: int | None = 10
    degraded_after_providers: int = 2
    degraded_after_excess: float | None = 0.5
    degraded_cooldown: Duration = MINUTE
    degraded_exempt: frozenset[str] = frozenset()
    max_scopes: int = 10_000
    max_waiting: int = 65_536
    idle_after: Duration = Duration(5 * MINUTE)

    def __post_init__(self) -> None:
        _checks.integers(self)
        if self.requests_per_minute is not None:
            _checks.whole("requests_per_minute", self.requests_per_minute)
        if self.degraded_after_failures is not None:
            _checks.whole("degraded_after_failures", self.degraded_after_failures)
        _checks.whole("degraded_after_providers", self.degraded_after_providers, maximum=MAX_PROVIDERS)
        if self.degraded_after_excess is not None:
            _checks.share("degraded_after_excess", self.degraded_after_excess, maximum=100)
        _checks.span(self, "degraded_cooldown")
        exempt = frozenset(provider_name(provider, field="degraded_exempt") for provider in sorted(self.degraded_exempt))
        msgspec.structs.force_setattr(self, "degraded_exempt", exempt)
        _checks.whole("max_scopes", self.max_scopes)
        _checks.whole("max_waiting", self.max_waiting)
        _checks.span(self, "idle_after")


class ScopeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one outbound scope, `[outbound.NAME]`: its limits, which all apply, its breaker, retries and retry budget.

    Calls that use more than their permits allowed put a token bucket into debt by at most `max_debt` bursts, and count in a
    strict window as at most `max_debt` amounts more than one; from 0 to 1000.

    A strict window counts a use until one window after its arrival: the beginning of its answer, and at most `arrival_margin`
    after its grant; if `counted` is "outcome", until one window after its outcome. The margin, from 1 microsecond to one day,
    is 2 s if it is "auto"; if it is given, token buckets are reduced as well, such that what arrives conforms to them. A call
    that was given up keeps its place in flight for `linger`, from 1 microsecond to one day; "auto" is the usual duration of
    calls, at most 10 minutes, and "off" keeps no place. `loops` are the parameters of the loop guard. Raises `ConfigError`.
    """

    limits: tuple[Limit, ...] = (TokenBucket(10, SECOND, 100),)
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    retry_budget: RetryBudget = RetryBudget()
    max_debt: float = 1.0
    counted: Counted = "arrival"
    arrival_margin: Duration | Auto = "auto"
    linger: Duration | Linger = "auto"
    loops: Loops = Loops()

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.multiple("max_debt", self.max_debt, maximum=_MAX_DEBT)
        _check_word("counted", self.counted, Counted)
        if self.arrival_margin != AUTO:
            _checks.span(self, "arrival_margin", maximum=DAY)
        if self.linger not in get_args(Linger):
            _checks.span(self, "linger", maximum=DAY)

    @property
    def arrivals(self) -> Arrivals:
        """What limits assume about the arrival of calls."""
        given = None if isinstance(self.arrival_margin, str) else self.arrival_margin
        linger = None if self.linger == AUTO else self.linger
        return assumed(
            self.counted == "outcome",
            DEFAULT_MARGIN if given is None else given,
            _NO_TIME if given is None else given,
            _NO_TIME if isinstance(linger, str) else linger,
        )


class InboundTier(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of each client of a tier, which replace the `limits` of the group. Raises `ConfigError`."""

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        _check_requests("limits", self.limits)


class InboundRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of each client for some routes of a group, in addition to the limits of the group. Raises `ConfigError`.

    A path is complete, and its segments may be parameters: `/users/{id}/export`. A path that ends in `/` also covers all paths
    beneath; one that ends in `{name:path}` covers only what is beneath it. Without `methods`, all methods count; GET includes
    HEAD. `name` is the name of the limit in responses and events. With `by = "address"` all clients of an address count
    together, whatever names they claim.
    """

    paths: tuple[str, ...]
    limits: tuple[Limit, ...]
    methods: tuple[str, ...] = ()
    name: str = "route"
    by: CountedBy = "client"

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        with mistakes:
            if not self.paths:
                raise ConfigError("paths", [], "at least one path, for instance ['/users/{id}/export']")
            _check_each("paths", self.paths, _check_template)
        with mistakes:
            if not self.limits:
                raise ConfigError("limits", [], "at least one limit, for instance ['5/minute']")
            _check_requests("limits", self.limits)
        with mistakes:
            _check_each("methods", self.methods, _check_method)
        with mistakes:
            check_name(self.name, field="name")
        with mistakes:
            _check_word("by", self.by, CountedBy)
        mistakes.report()


class InboundGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one group of endpoints of the application, `[inbound.NAME]`.

    A request belongs to the group with the longest of all `paths` that is a prefix of its path and ends there at a `/`.
    `limits` apply to each client, `address_limits` to all clients of one client address together, and `total_limits` to all
    clients together; all of them count requests. `tiers` are limits of clients by the name of their tier, and `routes` are
    limits of parts of the group. With `dry_run`, requests above a limit are counted and reported, and not denied. `on_overload`
    decides about requests from other event loops that the governor's loop does not answer in time: "pass" or "deny". Raises
    `ConfigError` for limits of other units, and for a path that does not begin with `/`.
    """

    paths: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = (TokenBucket(20, SECOND, 200),)
    address_limits: tuple[Limit, ...] = (TokenBucket(100, SECOND, 1000),)
    total_limits: tuple[Limit, ...] = (TokenBucket(2000, SECOND, 20_000),)
    dry_run: bool = False
    on_overload: OnOverload = "pass"
    tiers: Mapping[str, InboundTier] = {}
    routes: tuple[InboundRoute, ...] = ()

    def __post_init__(self) -> None:
        _checks.integers(self)
        _check_word("on_overload", self.on_overload, OnOverload)
        _check_each("paths", self.paths, _check_path)
        for field in ("limits", "address_limits", "total_limits"):
            _check_requests(field, getattr(self, field))
        for name in self.tiers:
            check_name(name, field="tiers")


class InboundSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for all inbound groups together, `[inbound]`. Raises `ConfigError`.

    Requests for `exempt_paths` are not limited; a path that ends in `/` also covers everything beneath it.

    The client key is the value of the first of `actor_headers` that a request has, else of the first of `session_headers`, else
    the client address. The value of a header is combined with the client address, unless a trusted proxy sent it; with
    `identity` "trusted" it is always used alone, and with "address" never used. The address in `X-Forwarded-For` or
    `Forwarded`, as `forwarded_header` says, is used only behind `trusted_proxies`: networks, and "unix:" for peers without an
    address. IPv6 addresses are reduced to a network of `ipv6_prefix` bits, 32 to 128.

    Each table of clients has at most `max_clients` entries. With `announce`, every response reports the remaining quota, not
    only denials. The groups of the `preset` are added to the groups that are named.
    """

    exempt_paths: tuple[str, ...] = ("/health", "/api/v1/status", "/docs/", "/openapi.json", "/api/v1/traffic-control/")
    actor_headers: tuple[str, ...] = ("x-actor", "x-user-id")
    session_headers: tuple[str, ...] = ("x-session-id",)
    identity: Identity = "claimed"
    trusted_proxies: tuple[str, ...] = ()
    forwarded_header: ForwardedHeader = "auto"
    ipv6_prefix: int = 64
    max_clients: int = 1_000_000
    announce: bool = False
    preset: PresetName | None = None

    def __post_init__(self) -> None:
        _checks.integers(self)
        _check_each("exempt_paths", self.exempt_paths, _check_path)
        for field in ("actor_headers", "session_headers"):
            _check_each(field, getattr(self, field), _check_header)
        _check_word("identity", self.identity, Identity)
        _check_each("trusted_proxies", self.trusted_proxies, _check_network)
        _check_word("forwarded_header", self.forwarded_header, ForwardedHeader)
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError("preset", self.preset, f"one of {', '.join(map(repr, PRESETS))}")
        _checks.whole("ipv6_prefix", self.ipv6_prefix, minimum=32, maximum=128)
        _checks.whole("max_clients", self.max_clients)


class LoggingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the detailed log files, `[logging]`. While they are off, there is no file, no folder and no handler.

    Without a `directory`, the log writer chooses one; a `~` at its beginning is the home of the user. All files together are at
    most `max_size_mb` megabytes, of a million bytes each. Raises `ConfigError`.
    """

    enabled: bool = False
    directory: Path | None = None
    max_size_mb: int = 1024

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("max_size_mb", self.max_size_mb)
        if self.directory is not None:
            msgspec.structs.force_setattr(self, "directory", expanded(checked_path(self.directory, "directory")))


def _check_word(field: str, value: object, words: object) -> None:
    allowed = get_args(words)
    if value not in allowed:
        raise ConfigError(field, value, f"one of {', '.join(map(repr, allowed))}")


def _check_each(field: str, values: Iterable[Item], check: Callable[[str, Item], None]) -> None:
    """Checks each item of a list, and raises one `ConfigError` for all that are wrong."""
    mistakes = Mistakes()
    for index, value in enumerate(values):
        with mistakes:
            check(f"{field}[{index}]", value)
    mistakes.report()


def _check_requests(field: str, limits: tuple[Limit, ...]) -> None:
    _check_each(field, limits, _check_limit)


def _check_limit(field: str, limit: Limit) -> None:
    if limit.unit != REQUESTS or kind_of(limit).clients is None:
        allowed = "a limit of requests, for instance '20/s burst 200', '60 per minute strict' or '5 in flight'"
        raise ConfigError(field, describe(limit), allowed)


def _check_header(field: str, name: str) -> None:
    if not re.fullmatch(_HEADER, name):
        raise ConfigError(field, name, "the name of a header field, for instance 'x-actor'")


def _check_method(field: str, method: str) -> None:
    meant = near(method.lower())
    if not re.fullmatch(_HEADER, method) or method != method.upper() or meant is not None:
        hint = f" (did you mean {meant.upper()!r}?)" if meant else ""
        raise ConfigError(field, method, f"an HTTP method in upper case, for instance 'POST'{hint}")


def _check_template(field: str, path: str) -> None:
    """A segment is literal or one parameter; `{name:path}` may only be the last one."""
    if not path.startswith("/") or len(path) > MAX_PATH:
        raise ConfigError(field, path, f"a path that begins with '/', of at most {MAX_PATH} characters")
    *segments, last = path.split("/")
    for segment in segments:
        if not _TEMPLATE.isdisjoint(segment) and not re.fullmatch(_PARAMETER, segment):
            raise ConfigError(field, path, "a path whose segments are literal or one {parameter}, as in '/users/{id}/export'")
    if not _TEMPLATE.isdisjoint(last) and not re.fullmatch(f"{_PARAMETER}|{_REST}", last):
        raise ConfigError(field, path, "a path whose segments are literal or one {parameter}, as in '/users/{id}/export'")


def _check_network(field: str, network: str) -> None:
    try:
        if network != UNIX_PEERS:
            ip_network(network)
    except ValueError:
        allowed = (
            f"a network, for instance '10.0.0.0/8' or '2001:db8::/32', an address, or {UNIX_PEERS!r} for peers on a unix socket"
        )
        raise ConfigError(field, network, allowed) from None


def _check_path(field: str, path: str) -> None:
    if not path.startswith("/"):
        raise ConfigError(field, path, "a path that begins with '/', for instance '/api/v1/chat'")
    if not _TEMPLATE.isdisjoint(path):
        allowed = "a path without {}, <>, *, ? and #, which is compared as it is; for a path with {parameters} use 'routes'"
        raise ConfigError(field, path, allowed)
    if len(path) > MAX_PATH:
        raise ConfigError(field, path, f"a path of at most {MAX_PATH} characters, because longer ones are not read")
