"""Governors and configurations in one line."""

from collections.abc import Callable, Mapping

from governor import Config, Governor
from governor.clock import Clock, system_clock
from governor.instrumentation import AnyEvent
from governor.testing import loop_clock

#: A number of failures, or of requests, that no test reaches.
NEVER_REACHED = 10**9


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
