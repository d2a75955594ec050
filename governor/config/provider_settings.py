"""Settings of a provider as a whole, `[provider.NAME]`, as a frozen record."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from governor._units import SECOND, Duration
from governor.config.hosts import place
from governor.config.mistakes import Mistakes
from governor.config.names import DEFAULT, method_name
from governor.config.preset import PresetReference, find
from governor.errors import ConfigError
from governor.hints import MAX_HINT
from governor.policies import _checks
from governor.policies.ban_budget import BanBudget
from governor.policies.contract import Limit
from governor.policies.method_names import near

#: The largest cost of a method.
MAX_COST: Final = 1_000_000
#: The cost of one request by method: a number of requests, or amounts by unit.
MethodCosts = Mapping[str, int | Mapping[str, int]]

#: How a provider is asked about which the settings say nothing.
Unknown = Literal["policy", "adaptive"]
#: Which tokens of a call a provider counts.
TokensCounted = Literal["used", "reserved"]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a provider as a whole, `[provider.NAME]`. Raises `ConfigError`.

    `limits` hold over all scopes of the provider together, in addition to the limits of each scope. `cost` is what one request
    of a method costs in these limits, by method, with `default` for all others: a number of requests (1 if the table does not
    name the method), or a table of amounts by unit. Amounts are 0 to 1,000,000. Places in flight have no cost: each request
    takes as many as it has requests.

    `ban_budget` is how many calls the server may reject before the provider closes, so that it does not ban the client.

    `hosts` are the hosts whose requests belong to the provider, where no adapter names it.

    A `preset` sets the published limits of a provider, and what else is known of it: `github/token`, or the path of a file,
    `acme.toml/gold`. What the section sets itself takes precedence.

    What a server says about its limits is believed for `max_hint` at most: 1 second to 366 days. `unknown` says how a provider
    is asked for which there are neither limits in a section of its own nor a preset: as the default settings say ("policy"), or
    gently at first, and then as fast as it does not deny ("adaptive").

    `tokens_counted` says which tokens of a call the limits of the provider count: those that it has used, or those that it
    reserves when it arrives, which are its prompt and the most that it may answer ("reserved").
    """

    limits: tuple[Limit, ...] = ()
    cost: MethodCosts = {}
    hosts: tuple[str, ...] = ()
    ban_budget: BanBudget = BanBudget()
    preset: PresetReference | None = None
    max_hint: Duration = MAX_HINT
    unknown: Unknown = "policy"
    tokens_counted: TokensCounted = "used"

    def __post_init__(self) -> None:
        _checks.integers(self)
        _checks.span(self, "max_hint", minimum=SECOND)
        if self.unknown not in get_args(Unknown):
            raise ConfigError("unknown", self.unknown, "'policy' or 'adaptive'")
        if self.tokens_counted not in get_args(TokensCounted):
            raise ConfigError("tokens_counted", self.tokens_counted, "'used' or 'reserved'")
        mistakes = Mistakes()
        costs: dict[str, int | Mapping[str, int]] = {}
        for method, cost in self.cost.items():
            with mistakes:
                name = method_name(method, field="cost")
                if name in costs:
                    raise ConfigError("cost", method, "each method once; upper and lower case do not differ")
                meant = near(name)
                if meant is not None:
                    raise ConfigError("cost", method, f"a method (did you mean {meant!r}?)")
                costs[name] = _cost(f"cost.{name}", cost)
        for index, host in enumerate(self.hosts):
            with mistakes:
                place(host, field=f"hosts[{index}]")
        if self.preset is not None:
            with mistakes:
                find(self.preset)
        mistakes.report()
        msgspec.structs.force_setattr(self, "cost", costs)

    @property
    def all_count(self) -> bool:
        """Whether a request of any method takes a unit at least of each limit of requests."""
        return all(self.cost_of(method)[0] for method in (*self.cost, DEFAULT))

    def cost_of(self, method: str) -> tuple[int, Mapping[str, int]]:
        """What one request of a method costs: the number of requests, and amounts of other units."""
        cost = self.cost.get(method, self.cost.get(DEFAULT, 1))
        if isinstance(cost, int):
            return cost, {}
        return cost.get("requests", 1), {unit: amount for unit, amount in cost.items() if unit != "requests"}


def check_key_section(settings: ProviderSettings, *, field: str) -> None:
    """Raises `ConfigError` if the section of a key has other settings than `limits` and `cost`."""
    for name, default in zip(settings.__struct_fields__, settings.__struct_defaults__, strict=True):
        value = getattr(settings, name)
        if name not in ("limits", "cost") and value != default:
            shown = list(value) if isinstance(value, tuple) else value
            raise ConfigError(f"{field}.{name}", shown, "only 'limits' and 'cost' in the section of a key")


def _cost(field: str, cost: int | Mapping[str, int]) -> int | Mapping[str, int]:
    if not isinstance(cost, Mapping):
        return _checks.whole(field, cost, minimum=0, maximum=MAX_COST)
    for unit in cost:
        _checks.unit_name(f"{field}.{unit}", unit)
    return {unit: _checks.whole(f"{field}.{unit}", amount, minimum=0, maximum=MAX_COST) for unit, amount in cost.items()}
