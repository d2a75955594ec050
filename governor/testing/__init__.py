"""Tools for tests of governed code: clocks that the test controls, and a governor that grants or denies on request."""

from governor._default import reset
from governor.testing._answers import denying, unlimited
from governor.testing._clocks import ManualClock, loop_clock

__all__ = ["ManualClock", "denying", "loop_clock", "reset", "unlimited"]
