"""Settings: the policy file, the environment, and the settings in force for each scope."""

from governor._units import describe_duration, parse_duration
from governor.config.budget_settings import BudgetSettings, PriceSettings
from governor.config.machine_settings import MachineSettings, OnDaemonLoss
from governor.config.model import Config
from governor.config.names import DEFAULT, is_within, keyed_of, provider_name, provider_of, scope_name, scope_of, with_key
from governor.config.parts import (
    UNIX_PEERS,
    GlobalSettings,
    InboundGroup,
    InboundRoute,
    InboundSettings,
    InboundTier,
    LoggingSettings,
    ScopeSettings,
)
from governor.config.provider_settings import ProviderSettings
from governor.config.show import show
from governor.config.text import describe, parse_limit

__all__ = [
    "DEFAULT",
    "UNIX_PEERS",
    "BudgetSettings",
    "Config",
    "GlobalSettings",
    "InboundGroup",
    "InboundRoute",
    "InboundSettings",
    "InboundTier",
    "LoggingSettings",
    "MachineSettings",
    "OnDaemonLoss",
    "PriceSettings",
    "ProviderSettings",
    "ScopeSettings",
    "describe",
    "describe_duration",
    "is_within",
    "keyed_of",
    "parse_duration",
    "parse_limit",
    "provider_name",
    "provider_of",
    "scope_name",
    "scope_of",
    "show",
    "with_key",
]
