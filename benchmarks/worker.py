"""Measures one contender once, in a fresh process: `python -m benchmarks.worker NAME SIZE`.

Prints one JSON object of figures. Only the modules of this contender are imported.
"""

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import cast

import msgspec

from benchmarks.catalogue import CONTENDERS
from benchmarks.contention.subject import Subject, Workload
from benchmarks.contract import Contender, Entry


def measure(contender: Contender, size: int) -> Mapping[str, float]:
    """One repetition, in this process."""
    entry = _named(contender.entry)
    assert gc.isenabled()
    if contender.subject is None:
        return cast("Entry", entry)(size)
    return cast("Workload", entry)(cast("Subject", _named(contender.subject)), size)


def main(name: str, size: str) -> None:
    """Measures the contender and prints its figures."""
    contender = next(contender for contender in CONTENDERS if contender.name == name)
    print(msgspec.json.encode(measure(contender, int(size))).decode())


def _named(path: str) -> object:
    module, name = path.split(":")
    return getattr(import_module(f"benchmarks.{module}"), name)


if __name__ == "__main__":
    main(*sys.argv[1:])
