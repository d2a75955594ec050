"""Which settings are in force, for everything and for each scope?

A `Config` is resolved: every section has inherited what it does not say itself, so looking a scope up costs three look-ups in a
dictionary at most.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from governor.config.builtin import BUILT_IN, DEFAULT_PRESET, INBOUND_PRESETS, PRESET_PATHS
from governor.config.files import FilePath
from governor.config.load import layers, located, merge
from governor.config.names import DEFAULT, check_method, check_name, check_scope, provider_of
from governor.config.parts import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, ScopeSettings
from governor.config.paths import Paths, covering, normal_form, sample
from governor.config.schema import entries, join, read, unknown_key
from governor.config.text import describe
from governor.errors import ConfigError
from governor.policies.in_flight import InFlight


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, resolved and checked; made by `from_mapping` and `load`.

    `outbound` and `inbound` hold a complete policy for each section, `default` among them.
    """

    global_: GlobalSettings
    outbound: Mapping[str, ScopeSettings]
    inbound: Mapping[str, InboundGroup]
    inbound_settings: InboundSettings
    logging: LoggingSettings

    def __post_init__(self) -> None:
        for field in ("outbound", "inbound"):
            msgspec.structs.force_setattr(self, field, MappingProxyType(getattr(self, field)))

    def __reduce__(self) -> tuple[Callable[..., "Config"], tuple[object, ...]]:
        # Read-only mappings can neither be pickled nor copied.
        return _restored, (self.global_, dict(self.outbound), dict(self.inbound), self.inbound_settings, self.logging)

    @classmethod
    def from_mapping(cls, said: Mapping[str, object]) -> "Config":
        """The built-in defaults, overridden key by key by a mapping in the shape of the policy file; `{}` overrides nothing.

        A limit is text or an object; breaker, retry and retry_budget are tables or objects; durations are text. Raises
        `ConfigError` with the path, the value and what is allowed.
        """
        tables = merge((BUILT_IN, said))
        for key, path, value in entries(tables, field=""):
            if key not in BUILT_IN:
                raise unknown_key(path, key, value, BUILT_IN)
        settings, groups = _inbound(tables["inbound"])
        return cls(
            global_=read(GlobalSettings(), tables["global"], field="global"),
            outbound=_outbound(tables["outbound"]),
            inbound=groups,
            inbound_settings=settings,
            logging=read(LoggingSettings(), tables["logging"], field="logging"),
        )

    @classmethod
    def load(
        cls,
        path: FilePath | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        env_file: FilePath | None = ".env",
    ) -> "Config":
        """The built-in defaults, then the policy file, then `env_file` if it exists, then the environment: the later wins.

        Without a `path`, the policy file is the one that `GOVERNOR_CONFIG` names, if any, in the environment or else in
        `env_file`. `environ` stands for `os.environ`, which is read and never changed. Raises `ConfigError`, naming the file or
        the variable.
        """
        said = layers(path, os.environ if environ is None else environ, env_file)
        try:
            return cls.from_mapping(merge(layer.said for layer in said))
        except ConfigError as mistake:
            raise located(mistake, said) from None

    def for_scope(self, scope: str) -> ScopeSettings:
        """The policy of `provider:method`: the section of that scope, else that of the provider, else the default.

        Raises `ConfigError` for a name that is no scope, one in upper case for instance.
        """
        check_scope(scope)
        return self.outbound.get(scope) or self.outbound.get(provider_of(scope)) or self.outbound[DEFAULT]


def _restored(
    global_: GlobalSettings,
    outbound: Mapping[str, ScopeSettings],
    inbound: Mapping[str, InboundGroup],
    inbound_settings: InboundSettings,
    logging: LoggingSettings,
) -> Config:
    return Config(global_=global_, outbound=outbound, inbound=inbound, inbound_settings=inbound_settings, logging=logging)


def _outbound(table: object) -> dict[str, ScopeSettings]:
    """Every section, inheriting from its provider's, and that from the default."""
    sections = {name: (path, value) for name, path, value in entries(table, field="outbound")}
    resolved = {DEFAULT: ScopeSettings()}
    # The default first, and providers before their methods: what is inherited must be there.
    for name in sorted(sections, key=lambda name: (name != DEFAULT, ":" in name, name)):
        path, value = sections[name]
        check_scope(name, field=path)
        check_method(name, field=path)
        beneath = resolved.get(provider_of(name), resolved[DEFAULT])
        resolved[name] = read(beneath, value, field=path)
    _check_units(resolved)
    return resolved


def _check_units(sections: Mapping[str, ScopeSettings]) -> None:
    """No two limits count a unit of the same name, once in the singular and once in the plural."""
    limits = {
        f"{join('outbound', name)}.limits[{index}]": limit
        for name, policy in sections.items()
        for index, limit in enumerate(policy.limits)
    }
    units = {limit.unit for limit in limits.values() if not isinstance(limit, InFlight)}
    for field, limit in limits.items():
        if not isinstance(limit, InFlight) and (plural := f"{limit.unit}s") in units:
            raise ConfigError(field, describe(limit), f"one spelling of a unit in all limits (did you mean {plural!r}?)")


def _inbound(table: object) -> tuple[InboundSettings, dict[str, InboundGroup]]:
    """What is said beside the groups, and every group, its limits inherited from the default.

    The groups are those that are said and those of the preset. Without either, they are those of the preset that is built in.
    """
    table = merge((_preset(table), table)) if isinstance(table, Mapping) else table
    settings: dict[str, object] = {}
    groups: dict[str, tuple[str, object]] = {DEFAULT: (join("inbound", DEFAULT), {})}
    for key, path, value in entries(table, field="inbound"):
        if isinstance(value, (Mapping, InboundGroup)):
            check_name(key, field=path)
            groups[key] = (path, value)
        else:
            settings[key] = value
    path, value = groups.pop(DEFAULT)
    default = read(InboundGroup(), value, field=path)
    beneath = msgspec.structs.replace(default, paths=(), routes=())
    resolved = {name: read(beneath, value, field=path) for name, (path, value) in groups.items()}
    groups_in_force = {DEFAULT: default, **resolved}
    in_force = read(InboundSettings(), settings, field="inbound")
    _check_reach(groups_in_force, in_force)
    return in_force, groups_in_force


def _preset(table: Mapping[str, object]) -> Mapping[str, object]:
    """The groups that lie beneath those that are said."""
    preset = table.get("preset")
    if preset is None and not any(isinstance(value, (Mapping, InboundGroup)) for value in table.values()):
        preset = DEFAULT_PRESET
    return INBOUND_PRESETS.get(preset, {}) if isinstance(preset, str) else {}


def _check_reach(groups: Mapping[str, InboundGroup], settings: InboundSettings) -> None:
    """Every group but the default has a path, no path has two groups, and none lies where nothing is limited.

    Those of a preset may: all of its groups come at once.
    """
    owners: dict[str, str] = {}
    for name, group in groups.items():
        field = f"{join('inbound', name)}.paths"
        if not group.paths and name != DEFAULT:
            allowed = "at least one path, for instance ['/api/v1/chat']"
            known = next((preset for preset, names in INBOUND_PRESETS.items() if name in names), None)
            hint = f"; or preset = {known!r} in [inbound], which has this group" if known else ""
            raise ConfigError(field, [], f"{allowed}{hint}")
        for path in group.paths:
            owner = owners.setdefault(normal_form(path), name)
            if owner != name:
                raise ConfigError(field, path, f"a path that belongs to no other group, and {owner} has this one")
            exempt = covering(path, settings.exempt_paths)
            if exempt is not None and (name, path) not in PRESET_PATHS:
                raise ConfigError(field, path, f"a path that is not exempt, and inbound.exempt_paths has {exempt!r}")
    paths = Paths(groups, settings.exempt_paths)
    for name, group in groups.items():
        for number, route in enumerate(group.routes):
            for index, path in enumerate(route.paths):
                found = paths.find(sample(path))
                if found is None or found.group != name:
                    field = f"{join('inbound', name)}.routes[{number}].paths[{index}]"
                    whose = "is exempt" if found is None else f"belongs to {found.group}"
                    raise ConfigError(field, path, f"a path of this group, and this one {whose}")
