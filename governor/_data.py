"""Data files of this package, in folders beside the modules that read them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def data_folder(package: str, name: str) -> "Traversable":
    """The folder `name` of a package that is loaded."""
    found = Path(sys.modules[package].__path__[0], name)
    if found.is_dir():
        return found
    from importlib.resources import files  # Slow to load, and needed only where the package is in an archive.

    return files(package) / name
