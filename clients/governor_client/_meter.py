"""Tokens and money that HTTP calls are charged: an estimate before a call is sent, and what its answer says when it ends.

Only calls are charged whose scope, provider or budget counts one of `UNITS`. What an answer decides:

- 300 to 499, except 408: nothing was used, and the estimate is given back.
- 200 to 299 with a `usage`: that. Of a stream that is left before the last `usage`, the output is at least the estimate.
- Everything else, such as no answer, 408, 500 and more, or an answer without `usage`: the estimate stays, with as many tokens
  of output at least as a stream has had events.

Where the provider counts the tokens that a call reserves (`tokens_counted`), the tokens of an estimate are never given back.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, final

from governor import Cost
from governor.config import provider_name, scope_of
from governor_client._estimate import Estimate, Estimator, estimate
from governor_client._frames import Frames
from governor_client._observed import Observer
from governor_client._request import Request
from governor_client._server_wait import Headers
from governor_client._usage import Usage, UsageReader

if TYPE_CHECKING:
    from governor import Config, Governor
    from governor.config import PriceSettings
    from governor_client._attempt import Attempt

_log: Final = logging.getLogger("governor")

_MILLION: Final = 1_000_000

#: The units that calls are charged.
UNITS: Final = ("tokens", "input_tokens", "output_tokens", "usd")
#: Methods and labels whose units are remembered; at the bound they are looked up anew.
_MAX_REMEMBERED: Final = 1_024
#: The estimators that replace `estimate`, by provider. A program sets them when it starts.
_estimators: Final[dict[str, Estimator]] = {}


def estimate_with(provider: str, estimator: Estimator | None) -> None:
    """Replaces the estimate of what requests of a provider will use: `estimate_with("openai", count_tokens)`.

    `estimator` is called with each `Request` that is charged tokens, before it is sent, in its thread or task; it returns an
    `Estimate`. If it raises, the built-in estimate is used, and the error is logged. None restores the built-in estimate. For
    the whole process. Raises `ConfigError` for a name that is not a provider.
    """
    name = provider_name(provider)
    if estimator is None:
        _estimators.pop(name, None)
    else:
        _estimators[name] = estimator


class Known(NamedTuple):
    """What calls are charged under some settings."""

    config: "Config | None"
    #: Providers and methods whose calls are charged nothing, whatever their label.
    free: set[tuple[str, str]]
    #: The units by provider, method and label.
    units: dict[tuple[str, str, str | None], tuple[str, ...]]


@final
class Charged:
    """The units that calls of one provider are charged, by method and label, under the settings in force."""

    __slots__ = ("_provider", "_warned", "known")

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._warned = False
        #: What has been found.
        self.known = Known(None, set(), {})

    def meter(self, governor: "Governor", provider: str, request: Request) -> "Meter | None":
        """What charges this request; None if nothing of it is charged.

        `provider` is that of the request with its key, if it has one.
        """
        config = governor.config
        units = self._units(governor, provider, request.method, request.caller)
        if not units:
            return None
        estimated = _estimate(self._provider, request)
        if "usd" in units and not (config.prices or self._warned):
            self._warned = True
            _log.warning(
                "A budget counts usd, and the settings have no [prices]: calls to %s through an adapter spend none of it.",
                self._provider,
            )
        price = config.price_of(estimated.model) if "usd" in units else None
        reserved = config.for_provider(self._provider).tokens_counted == "reserved"
        return Meter(units, estimated, price, reserved=reserved)

    def is_free(self, governor: "Governor", provider: str, method: str) -> bool:
        """Whether calls with this method are charged nothing, whatever their label. Then `known` says so from now on."""
        return not self._units(governor, provider, method, None) and not governor.config.budget

    def _units(self, governor: "Governor", provider: str, method: str, caller: str | None) -> tuple[str, ...]:
        """The units that a call is charged."""
        config, known = governor.config, self.known
        if config is not known.config or len(known.units) > _MAX_REMEMBERED:
            # Replaced as a whole: another thread may be adding what it has found under the settings before.
            self.known = known = Known(config, set(), {})
        label = governor.leases.label(caller) if config.budget else None
        units = known.units.get((provider, method, label))
        if units is None:
            counted = self._counted(config, scope_of(provider, method), label)
            units = known.units[provider, method, label] = tuple(unit for unit in UNITS if unit in counted)
            if not units and not config.budget:
                known.free.add((provider, method))
        return units

    def _counted(self, config: "Config", scope: str, label: str | None) -> set[str]:
        """What limits and budgets count of a call."""
        keyed = config.provider.get(config.keyed_section(scope) or "")
        shared = (*config.for_provider(self._provider).limits, *(() if keyed is None else keyed.limits))
        counted = {limit.unit for limit in (*config.for_scope(scope).limits, *shared)}
        if label is not None:
            budgets = (settings.budget(name) for name, settings in config.budget.items())
            counted |= {limit.unit for budget in budgets if budget.covers(label) for limit in budget.limits}
        return counted


def _estimate(provider: str, request: Request) -> Estimate:
    own = _estimators.get(provider)
    if own is not None:
        try:
            return own(request)
        except Exception as error:
            _log.error("The estimator of %s failed, and the built-in one is used.", provider, exc_info=error)
    return estimate(request)


class Sender(Protocol):
    """An operation, as a meter needs it."""

    attempt: "Attempt"


@final
class Meter:
    """Charges one request, each of its attempts anew."""

    __slots__ = ("_price", "_reserved", "_units", "estimate")

    def __init__(
        self, units: tuple[str, ...], estimate: Estimate, price: "PriceSettings | None" = None, *, reserved: bool = False
    ) -> None:
        self._units = units
        self.estimate = estimate
        self._price = price
        #: The tokens that stay charged, whatever is used.
        self._reserved = Usage(estimate.input, estimate.output, 0, estimate.input) if reserved else Usage(0, 0, 0, 0)

    @property
    def cost(self) -> Cost:
        """The cost of a permit."""
        taken, output = self.estimate.input, self.estimate.output
        return self._amounts(Usage(taken, output, 0, taken)) if taken or output else 1

    def begin(self, operation: "Sender", status: int, headers: Headers) -> Observer | None:
        """The answer has begun. Returns what reads its usage, if it may say any."""
        attempt = operation.attempt
        if 300 <= status < 500 and status != 408:
            attempt.settle(self._amounts(Usage(0, 0, 0, 0)))
            return None
        kind = (headers.get("content-type") or "").lower()
        frames = Frames() if "amazon.eventstream" in kind else None
        if status >= 300 or not (frames or "json" in kind or "event-stream" in kind):
            return None
        return _Reading(self, attempt, UsageReader(sse="event-stream" in kind), frames)

    def used(self, usage: Usage, *, final: bool) -> Mapping[str, float]:
        """The amounts of a usage; not `final` if more may have been used than was said."""
        return self._amounts(usage if final else usage._replace(output=max(usage.output, self.estimate.output)))

    def _amounts(self, usage: Usage) -> dict[str, float]:
        reserved = self._reserved
        amounts: dict[str, float] = {
            "tokens": max(usage.tokens, reserved.tokens),
            "input_tokens": max(usage.counted_input, reserved.counted_input),
            "output_tokens": max(usage.output, reserved.output),
        }
        if self._price is not None:
            amounts["usd"] = self._price.micro_usd(usage.input, usage.output, usage.cached, usage.written) / _MILLION
        return {unit: amounts[unit] for unit in self._units if unit in amounts}


@final
class _Reading:
    """Reads the usage of one answer, and settles it."""

    __slots__ = ("_attempt", "_frames", "_meter", "_reader")

    def __init__(self, meter: Meter, attempt: "Attempt", reader: UsageReader, frames: Frames | None) -> None:
        self._meter = meter
        self._attempt = attempt
        self._reader = reader
        self._frames = frames

    def feed(self, data: bytes) -> None:
        if self._frames is None:
            self._reader.feed(data)
        else:
            for payload in self._frames.payloads(data):
                self._reader.event(payload)

    def end(self, *, whole: bool) -> None:
        usage, events, estimated = self._reader.usage, self._reader.events, self._meter.estimate
        if usage is not None:
            self._attempt.settle(self._meter.used(usage, final=whole or self._reader.final))
        elif events > estimated.output:
            self._attempt.settle(self._meter.used(Usage(estimated.input, events, 0, estimated.input), final=True))
