"""The parameters of a circuit breaker."""

from typing import TYPE_CHECKING

import msgspec

from governor._units import MINUTE, Duration, DurationLike
from governor.errors import ConfigError
from governor.policies import _checks
from governor.policies.breakers._call_log import SLOTS


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a circuit breaker. Raises `ConfigError`.

    It opens after `failures` failures in a row (None: they are not counted), or when a share of at least `failure_rate` (above
    0, at most 1) has failed of the last `window_calls` calls or of the calls in the last `window`, once there are at least
    `minimum_calls`. A success that took `slow_call` or longer until its answer began counts as a failure. After `open_for`, at
    most `probes` calls are granted; `successes` of them close the breaker, and one failure opens it again. A probe without an
    answer for `probe_deadline` releases its place. Each reopening makes the time a fifth longer, up to `max_open_for` (or
    `open_for` if that is longer), until the breaker has closed for good. With `ramp_up`, `probes` calls may be without an
    answer after it closes, and one more for each success, until calls no longer use that up.

    Durations are text or `timedelta`, from 1 microsecond to 366 days.
    """

    failures: int | None = 5
    failure_rate: float | None = None
    window_calls: int | None = None
    window: Duration | None = None
    minimum_calls: int = 10
    slow_call: Duration | None = None
    successes: int = 2
    open_for: Duration = MINUTE
    max_open_for: Duration = Duration(10 * MINUTE)
    probes: int = 3
    probe_deadline: Duration = MINUTE
    ramp_up: bool = True

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            failures: int | None = 5,
            failure_rate: float | None = None,
            window_calls: int | None = None,
            window: DurationLike | None = None,
            minimum_calls: int = 10,
            slow_call: DurationLike | None = None,
            successes: int = 2,
            open_for: DurationLike = MINUTE,
            max_open_for: DurationLike = "10m",
            probes: int = 3,
            probe_deadline: DurationLike = MINUTE,
            ramp_up: bool = True,
        ) -> None: ...

    def __post_init__(self) -> None:
        _checks.integers(self)
        if self.failures is not None:
            _checks.whole("failures", self.failures)
        if self.failure_rate is not None:
            _checks.share("failure_rate", self.failure_rate)
        if self.window_calls is not None:
            _checks.whole("window_calls", self.window_calls, maximum=SLOTS)
        if self.window is not None:
            _checks.span(self, "window")
        _checks.whole("minimum_calls", self.minimum_calls, maximum=self.window_calls or _checks.MAX_AMOUNT)
        if self.slow_call is not None:
            _checks.span(self, "slow_call")
        _checks.span(self, "open_for")
        _checks.span(self, "max_open_for")
        _checks.span(self, "probe_deadline")
        _checks.whole("probes", self.probes, maximum=SLOTS)
        _checks.whole("successes", self.successes, maximum=self.probes)
        if self.failures is None and self.failure_rate is None:
            raise ConfigError("failures", None, "a whole number, unless failure_rate is set")
        windows = (self.window_calls is not None) + (self.window is not None)
        if self.failure_rate is None and windows:
            raise ConfigError("failure_rate", None, "a number above 0 and at most 1 when a window is set")
        if self.failure_rate is not None and windows != 1:
            raise ConfigError("window", self.window, "exactly one of window_calls and window beside failure_rate")
