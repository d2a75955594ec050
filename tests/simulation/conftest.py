"""Simulations run in trio's virtual time, which jumps to the next deadline as soon as every task waits."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def anyio_backend() -> object:
    """A loop with a clock of its own for every test marked `anyio`."""
    return ("trio", {"clock": MockClock(autojump_threshold=0)})
