"""Permits that a scope has granted ahead, as code on any thread takes them."""

from collections.abc import Callable, Sized
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
    def pop_leased(self) -> Callable[[], Permit]:
        """Takes a permit, on any thread. Raises `IndexError` if none is left."""


class PermitTaker:
    """Takes permits as `LeasedPermits` says, for an address that has what that names."""

    __slots__ = ()

    large: Sized
    failures: Sized
    pop_leased: Callable[[], Permit]

    def take(self) -> Permit | None:
        """One request out of the lease, on any thread; None if it is empty, or if something must be read first.

        After a failure has been reported, in any scope, nothing is taken before it has been read; and nothing is taken ahead of
        an ask for more than one request. Asks for one need no such care: they were sent because the lease was empty.
        """
        if self.large or self.failures:
            return None
        try:
            return self.pop_leased()
        except IndexError:
            return None
