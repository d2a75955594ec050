"""The machine of a measurement, which is stored beside every set of figures."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

_PACKAGES: Final = (
    "traffic-governor",
    "anyio",
    "msgspec",
    "aiolimiter",
    "limits",
    "purgatory",
    "pybreaker",
    "pyrate-limiter",
    "stamina",
    "tenacity",
    "throttled-py",
)
_CPU_INFO: Final = Path("/proc/cpuinfo")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when. `cpus` is how many this process may use; `load` is the load average of the minute before the run."""

    measured_at: str
    processor: str
    cpus: int
    system: str
    python: str
    packages: dict[str, str]
    load: float | None


def this_machine() -> Machine:
    """The machine as it is now."""
    return Machine(
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=_processor(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: _version(name) for name in _PACKAGES},
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    )


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
