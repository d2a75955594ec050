"""Waiting for real threads and processes."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

#: Seconds after which a test gives up what never happens: enough for a busy machine, less than pytest's own limit.
PATIENCE: Final = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Returns as soon as the condition holds; fails after `PATIENCE`."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.001)
