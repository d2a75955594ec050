"""Settings: the policy file, the environment, and the settings in force for each scope.

Each name is loaded on first use: the reader of policy files is not loaded before there is one.
"""

from typing import TYPE_CHECKING

from governor._exports import exports

if TYPE_CHECKING:
    from governor._units import describe_duration, parse_duration
    from governor.config.budget_settings import BudgetSettings, PriceSettings
    from governor.config.machine_settings import MachineSettings, OnDaemonLoss
    from governor.config.model import Config
    from governor.config.names import DEFAULT, is_within, keyed_of, provider_name, provider_of, scope_name, scope_of, with_key
    from governor.config.provider_settings import ProviderSettings
    from governor.config.sections import (
        UNIX_PEERS,
        GlobalSettings,
        InboundGroup,
        InboundRoute,
        InboundSettings,
        InboundTier,
        LoggingSettings,
        ScopeSettings,
    )
    from governor.config.shown import show
    from governor.config.text import describe, parse_limit
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "._units": "describe_duration parse_duration",
            "budget_settings": "BudgetSettings PriceSettings",
            "machine_settings": "MachineSettings OnDaemonLoss",
            "model": "Config",
            "names": "DEFAULT is_within keyed_of provider_name provider_of scope_name scope_of with_key",
            "provider_settings": "ProviderSettings",
            "sections": (
                "UNIX_PEERS GlobalSettings InboundGroup InboundRoute InboundSettings InboundTier LoggingSettings ScopeSettings"
            ),
            "shown": "show",
            "text": "describe parse_limit",
        },
    )

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
