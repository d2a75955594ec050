"""Governors and configurations in one line."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

import pytest

from governor import Config, Governor, _default
from governor._actors.actor import ScopeActor
from governor._supervisor import Supervisor
from governor._units import MILLISECOND
from governor.clock import Clock, system_clock
from governor.hints import reading
from governor.instrumentation import AnyEvent
from governor.policies.learning.server_limits import ServerLimits
from governor.testing import loop_clock

#: A number of failures, or of requests, that no test reaches.
NEVER_REACHED = 10**9


class NoSpread(Random):
    """Ends the waits that servers set exactly when they say."""

    def random(self) -> float:
        return 0.0


def configured(*limits: str, scope: Mapping[str, object] | None = None, **global_: object) -> Config:
    """`limits` for every scope, `scope` for its other settings; everything else stands under `[global]`."""
    return Config.from_mapping({"global": global_, "outbound": {"default": {"limits": limits, **(scope or {})}}})


def governed(
    *limits: str,
    clock: Clock = system_clock,
    hooks: tuple[Callable[[AnyEvent], object], ...] = (),
    scope: Mapping[str, object] | None = None,
    **global_: object,
) -> Governor:
    """A governor with that configuration."""
    return Governor(configured(*limits, scope=scope, **global_), clock=clock, hooks=hooks)


def in_virtual_time(*limits: str, scope: Mapping[str, object] | None = None, **global_: object) -> Governor:
    """The same on the clock of the event loop, for simulations."""
    return Governor(configured(*limits, scope=scope, **global_), clock=loop_clock())


def only_retries(delay: str, **scope: object) -> Config:
    """Nothing but retries matters, and those come after `delay` at most, except for what is said of scope and `provider`."""
    retry = {"attempts": 3, "first_delay": delay, "max_delay": delay}
    plenty = {"limits": ["1000000/s burst 1000000"], "breaker": {"failures": NEVER_REACHED}, "retry": retry}
    everywhere = {"requests_per_minute": NEVER_REACHED, "degraded_after_failures": NEVER_REACHED}
    sections = {
        "global": everywhere,
        "provider": {"default": scope.pop("provider", {})},
        "outbound": {"default": plenty | scope},
    }
    return Config.from_mapping(sections)


@contextmanager
def brief_denials() -> Iterator[None]:
    """Denials that do not say for how long pause calls for a millisecond, and not for seconds; no rate is learned from them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading._Answer, "_until", lambda *_: (MILLISECOND, True))
        patch.setattr(ServerLimits, "throttled", lambda *_, **__: (None, False))
        yield


@contextmanager
def no_default_yet() -> Iterator[None]:
    """A process that has not asked for its governor yet; what starts within the block ends with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_default, "_started", {})
        patch.delenv("GOVERNOR_CONFIG", raising=False)
        yield
        for governor in _default._started.values():
            governor.__exit__(None, None, None)


def actor_of(governor: Governor, provider: str, method: str | None = None) -> ScopeActor:
    """The actor at an address that has been used."""
    actor = governor._access.addresses[method][provider]
    assert isinstance(actor, ScopeActor)
    return actor


def supervisor_of(governor: Governor) -> Supervisor:
    """The supervisor of a governor that has been entered."""
    supervisor = governor._access.backend
    assert isinstance(supervisor, Supervisor)
    return supervisor
