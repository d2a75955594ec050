"""What is decided once every layer of the configuration has spoken?

Frozen records, with durations in microseconds. Their fields are the keys of the policy file, and their defaults are what
`[outbound.default]`, `[inbound.default]`, `[global]` and `[logging]` say when nobody says anything.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from governor._units import MINUTE, SECOND, Duration
from governor.config.files import expanded
from governor.config.names import check_name
from governor.config.text import describe
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.breaker import Breaker
from governor.policies.contract import REQUESTS
from governor.policies.degraded import MAX_PROVIDERS
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import Limit
from governor.policies.method_names import near
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget

#: Debts of more bursts or windows than this are as good as unbounded.
_MAX_DEBT: Final = 1000
#: The token of RFC 9110, section 5.6.2.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What no path of a request has when it is compared: templates and patterns of several frameworks, queries, fragments.
_TEMPLATE: Final = re.compile(r"[{}<>*?#]")
#: A segment that stands for any other, with a convertor or without, and one that stands for all that follow.
_PARAMETER: Final = re.compile(r"\{\w+(?::(?!path\})\w+)?\}")
_REST: Final = re.compile(r"\{\w+:path\}")
#: Characters of a path. A longer one is not read, and belongs to the strictest group of all.
MAX_PATH: Final = 4096

#: Among the trusted proxies: every peer without an address, as at the other end of a unix socket.
UNIX_PEERS: Final = "unix:"
#: Which claims count without the client address: those of trusted proxies, all, or none.
Identity = Literal["claimed", "trusted", "address"]
#: The field in which proxies say for whom they ask; `auto` finds out for each.
ForwardedHeader = Literal["auto", "x-forwarded-for", "forwarded"]
#: What happens to a request from another event loop that the governor's does not answer in time.
OnOverload = Literal["pass", "deny"]


class GlobalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds over all outbound scopes together. Raises `ConfigError`.

    At most `requests_per_minute` go out in any 60 seconds; None: no cap. Two things pause all providers but the
    `degraded_exempt` for `degraded_cooldown`: `degraded_after_failures` in a row, from at least `degraded_after_providers`; and
    the cap, once it has denied more than the share `degraded_after_excess` of itself within 60 seconds. None switches either
    of them off. There are at most `max_scopes` scopes, each with at most `max_waiting` waiting callers; a scope that was idle
    for `idle_after` is retired. Counts are at least 1, the share is above 0 and at most 100, durations are at least 1
    microsecond.
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
        _checks.positive_span("degraded_cooldown", self.degraded_cooldown)
        for provider in sorted(self.degraded_exempt):
            check_name(provider, field="degraded_exempt")
        _checks.whole("max_scopes", self.max_scopes)
        _checks.whole("max_waiting", self.max_waiting)
        _checks.positive_span("idle_after", self.idle_after)


class ScopeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one outbound scope: all of its limits at once, its breaker, its retries and the budget they draw on.

    Calls that use more than their permits said bring a bucket into debt by at most `max_debt` bursts, and count in a strict
    window as at most that many amounts beyond one; 0 to 1000. Raises `ConfigError`.
    """

    limits: tuple[Limit, ...] = (TokenBucket(10, SECOND, 100),)
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    retry_budget: RetryBudget = RetryBudget()
    max_debt: float = 1.0

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.multiple("max_debt", self.max_debt, maximum=_MAX_DEBT)


class InboundTier(msgspec.Struct, frozen=True, kw_only=True):
    """What each caller of a tier may do, in the place of the `limits` of the group. Raises `ConfigError`."""

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        _check_requests("limits", self.limits)


class InboundRoute(msgspec.Struct, frozen=True, kw_only=True):
    """What each caller may do on some routes of a group, beside what the group allows. Raises `ConfigError`.

    A path is a whole one, and may have segments that stand for any: `/users/{id}/export`. One that ends in `/` stands for
    everything beneath it as well, one that ends in `{name:path}` only for that. Without `methods` every method counts; GET
    stands for HEAD as well, as it is answered in the same way. `name` is what refusals call the limit.
    """

    paths: tuple[str, ...]
    limits: tuple[Limit, ...]
    methods: tuple[str, ...] = ()
    name: str = "route"

    def __post_init__(self) -> None:
        if not self.paths:
            raise ConfigError("paths", [], "at least one path, for instance ['/users/{id}/export']")
        for index, path in enumerate(self.paths):
            _check_template(f"paths[{index}]", path)
        if not self.limits:
            raise ConfigError("limits", [], "at least one limit, for instance ['5/minute']")
        _check_requests("limits", self.limits)
        for index, method in enumerate(self.methods):
            _check_method(f"methods[{index}]", method)
        check_name(self.name, field="name")


class InboundGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of our own endpoints, and what each of its callers may do.

    A request belongs to the group with the longest of all `paths` that begins its path, at a `/`. `limits` hold for each
    caller, `address_limits` for all callers of one client address together, and `total_limits` for everybody; all of them count
    requests. `tiers` are limits of callers by the name of a tier, `routes` limits for parts of the group. A `dry_run` counts
    and tells whom they would refuse, and refuses nobody. `on_overload` decides about requests from other event loops that the
    governor's loop does not answer in time: they `pass`, or are denied. Raises `ConfigError` for limits of other units, and for
    a path that does not begin with `/`.
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
        _check_paths("paths", self.paths)
        for field in ("limits", "address_limits", "total_limits"):
            _check_requests(field, getattr(self, field))
        for name in self.tiers:
            check_name(name, field="tiers")


class InboundSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all inbound groups together.

    Requests for one of `exempt_paths` are not limited; one that ends in `/` stands for everything beneath it as well.
    A caller is who the first of `actor_headers` says, else the first of `session_headers`, else the client address. What a
    header says counts together with the client address, unless a trusted proxy says it; with `identity` "trusted" it always
    counts alone, with "address" never. What `X-Forwarded-For` or `Forwarded` says of the address, whichever `forwarded_header`
    names, counts only behind `trusted_proxies`: networks, and "unix:" for peers without an address. Addresses of IPv6 count by
    their network of `ipv6_prefix` bits, 32 to 128. Each table of callers has at most `max_clients` entries. With `announce`
    every answer says what is left of the quota, not only refusals. The groups of the `preset` are there besides those that are
    named. Raises `ConfigError`.
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
    preset: Literal["venom"] | None = None

    def __post_init__(self) -> None:
        _checks.integers(self)
        _check_paths("exempt_paths", self.exempt_paths)
        for field in ("actor_headers", "session_headers"):
            for index, name in enumerate(getattr(self, field)):
                if not _HEADER.fullmatch(name):
                    raise ConfigError(f"{field}[{index}]", name, "the name of a header field, for instance 'x-actor'")
        _check_word("identity", self.identity, Identity)
        for index, network in enumerate(self.trusted_proxies):
            _check_network(f"trusted_proxies[{index}]", network)
        _check_word("forwarded_header", self.forwarded_header, ForwardedHeader)
        _checks.whole("ipv6_prefix", self.ipv6_prefix, minimum=32, maximum=128)
        _checks.whole("max_clients", self.max_clients)


class LoggingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whether detailed logs are written, and where. Off by default: then there is no file, no folder and no handler.

    `directory` None leaves the place to the log writer; a `~` at its beginning is the home of the user. All files together have
    at most `max_size_mb` megabytes, of a million bytes. Raises `ConfigError`.
    """

    enabled: bool = False
    directory: Path | None = None
    max_size_mb: int = 1024

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.whole("max_size_mb", self.max_size_mb)
        if self.directory is not None:
            msgspec.structs.force_setattr(self, "directory", expanded(self.directory))


def _check_word(field: str, value: object, words: object) -> None:
    allowed = get_args(words)
    if value not in allowed:
        raise ConfigError(field, value, f"one of {', '.join(map(repr, allowed))}")


def _check_requests(field: str, limits: tuple[Limit, ...]) -> None:
    for index, limit in enumerate(limits):
        if not isinstance(limit, InFlight) and limit.unit != REQUESTS:
            allowed = "a limit of requests, for instance '20/s burst 200', '60 per minute strict' or '5 in flight'"
            raise ConfigError(f"{field}[{index}]", describe(limit), allowed)


def _check_method(field: str, method: str) -> None:
    meant = near(method.lower())
    if not _HEADER.fullmatch(method) or method != method.upper() or meant is not None:
        hint = f" (did you mean {meant.upper()!r}?)" if meant else ""
        raise ConfigError(field, method, f"an HTTP method in upper case, for instance 'POST'{hint}")


def _check_template(field: str, path: str) -> None:
    """Segments are literal, or one parameter; `{name:path}` stands at the end only."""
    if not path.startswith("/") or len(path) > MAX_PATH:
        raise ConfigError(field, path, f"a path that begins with '/', of at most {MAX_PATH} characters")
    *segments, last = path.split("/")
    for segment in segments:
        if _TEMPLATE.search(segment) and not _PARAMETER.fullmatch(segment):
            raise ConfigError(field, path, "a path whose segments are literal or one {parameter}, as in '/users/{id}/export'")
    if _TEMPLATE.search(last) and not (_PARAMETER.fullmatch(last) or _REST.fullmatch(last)):
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


def _check_paths(field: str, paths: tuple[str, ...]) -> None:
    for index, path in enumerate(paths):
        if not path.startswith("/"):
            raise ConfigError(f"{field}[{index}]", path, "a path that begins with '/', for instance '/api/v1/chat'")
        if _TEMPLATE.search(path):
            allowed = "a path without {}, <>, *, ? and #, which is compared as it is; for a path with {parameters} use 'routes'"
            raise ConfigError(f"{field}[{index}]", path, allowed)
        if len(path) > MAX_PATH:
            raise ConfigError(
                f"{field}[{index}]", path, f"a path of at most {MAX_PATH} characters, as longer ones are not read"
            )
