"""What does a governor change? The same traffic with and without one, against a provider that bans."""

from governor.demo.program import main

__all__ = ["main"]
