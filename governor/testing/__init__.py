"""Tools for testing governed code: clocks under the control of the test, and governors that always grant or deny."""

from governor._default import reset
from governor.testing._answers import refusing, unlimited
from governor.testing._clocks import ManualClock, loop_clock

__all__ = ["ManualClock", "loop_clock", "refusing", "reset", "unlimited"]
