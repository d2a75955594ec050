"""Permits that a scope has granted ahead, as code on any thread takes them."""

from collections.abc import Iterator, Sized
from typing import Protocol

from governor._actors.permit import Permit


class LeasedPermits(Protocol):
    """The permits that a scope has granted ahead, for code that takes one without a call of the governor.

    Nothing may be taken while `large` or `failures` holds something: an ask for several requests waits for the same limits, or
    a failure was reported and not read yet, which may pause the scope.
    """

    @property
    def large(self) -> Sized:
        """Unread asks for more than one request."""

    @property
    def failures(self) -> Sized:
        """Unread failures, of any scope."""

    @property
    def leased(self) -> Iterator[Permit]:
        """Takes a permit at each step, on any thread. Ends if none is left: look here anew then."""
