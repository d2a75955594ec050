"""What is decided once every layer of the configuration has spoken?

Frozen records, with durations in microseconds. Their fields are the keys of the policy file, and their defaults are what
`[outbound.default]`, `[inbound.default]`, `[global]` and `[logging]` say when nobody says anything.
"""

from pathlib import Path

import msgspec

from governor._units import MINUTE, SECOND, Duration
from governor.config.names import check_name
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.breaker import Breaker
from governor.policies.gcra import TokenBucket
from governor.policies.limits import Limit
from governor.policies.retry import Retry
from governor.policies.retry_budget import RetryBudget


class GlobalPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds over all outbound scopes together. Raises `ConfigError`.

    At most `requests_per_minute` go out in any 60 seconds. Reaching that, or `degraded_after_failures` in a row, pauses all
    providers but the `degraded_exempt` for `degraded_cooldown`. There are at most `max_scopes` scopes, each with at most
    `max_waiting` waiting callers; a scope that was idle for `idle_after` is retired. Counts are at least 1, durations at least
    1 microsecond.
    """

    requests_per_minute: int = 1000
    degraded_after_failures: int = 10
    degraded_cooldown: Duration = MINUTE
    degraded_exempt: frozenset[str] = frozenset()
    max_scopes: int = 10_000
    max_waiting: int = 65_536
    idle_after: Duration = Duration(5 * MINUTE)

    def __post_init__(self) -> None:
        _checks.whole("requests_per_minute", self.requests_per_minute)
        _checks.whole("degraded_after_failures", self.degraded_after_failures)
        _checks.positive_span("degraded_cooldown", self.degraded_cooldown)
        for provider in sorted(self.degraded_exempt):
            check_name(provider, field="degraded_exempt")
        _checks.whole("max_scopes", self.max_scopes)
        _checks.whole("max_waiting", self.max_waiting)
        _checks.positive_span("idle_after", self.idle_after)


class ScopePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one outbound scope: all of its limits at once, its breaker, its retries and the budget they draw on."""

    limits: tuple[Limit, ...] = (TokenBucket(10, SECOND, 100),)
    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    retry_budget: RetryBudget = RetryBudget()


class InboundGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of our own endpoints, and what each of its callers may do.

    A request belongs to the group with the longest of all `paths` that begins its path, at a `/`. Raises `ConfigError` for a
    path that does not begin with `/`.
    """

    paths: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = (TokenBucket(20, SECOND, 200),)

    def __post_init__(self) -> None:
        _check_paths("paths", self.paths)


class InboundSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all inbound groups together: requests whose path begins with one of `exempt_paths` are not limited.

    Raises `ConfigError` for a path that does not begin with `/`.
    """

    exempt_paths: tuple[str, ...] = ("/health", "/api/v1/status", "/docs", "/openapi.json")

    def __post_init__(self) -> None:
        _check_paths("exempt_paths", self.exempt_paths)


class LoggingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whether detailed logs are written, and where. Off by default: then there is no file, no folder and no handler.

    `directory` None leaves the place to the log writer.
    """

    enabled: bool = False
    directory: Path | None = None


def _check_paths(field: str, paths: tuple[str, ...]) -> None:
    for index, path in enumerate(paths):
        if not path.startswith("/"):
            raise ConfigError(f"{field}[{index}]", path, "a path that begins with '/', for instance '/api/v1/chat'")
