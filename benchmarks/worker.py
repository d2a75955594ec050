"""What does one contender measure once? The program of the fresh process: `python -m benchmarks.worker NAME SIZE`.

Prints one JSON object of figures. Only the module of this contender is imported.
"""

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import cast

import msgspec

from benchmarks.catalogue import CONTENDERS
from benchmarks.contract import Contender, Entry


def measure(contender: Contender, size: int) -> Mapping[str, float]:
    """One repetition, in this process."""
    module, function = contender.entry.split(":")
    entry = cast("Entry", getattr(import_module(f"benchmarks.contenders.{module}"), function))
    assert gc.isenabled()
    return entry(size)


def main(name: str, size: str) -> None:
    """Measures the contender and prints its figures."""
    contender = next(contender for contender in CONTENDERS if contender.name == name)
    print(msgspec.json.encode(measure(contender, int(size))).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
