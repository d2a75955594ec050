"""The JSON Schema of the policy file, generated from the types of the settings (draft 2020-12)."""

import tomllib
from collections.abc import Mapping
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from governor._units import Duration
from governor.config.budget_settings import Amount, BudgetSettings, PriceSettings
from governor.config.builtin import PRESETS
from governor.config.machine_settings import MachineSettings
from governor.config.preset import PresetReference
from governor.config.provider_settings import ProviderSettings
from governor.config.schema import OFF, write
from governor.config.sections import GlobalSettings, InboundGroup, InboundSettings, LoggingSettings, PresetName, ScopeSettings
from governor.policies.contract import Limit
from governor.presets import references

Schema = dict[str, Any]

_LIMITS: Final[object] = tuple[Limit, ...]
_OFF: Final[Schema] = {"const": OFF}
_PLAIN: Final[Mapping[object, Schema]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Amount: {"type": "string", "examples": ["2000000 per day", "60 per 10m"]},
    Path: {"type": "string", "minLength": 1},
    bool: {"anyOf": [{"type": "boolean"}, _OFF]},
    Duration: {"$ref": "#/$defs/duration"},
}
_DEFINITIONS: Final[Schema] = {
    "duration": {
        "description": "A number with a unit: us, ms, s, m, h, d or w; several parts add up. At most 366 days.",
        "type": "string",
        "examples": ["60s", "1m30s", "250ms"],
    },
    "limit": {
        "description": "A token bucket ('60/minute burst 10'), a strict window ('5000 per hour strict') or '30 in flight'.",
        "type": "string",
        "examples": ["10/s burst 100", "60 per minute strict", "90000 tokens per minute strict", "30 in flight"],
    },
}


def json_schema() -> Schema:
    """A schema that every valid policy file satisfies, and that rejects unknown keys and values of a wrong type.

    It does not check the text of limits and durations, nor ranges, nor what several keys say together: `governor check` does.
    """
    inbound = _record(InboundSettings)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy file of traffic-governor",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "global": _record(GlobalSettings),
            "provider": {
                "description": "Settings of providers as a whole, by provider, and `default` for all others.",
                "type": "object",
                "additionalProperties": _record(ProviderSettings),
            },
            "outbound": {
                "description": "Settings by scope (provider:method), by provider, and `default` for all others.",
                "type": "object",
                "additionalProperties": _record(ScopeSettings),
            },
            "inbound": {
                **inbound,
                "additionalProperties": _record(InboundGroup),
            },
            "budget": {
                "description": "Budgets of caller labels, by name.",
                "type": "object",
                "additionalProperties": _record(BudgetSettings),
            },
            "prices": {
                "description": "Prices of models, by the name of the model or a pattern.",
                "type": "object",
                "additionalProperties": _record(PriceSettings),
            },
            "logging": _record(LoggingSettings),
            "machine": _record(MachineSettings),
        },
        "$defs": _DEFINITIONS,
    }


def _record(kind: type[msgspec.Struct]) -> Schema:
    fields = msgspec.structs.fields(kind)
    required = [one.name for one in fields if one.required]
    defaults = {} if required else dict(write(kind()))
    properties: Schema = {}
    for one in fields:
        properties[one.name] = _value(one.type, one.default)
        if one.name in defaults and not isinstance(one.default, msgspec.Struct):
            properties[one.name] = {**properties[one.name], "default": tomllib.loads(f"value = {defaults[one.name]}")["value"]}
    description = " ".join((getdoc(kind) or "").split())
    schema: Schema = {"description": description, "type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema


def _value(kind: Any, default: object = None) -> Schema:
    if isinstance(default, msgspec.Struct):
        return _record(type(default))
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == _LIMITS:
        return {"type": "array", "items": {"$ref": "#/$defs/limit"}}
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        kinds = [one for one in inner if one is not NoneType]
        return {"anyOf": [*(_value(one) for one in kinds), *([_OFF] if NoneType in inner else [])]}
    if kind == PresetName:
        return {"enum": list(PRESETS)}
    if kind == PresetReference:
        return {"anyOf": [{"enum": references()}, {"type": "string", "pattern": r"\.toml(/[^/]+)?$"}]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (tuple, frozenset):
        return {"type": "array", "items": _value(inner[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _value(inner[1])}
    return _record(kind)
