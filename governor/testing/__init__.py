"""What do you need to test code that is governed? Clocks that you command, and a governor that says yes or no as you please."""

from governor._default import reset
from governor.testing._answers import refusing, unlimited
from governor.testing._clocks import ManualClock, loop_clock

__all__ = ["ManualClock", "loop_clock", "refusing", "reset", "unlimited"]
