"""Governors for tests: one that grants everything, and one that denies for a chosen reason."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

from governor._actors.actor import ScopeActor
from governor._governor import Governor
from governor._supervisor import Supervisor
from governor._units import Duration, from_seconds
from governor.config import DEFAULT, Config, GlobalSettings, ProviderSettings, ScopeSettings
from governor.errors import Reason, UsageError
from governor.messages import Denied
from governor.one_use import OneUse
from governor.policies import _checks
from governor.policies.breakers.parameters import Breaker

_GENEROUS: Final = _checks.MAX_AMOUNT
#: The actors inside a block of `denying`. Added on the thread of the actor, removed when the block ends.
_denied: Final[set[ScopeActor]] = set()


def unlimited() -> Config:
    """A configuration without limits, in which no realistic number of failures opens a breaker or begins degraded mode.

    Retries have the built-in defaults.
    """
    config = Config.from_mapping({})
    scope = ScopeSettings(limits=(), breaker=Breaker(failures=_GENEROUS))
    everything = GlobalSettings(requests_per_minute=None, degraded_after_failures=None)
    return Config(
        global_=everything,
        provider={DEFAULT: ProviderSettings()},
        outbound={DEFAULT: scope},
        inbound=config.inbound,
        inbound_settings=config.inbound_settings,
        logging=config.logging,
    )


def denying(
    governor: Governor,
    provider: str,
    method: str | None = None,
    *,
    reason: Reason = Reason.RATE_LIMIT,
    retry_after: float | None = 60.0,
) -> AbstractContextManager[None, bool | None]:
    """Denies every permit of one scope for this reason until the block ends, including those of queued calls.

    `retry_after` is in seconds, from 0 to 366 days; None means that waiting does not help. Outcomes of earlier permits are
    recorded as usual, and afterwards the scope continues as before. Can be used with a running governor, on any thread. Raises
    `UsageError` if the result is entered a second time, if blocks for one scope are nested, and if the governor is not running,
    and `ConfigError` for an invalid argument.
    """
    block = _denying(governor, provider, method, reason, retry_after)
    return OneUse(block, "what `denying` returns has been entered before, and is for one block; write `denying(...)` again")


@contextmanager
def _denying(
    governor: Governor, provider: str, method: str | None, reason: Reason, retry_after: float | None
) -> Iterator[None]:
    wait = None if retry_after is None else from_seconds(retry_after, field="retry_after")
    actor = governor._access.find(provider, method, None)
    if isinstance(actor, Denied):
        raise actor.exception()
    if not isinstance(actor, ScopeActor):
        raise UsageError("a daemon decides on the calls of this governor; test with one that has no `[machine] socket`")
    portal = governor._access.running()
    portal.call(partial(_deny, actor, reason, wait))
    try:
        yield
    finally:
        _denied.discard(actor)
        try:
            portal.call(partial(_resume, governor, actor))
        except UsageError:
            pass  # The governor has been closed meanwhile, and denies everything.


def _deny(actor: ScopeActor, reason: Reason, wait: Duration | None) -> None:
    if actor in _denied:
        raise UsageError(f"{actor.scope} is in a block of `denying` already; leave that one first")
    _denied.add(actor)
    actor.stop(reason, wait)


def _resume(governor: Governor, actor: ScopeActor) -> None:
    backend = governor._access.backend
    if isinstance(backend, Supervisor):
        backend.resume(actor)
