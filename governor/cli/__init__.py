"""The command line."""

from governor.cli.program import main

__all__ = ["main"]
