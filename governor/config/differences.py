"""Settings that differ from the defaults, as the shortest policy file that makes the same `Config`."""

from collections.abc import Iterator, Mapping

import msgspec

from governor.config.budget_settings import BudgetSettings, PriceSettings
from governor.config.builtin import built_in
from governor.config.machine_settings import MachineSettings
from governor.config.model import Config, built_in_config
from governor.config.names import DEFAULT, join, provider_of, sections_of
from governor.config.preset import beneath
from governor.config.provider_settings import ProviderSettings
from governor.config.schema import merge, read, write
from governor.config.sections import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, ScopeSettings


def differences(config: Config) -> list[str]:
    """Lines of TOML; none if every setting has its default."""
    return [
        *_section("global", GlobalSettings(), config.global_),
        *_provider(config),
        *_outbound(config),
        *_section("inbound", InboundSettings(), config.inbound_settings),
        *_inbound(config),
        *(line for name, budget in config.budget.items() for line in _named("budget", name, BudgetSettings(), budget)),
        *(line for name, price in config.prices.items() for line in _named("prices", name, PriceSettings(), price)),
        *_section("logging", LoggingSettings(), config.logging),
        *_section("machine", MachineSettings(), config.machine),
    ]


def _provider(config: Config) -> Iterator[str]:
    default = config.provider[DEFAULT]
    presets = _presets(config)["provider"]
    for name, settings in config.provider.items():
        above = ProviderSettings(cost=config.for_provider(provider_of(name)).cost) if "/" in name else default
        inherited = ProviderSettings() if name == DEFAULT else read(above, presets.get(name, {}), field="")
        yield from _section(join("provider", name), inherited, settings, always=name not in (DEFAULT, *presets))


def _presets(config: Config) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    """What the presets in use mean, without what the configuration changes."""
    return beneath({name: {"preset": settings.preset} for name, settings in config.provider.items()})


def _outbound(config: Config) -> Iterator[str]:
    scopes = merge((built_in()["outbound"], _presets(config)["outbound"]))
    for name, settings in config.outbound.items():
        if name == DEFAULT:
            inherited = ScopeSettings()
        else:
            inherited = next(config.outbound[one] for one in sections_of(name)[1:] if one in config.outbound)
            inherited = read(inherited, scopes.get(name, {}), field="")
        # A section that changes nothing still has an effect: the scope no longer follows the section of its provider.
        yield from _section(join("outbound", name), inherited, settings, always=name not in (DEFAULT, *scopes))


def _inbound(config: Config) -> Iterator[str]:
    if config.inbound == built_in_config().inbound:
        return
    preset = {} if config.inbound_settings.preset is None else _preset(config)
    default = config.inbound[DEFAULT]
    for name, group in config.inbound.items():
        inherited = InboundGroup() if name == DEFAULT else msgspec.structs.replace(default, paths=(), routes=())
        inherited = preset.get(name, inherited)
        # A configuration that names no group at all has those of the built-in preset.
        always = name not in preset and (name != DEFAULT or len(config.inbound) == 1)
        yield from _section(join("inbound", name), inherited, group, always=always)


def _named(table: str, name: str, inherited: msgspec.Struct, record: msgspec.Struct) -> Iterator[str]:
    return _section(join(table, name), inherited, record, always=True)


def _preset(config: Config) -> dict[str, InboundGroup]:
    """The groups of the preset as they are without a section of their own."""
    groups = Config.from_mapping({"inbound": {"preset": config.inbound_settings.preset, DEFAULT: config.inbound[DEFAULT]}})
    return {name: group for name, group in groups.inbound.items() if name != DEFAULT}


def _section(path: str, inherited: msgspec.Struct, record: msgspec.Struct, *, always: bool = False) -> Iterator[str]:
    changes = list(_changes(inherited, record))
    if changes or always:
        yield f"[{path}]"
        yield from changes
        yield ""


def _changes(inherited: msgspec.Struct, record: msgspec.Struct) -> Iterator[str]:
    """Of a table inside the section, only the keys that differ."""
    before = dict(write(inherited))
    for key, text in write(record):
        if text == before[key]:
            continue
        value = getattr(record, key)
        if isinstance(value, msgspec.Struct):
            yield f"{key} = {{ {', '.join(_changes(getattr(inherited, key), value))} }}"
        else:
            yield f"{key} = {text}"
