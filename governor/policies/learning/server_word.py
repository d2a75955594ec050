"""Word of a server: whether the waits that it asks for have proved true.

A server that asks for a pause, and then denies the first call after it as well, was wrong: its word is broken until a call
succeeds. Once may be chance, because another client can have used up the limit; so its waits are still kept, and its denials
are learned from as if they said nothing. `MAX_BROKEN` times in a row are no chance: for `DOUBT` from then on, nothing that the
server says of its limits is believed. What it asks for as a wait remains the least wait.

A server that denies again within `DOUBT` after the end of a wait that was kept has `repeated` itself: its waits may be right,
but keeping them does not keep the client from being denied.
"""

from typing import Final

import msgspec

from governor._units import MINUTE, Duration, Instant

#: Waits in a row that prove false before the server is not believed, and for how long it is not.
MAX_BROKEN: Final = 3
DOUBT: Final = Duration(10 * MINUTE)


class ServerWord(msgspec.Struct, eq=False, gc=False):
    """The state machine, one for each provider. Instants must not go back."""

    #: Waits in a row that have proved false.
    broken: int = 0
    #: Until when nothing is believed.
    doubted_until: Instant = Instant(0)
    #: The end of the latest wait that the server has asked for; None if it has asked for none.
    _said_until: Instant | None = None
    #: Whether the latest denial came soon after a wait that was kept.
    repeated: bool = False
    #: The end of the latest wait, or the latest denial that has asked for none; None before the first one.
    _kept_until: Instant | None = None

    def deny(self, now: Instant, granted_at: Instant, wait: Duration | None, *, succeeded: bool) -> bool:
        """A call that was granted then is denied; the server asks for `wait` from now, or does not say (None).

        `succeeded` tells whether a call has succeeded since the last denial. True if nothing is believed from now on.
        """
        kept = self._kept_until
        self.repeated = kept is not None and granted_at > kept and now < kept + DOUBT
        self._kept_until = max(kept or now, Instant(now + (wait or 0)))
        said_until = self._said_until
        if succeeded:
            self.broken = 0
        elif said_until is not None and granted_at >= said_until:
            self.broken += 1
        elif said_until is not None and wait is not None:
            wait = max(wait, Duration(said_until - now))
        self._said_until = None if wait is None else Instant(now + wait)
        if self.broken < MAX_BROKEN:
            return False
        believed = self.holds(now)
        self.doubted_until = Instant(now + DOUBT)
        return believed

    def holds(self, now: Instant) -> bool:
        """Whether the server is believed."""
        return now >= self.doubted_until
