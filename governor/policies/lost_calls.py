"""What a process had granted when it died, as far as no state knows of it."""

from typing import NamedTuple

from governor._units import Instant


class LostCalls(NamedTuple):
    """Units that a process had spent when it died and that a state does not know of: `units`, the last of them at `at`.

    `out` more may have been spent up to the death. Of these and of those that the state knows, all but `moving` had arrived at
    the provider when `seen`, and all calls but `places` had ended; None if that is not known. `held` calls had been given up
    before, and are over at `until`. Calls took `usual` as a rule; 0 if that is not known.
    """

    units: int
    at: Instant
    out: int
    moving: int | None
    places: int | None
    seen: Instant
    held: int
    until: Instant
    usual: int = 0
