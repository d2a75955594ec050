"""Which build runs: with the kernel compiled in C, or in pure Python.

Imported before all other modules: with `TRAFFIC_GOVERNOR_PURE=1` in the environment, those that are compiled are imported from
their sources, which are beside them.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Final

#: The environment variable that chooses pure Python: `1`.
SWITCH: Final = "TRAFFIC_GOVERNOR_PURE"


def name() -> str:
    """`compiled` or `pure Python`."""
    return "compiled" if is_compiled() else "pure Python"


def is_compiled() -> bool:
    """Whether the kernel is compiled, and in use."""
    return not str(import_module("governor._finished").__file__).endswith(".py")  # One that imports little.


def _prefer_sources() -> None:
    from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader

    class Sources:
        """Finds the modules of this package in files of Python only."""

        @staticmethod
        def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /) -> "ModuleSpec | None":
            if not name.startswith("governor.") or path is None:
                return None
            found = (FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name) for folder in path)
            return next((spec for spec in found if spec is not None), None)

    sys.meta_path.insert(0, Sources)


if os.environ.get(SWITCH) == "1":
    _prefer_sources()
