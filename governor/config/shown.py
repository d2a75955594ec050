"""The settings in force, as lines of TOML.

Read as a policy file, the lines make the same `Config`.
"""

from collections.abc import Iterator

import msgspec

from governor.config.model import Config
from governor.config.names import join
from governor.config.schema import write


def show(config: Config) -> list[str]:
    """Every setting of every section, including defaults, one line each."""
    return [
        *_section("global", config.global_),
        *(line for name, settings in config.provider.items() for line in _section(join("provider", name), settings)),
        *(line for name, policy in config.outbound.items() for line in _section(join("outbound", name), policy)),
        *_section("inbound", config.inbound_settings),
        *(line for name, group in config.inbound.items() for line in _section(join("inbound", name), group)),
        *(line for name, settings in config.budget.items() for line in _section(join("budget", name), settings)),
        *(line for name, settings in config.prices.items() for line in _section(join("prices", name), settings)),
        *_section("logging", config.logging),
        *_section("machine", config.machine),
    ]


def _section(path: str, record: msgspec.Struct) -> Iterator[str]:
    yield f"[{path}]"
    yield from (f"{key} = {value}" for key, value in write(record))
    yield ""
