"""Inbound groups as the settings say: read, with those of their preset, and checked for paths that no request reaches."""

from collections.abc import Mapping

import msgspec

from governor.config.builtin import DEFAULT_PRESET, PRESETS, is_preset_path, preset_of
from governor.config.mistakes import Mistakes
from governor.config.names import DEFAULT, check_name, join
from governor.config.paths import Paths, covering, normal_form, sample
from governor.config.schema import entries, merge, read
from governor.config.sections import InboundGroup, InboundSettings
from governor.errors import ConfigError


def read_groups(table: object) -> tuple[InboundSettings, dict[str, InboundGroup]]:
    """The settings of the `[inbound]` table itself, and those of every group. Groups inherit their limits from the default.

    The groups are those of the table and those of its preset; of a table with neither, those of the default preset.
    """
    table = merge((_preset(table), table)) if isinstance(table, Mapping) else table
    own: dict[str, object] = {}
    groups: dict[str, tuple[str, object]] = {DEFAULT: (join("inbound", DEFAULT), {})}
    mistakes = Mistakes()
    for key, path, value in entries(table, field="inbound"):
        if isinstance(value, (Mapping, InboundGroup)):
            with mistakes:
                check_name(key, field=path)
                groups[key] = (path, value)
        else:
            own[key] = value
    path, value = groups.pop(DEFAULT)
    resolved = {DEFAULT: InboundGroup()}
    with mistakes:
        resolved[DEFAULT] = read(InboundGroup(), value, field=path)
    beneath = msgspec.structs.replace(resolved[DEFAULT], paths=(), routes=())
    for name, (path, value) in groups.items():
        with mistakes:
            resolved[name] = read(beneath, value, field=path)
    with mistakes:
        in_force = read(InboundSettings(), own, field="inbound")
    mistakes.report()
    _check_reach(resolved, in_force)
    return in_force, resolved


def _preset(table: Mapping[str, object]) -> Mapping[str, object]:
    """The groups of the preset, which lie beneath those of the table."""
    preset = table.get("preset")
    if preset is None and not any(isinstance(value, (Mapping, InboundGroup)) for value in table.values()):
        preset = DEFAULT_PRESET
    return PRESETS.get(preset, {}) if isinstance(preset, str) else {}


def _check_reach(groups: Mapping[str, InboundGroup], settings: InboundSettings) -> None:
    """Raises `ConfigError` for groups without a path, for paths of two groups, and for paths that are exempt.

    Paths of a preset may be exempt, because its groups are chosen as a whole. The default group needs no path.
    """
    mistakes = Mistakes()
    owners: dict[str, str] = {}
    for name, group in groups.items():
        field = f"{join('inbound', name)}.paths"
        with mistakes:
            if not group.paths and name != DEFAULT:
                allowed = "at least one path, for instance ['/api/v1/chat']"
                known = preset_of(name)
                hint = f"; or preset = {known!r} in [inbound], which has this group" if known else ""
                raise ConfigError(field, [], f"{allowed}{hint}")
        for path in group.paths:
            with mistakes:
                owner = owners.setdefault(normal_form(path), name)
                if owner != name:
                    raise ConfigError(field, path, f"a path of one group only, and {owner} has this one")
                exempt = covering(path, settings.exempt_paths)
                if exempt is not None and not is_preset_path(name, path):
                    raise ConfigError(field, path, f"a path that is not exempt, and inbound.exempt_paths has {exempt!r}")
    mistakes.report()
    paths = Paths(groups, settings.exempt_paths)
    for name, group in groups.items():
        for number, route in enumerate(group.routes):
            for index, path in enumerate(route.paths):
                found = paths.find(sample(path))
                with mistakes:
                    if found is None or found.group != name:
                        field = f"{join('inbound', name)}.routes[{number}].paths[{index}]"
                        whose = "is exempt" if found is None else f"belongs to {found.group}"
                        raise ConfigError(field, path, f"a path of this group, and this one {whose}")
    mistakes.report()
