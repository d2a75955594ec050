"""What does the governor answer in a test? Always yes, or no for a reason of your choice."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from governor._actors.scope import ScopeActor
from governor._governor import Governor
from governor._units import from_seconds
from governor.config import DEFAULT, Config, GlobalPolicy, ScopePolicy
from governor.errors import Reason, UsageError
from governor.messages import Denied
from governor.policies import _checks
from governor.policies.breaker import Breaker

_GENEROUS: Final = _checks.MOST


def unlimited() -> Config:
    """A configuration that refuses nothing: no limits, and no number of failures that opens a breaker or pauses traffic.

    Retries are as in the built-in defaults.
    """
    config = Config.from_mapping({})
    scope = ScopePolicy(limits=(), breaker=Breaker(failures=_GENEROUS))
    everything = GlobalPolicy(requests_per_minute=_GENEROUS, degraded_after_failures=_GENEROUS)
    return Config(
        global_=everything,
        outbound={DEFAULT: scope},
        inbound=config.inbound,
        inbound_settings=config.inbound_settings,
        logging=config.logging,
    )


@contextmanager
def refusing(
    governor: Governor,
    provider: str,
    method: str | None = None,
    *,
    reason: Reason = Reason.RATE_LIMIT,
    retry_after: float | None = 60.0,
) -> Iterator[None]:
    """Until the block ends, whoever asks in this scope, or waits in its line, is refused for this reason.

    `retry_after` is in seconds, from 0 to 366 days; None says that waiting cannot help. Outcomes of earlier permits are taken
    as ever, and afterwards the scope goes on as it was. For a running governor, from any thread; blocks for one scope do not
    nest. Raises `ConfigError`, and `UsageError` if the governor is not running.
    """
    wait = None if retry_after is None else from_seconds(retry_after, field="retry_after")
    actor = governor._find(provider, method, None)
    if isinstance(actor, Denied):
        raise actor.exception()
    home = governor._running()
    home.call(partial(actor.close, reason, wait))
    try:
        yield
    finally:
        try:
            home.call(partial(_resume, governor, actor))
        except UsageError:
            pass  # Closed meanwhile: then it goes on refusing, and says so.


def _resume(governor: Governor, actor: ScopeActor) -> None:
    supervisor = governor._supervisor
    if supervisor is not None:
        supervisor.resume(actor)
