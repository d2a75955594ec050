"""A cooldown ends, and the calls that have waited for it go on one after another."""

import pytest

from governor._units import SECOND, Duration, Instant
from governor.policies.contract import PLAIN
from governor.policies.cooldown import PACED, CooldownPolicy


@pytest.mark.promise("R11")
def test_the_call_that_is_granted_at_the_very_end_of_a_cooldown_is_the_first_of_those_that_are_paced() -> None:
    cooldown, end = CooldownPolicy(), Instant(SECOND)
    cooldown.extend(Instant(0), SECOND, Duration(PACED))
    before = cooldown.earliest(end, PLAIN)
    cooldown.granted(end)

    assert (end, end + 1) == (before, cooldown.earliest(end, PLAIN))
