"""The demo: the same traffic without and with a governor, against a provider that bans."""

from demo.program import main

__all__ = ["main"]
