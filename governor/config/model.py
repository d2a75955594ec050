"""The settings in force, for the whole process and for each scope.

A `Config` is resolved: every section has inherited the settings that it does not name, so that finding the settings of a scope
takes at most three dictionary lookups.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache, cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, final

import msgspec

from governor._exports import Later
from governor.config.budget_settings import BudgetSettings, PriceSettings, in_force
from governor.config.builtin import SECTIONS, built_in
from governor.config.files import FilePath
from governor.config.hosts import Place, place
from governor.config.machine_settings import MachineSettings
from governor.config.mistakes import Mistakes
from governor.config.names import (
    DEFAULT,
    check_method,
    folded_scopes,
    join,
    keyed_name,
    keyed_of,
    provider_name,
    provider_of,
    scope_name,
    sections_of,
)
from governor.config.preset import beneath as presets_beneath
from governor.config.provider_settings import ProviderSettings, check_key_section
from governor.config.schema import entries, merge, read, unknown_key
from governor.config.sections import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, ScopeSettings
from governor.config.text import describe
from governor.errors import ConfigError

if TYPE_CHECKING:
    from governor.config import groups
else:
    groups = Later("governor.config.groups")

Settings = TypeVar("Settings", bound=msgspec.Struct)


@final
class BuiltInGroups(Mapping[str, InboundGroup]):
    """The inbound groups of settings that do not name any, read when they are first needed."""

    @cached_property
    def _groups(self) -> Mapping[str, InboundGroup]:
        return groups.read_groups({})[1]

    def __getitem__(self, name: str) -> InboundGroup:
        return self._groups[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, resolved and checked. Created by `load` and `from_mapping`.

    `provider`, `outbound` and `inbound` map the name of each section, including `default`, to its complete settings; `budget`
    and `prices` map the names of budgets and models.
    `policy_file` is the path of the file that was read, and None without one; it makes no difference to equality.
    """

    global_: GlobalSettings
    provider: Mapping[str, ProviderSettings]
    outbound: Mapping[str, ScopeSettings]
    inbound: Mapping[str, InboundGroup]
    inbound_settings: InboundSettings
    budget: Mapping[str, BudgetSettings] = {}
    prices: Mapping[str, PriceSettings] = {}
    logging: LoggingSettings
    machine: MachineSettings = MachineSettings()
    policy_file: str | None = None

    def __post_init__(self) -> None:
        for field in ("provider", "outbound", "inbound", "budget", "prices"):
            msgspec.structs.force_setattr(self, field, MappingProxyType(getattr(self, field)))

    def _settings(self) -> tuple[object, ...]:
        # Read-only mappings can neither be pickled nor copied.
        sections = map(dict, (self.provider, self.outbound, self.inbound, self.budget, self.prices))
        return self.global_, *sections, self.inbound_settings, self.logging, self.machine

    def __eq__(self, other: object) -> bool:
        return self._settings() == other._settings() if isinstance(other, Config) else NotImplemented

    # As mappings, it cannot be hashed.
    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., "Config"], tuple[object, ...]]:
        return _restored, (*self._settings(), self.policy_file)

    @classmethod
    def from_mapping(cls, said: Mapping[str, object]) -> "Config":
        """The built-in defaults, overridden key by key by a mapping in the shape of the policy file; `{}` overrides nothing.

        A limit is text or a limit object; breaker, retry and retry_budget are tables or objects; durations are text. Raises one
        `ConfigError` that lists every mistake, each with its path, the value and what is allowed.
        """
        _check_table(said)
        mistakes = Mistakes()
        with mistakes:
            said = folded_scopes(said)
        tables = merge((built_in(), presets_beneath(said.get("provider")), said))
        for key, path, value in entries(tables, field=""):
            with mistakes:
                if key not in SECTIONS:
                    raise unknown_key(path, key, value, SECTIONS, field="")
        with mistakes:
            global_ = read(GlobalSettings(), tables["global"], field="global")
        provider: Mapping[str, ProviderSettings] = {}
        outbound: Mapping[str, ScopeSettings] = {}
        with mistakes:
            provider = _provider(tables["provider"])
        with mistakes:
            outbound = _outbound(tables["outbound"])
        with mistakes:
            _check_units(provider, outbound)
        inbound_settings = InboundSettings()
        inbound: Mapping[str, InboundGroup] = BuiltInGroups()
        with mistakes:
            if "inbound" in said:
                inbound_settings, inbound = groups.read_groups(tables["inbound"])
        budget: Mapping[str, BudgetSettings] = {}
        prices: Mapping[str, PriceSettings] = {}
        with mistakes:
            said_budgets = entries(tables["budget"], field="budget")
            budget = in_force(_named(BudgetSettings(), tables["budget"], field="budget"), said_budgets)
        with mistakes:
            prices = _named(PriceSettings(), tables["prices"], field="prices")
            if "" in prices:
                raise ConfigError(join("prices", ""), "", "the name of a model, or a pattern such as 'gpt-5*'")
        with mistakes:
            logging = read(LoggingSettings(), tables["logging"], field="logging")
        with mistakes:
            machine = read(MachineSettings(), tables["machine"], field="machine")
        mistakes.report()
        return _restored(global_, provider, outbound, inbound, budget, prices, inbound_settings, logging, machine, None)

    @classmethod
    def load(
        cls,
        path: FilePath | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        env_file: FilePath | None = ".env",
    ) -> "Config":
        """The built-in defaults, then the policy file, then `env_file` if it exists, then the environment; later ones win.

        Without a `path`, the policy file is the one that `GOVERNOR_CONFIG` names, if any, in the environment or else in
        `env_file`. `environ` replaces `os.environ`, which is read and never changed.

        Raises one `ConfigError` whose `problems` list every mistake of all sources, each with its file or variable, and with
        line and column in the policy file. Of text that is not TOML, only the first mistake is known.
        """
        from governor.config.load import layers, located, lost  # Slow to load, and needed only where files are read.

        mistakes = Mistakes()
        said = layers(path, os.environ if environ is None else environ, env_file, mistakes)
        mistakes.problems += lost(said, cls.from_mapping)
        try:
            config = cls.from_mapping(merge(folded_scopes(layer.said) for layer in said))
        except ConfigError as error:
            found = [*mistakes.problems, *(located(problem, said) for problem in error.problems)]
            found.sort(key=lambda problem: (problem.source, problem.line or 0, problem.column or 0))
            raise ConfigError.of(found) from None
        mistakes.report()
        file = next((layer.source for layer in said if layer.text is not None), None)
        return msgspec.structs.replace(config, policy_file=file)

    def for_scope(self, scope: str) -> ScopeSettings:
        """The settings of a scope: those of the first of its sections that there is.

        Of `openai/gpt-5:post` that is its own, else that of `openai/gpt-5`, of `openai:post`, of `openai`, or the default.
        Upper and lower case do not differ. Raises `ConfigError` for a name that is not a scope.
        """
        return self.outbound[next(filter(self.outbound.__contains__, sections_of(scope_name(scope))))]

    def keyed_section(self, scope: str) -> str | None:
        """The section of the limits that a scope shares with others of its key: `openai/gpt-5` for `openai/gpt-5:post`.

        Of a key without a section, and of calls without a key, it is `openai/default`. None if there is no such section.
        """
        keyed, default = keyed_of(scope), f"{provider_of(scope)}/{DEFAULT}"
        if keyed in self.provider:
            return keyed
        return default if default in self.provider else None

    def limits_provider(self, provider: str) -> bool:
        """Whether the settings say a limit for this provider: in its own section, or in one of its scopes.

        Sections that have the limits of the default, or the built-in ones, say none.
        """
        keyed = (one.limits for name, one in self.provider.items() if name != DEFAULT and provider_of(name) == provider)
        if self.for_provider(provider).limits or any(keyed):
            return True
        plain, default = built_in_config(), self.outbound[DEFAULT].limits
        own = (scope for scope in self.outbound if scope != DEFAULT and provider_of(scope) == provider)
        return any(self.outbound[scope].limits not in (default, plain.for_scope(scope).limits) for scope in own)

    def for_provider(self, provider: str) -> ProviderSettings:
        """The settings of a provider as a whole: of its own section, else of the default.

        Upper and lower case do not differ. Raises `ConfigError` for a name that is not a provider.
        """
        return self.provider.get(provider_name(provider)) or self.provider[DEFAULT]

    def price_of(self, model: str | None) -> PriceSettings | None:
        """The price of a model: of its own section, else of the longest pattern that matches its name.

        A model without a price has the highest prices of all sections; None if there is no section.
        """
        if model is not None:
            found = self.prices.get(model)
            patterns = [pattern for pattern in self.prices if fnmatchcase(model, pattern)] if found is None else []
            if patterns:
                found = self.prices[max(patterns, key=len)]
            if found is not None:
                return found
        prices = self.prices.values()
        if not prices:
            return None
        return PriceSettings(
            input=max(one.input for one in prices),
            output=max(one.output for one in prices),
            cache_write=max(one.write for one in prices),
        )


@cache
def built_in_config() -> Config:
    """The built-in defaults, which override nothing: one record for all who need it."""
    return Config.from_mapping({})


def _check_table(said: object) -> None:
    if not isinstance(said, Mapping):
        raise ConfigError("the configuration", said, "a table of sections, in the shape of the policy file")


def _restored(
    global_: GlobalSettings,
    provider: Mapping[str, ProviderSettings],
    outbound: Mapping[str, ScopeSettings],
    inbound: Mapping[str, InboundGroup],
    budget: Mapping[str, BudgetSettings],
    prices: Mapping[str, PriceSettings],
    inbound_settings: InboundSettings,
    logging: LoggingSettings,
    machine: MachineSettings,
    policy_file: str | None,
) -> Config:
    return Config(
        global_=global_,
        provider=provider,
        outbound=outbound,
        inbound=inbound,
        budget=budget,
        prices=prices,
        inbound_settings=inbound_settings,
        logging=logging,
        machine=machine,
        policy_file=policy_file,
    )


def _outbound(table: object) -> dict[str, ScopeSettings]:
    """The settings of every section. A scope inherits from its provider, and a provider from the default."""
    sections = {name: (path, value) for name, path, value in entries(table, field="outbound")}
    resolved = {DEFAULT: ScopeSettings()}
    mistakes = Mistakes()
    # The default first, and providers before their methods, so that a section comes after those that it inherits from.
    for name in sorted(sections, key=lambda name: (name != DEFAULT, name.count("/") + name.count(":"), ":" not in name, name)):
        path, value = sections[name]
        with mistakes:
            name = scope_name(name, field=path)
            check_method(name, field=path)
            beneath = next((resolved[one] for one in sections_of(name)[1:] if one in resolved), resolved[DEFAULT])
            resolved[name] = read(beneath, value, field=path)
    mistakes.report()
    return resolved


def _provider(table: object) -> dict[str, ProviderSettings]:
    """The settings of every provider. A provider inherits the keys that it does not set from the default."""
    sections = {name: (path, value) for name, path, value in entries(table, field="provider")}
    resolved = {DEFAULT: ProviderSettings()}
    owners: dict[Place, str] = {}
    mistakes = Mistakes()
    for name in sorted(sections, key=lambda name: (name != DEFAULT, "/" in name, name)):
        path, value = sections[name]
        with mistakes:
            name = keyed_name(name, field=path)
            provider, slash, _ = name.partition("/")
            whole = resolved.get(provider, resolved[DEFAULT])
            resolved[name] = read(ProviderSettings(cost=whole.cost) if slash else resolved[DEFAULT], value, field=path)
            if slash:
                check_key_section(resolved[name], field=path)
            if name == DEFAULT and resolved[name].preset is not None:
                raise ConfigError(f"{path}.preset", resolved[name].preset, "a preset in the section of a single provider")
            for index, host in enumerate(resolved[name].hosts):
                owner = owners.setdefault(place(host), name)
                if name == DEFAULT:
                    raise ConfigError(f"{path}.hosts", host, "hosts in the section of a single provider")
                if owner != name:
                    raise ConfigError(f"{path}.hosts[{index}]", host, f"a host of one provider only, and {owner} has this one")
    mistakes.report()
    return resolved


def _named(beneath: Settings, table: object, *, field: str) -> dict[str, Settings]:
    """The settings of every section of a table whose sections inherit from nothing."""
    named: dict[str, Settings] = {}
    mistakes = Mistakes()
    for name, path, value in entries(table, field=field):
        with mistakes:
            named[name] = read(beneath, value, field=path)
    mistakes.report()
    return named


def _check_units(providers: Mapping[str, ProviderSettings], scopes: Mapping[str, ScopeSettings]) -> None:
    """Raises `ConfigError` for limits of money, and for a unit in the singular in one limit and in the plural in another."""
    limits = {
        f"{join(table, name)}.limits[{index}]": limit
        for table, sections in (("provider", providers), ("outbound", scopes))
        for name, section in sections.items()
        for index, limit in enumerate(section.limits)
    }
    units = {limit.unit for limit in limits.values()}
    mistakes = Mistakes()
    for field, limit in limits.items():
        with mistakes:
            if limit.unit == "usd":
                raise ConfigError(field, describe(limit), "a limit of requests or tokens; money is bounded by [budget.NAME]")
            if (plural := f"{limit.unit}s") in units:
                raise ConfigError(field, describe(limit), f"one spelling of a unit in all limits (did you mean {plural!r}?)")
    mistakes.report()
