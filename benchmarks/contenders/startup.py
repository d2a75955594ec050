"""Start time of a program that imports the governor: two programs in turns, on the same machine."""

import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from time import perf_counter_ns
from typing import Final

_LIBRARIES: Final = "import anyio, msgspec\nasync def nothing(): pass\nanyio.run(nothing)"
_PERMIT: Final = "from governor import Governor\nwith Governor() as governor:\n    governor.try_permit('weather')"


def pairs_of_programs(size: int) -> Mapping[str, float]:
    """`import governor`, beside a program that does nothing."""
    return _beside_nothing("import governor", size)


def libraries(size: int) -> Mapping[str, float]:
    """What a governor stands on, without one: an event loop of asyncio, anyio and msgspec."""
    return _beside_nothing(_LIBRARIES, size)


def first_permits(size: int) -> Mapping[str, float]:
    """A governor on a thread and one permit: what the import leaves to first use is in it."""
    return _beside_nothing(_PERMIT, size)


def _beside_nothing(program: str, size: int) -> Mapping[str, float]:
    """Medians in milliseconds over `size` pairs; `extra_ms` is the median of the differences within the pairs."""
    _run(program)
    empty: list[float] = []
    loaded: list[float] = []
    for _ in range(size):
        empty.append(_run("pass"))
        loaded.append(_run(program))
    extra = [after - before for before, after in zip(empty, loaded, strict=True)]
    return {"empty_ms": median(empty), "import_ms": median(loaded), "extra_ms": median(extra)}


def _run(program: str) -> float:
    # Like an installed program, this one finds its modules compiled, whatever the shell says about writing bytecode.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = perf_counter_ns()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return (perf_counter_ns() - start) / 1_000_000
