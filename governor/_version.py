"""The version of the package. Written out: `importlib.metadata` takes as long to load as half of this package."""

from typing import Final

__version__: Final = "0.1.0"
