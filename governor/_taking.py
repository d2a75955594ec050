"""Permits that are granted at once, without a message to the scope: what nearly every call takes.

Compiled where there is a compiler; `_taking.pxd` has the fields.
"""

from threading import get_ident

from governor._actors.address import Address, Addresses
from governor._actors.permit import Permit
from governor._callers import label_of_block
from governor.messages import WatchedCall


class Taking:
    """The addresses of the scopes, and the permits that need no more than them. Any thread may use it."""

    __slots__ = ("addresses", "by_label", "latest", "thread")

    #: The actors by the method, and then by the provider, as calls spell them.
    addresses: Addresses
    #: Not empty if scopes decide by the label of the caller as well: then a plain ask with a label is not served before its
    #: label is seen. A list, so that clients keep it and test it without a Python call.
    by_label: list[None]
    #: The address that compiled code found last, and finds again without a look-up. None once an address has left the table.
    latest: Address | None
    #: The thread on which actors may be called without a look at the loop; 0 for none.
    thread: int

    def label(self, caller: str | None) -> str | None:
        """See `Leases.label`."""
        return label_of_block() if caller is None else caller

    def known(self, provider: str, method: str | None) -> Address | None:
        """The address of a scope that was asked for before, as calls spell it."""
        try:
            providers = self.addresses.get(method)
            return None if providers is None else providers.get(provider)
        except TypeError:
            return None  # Of a type that cannot be looked up, which `scope_of` rejects.

    def take(  # noqa: C901 - what nearly every call of a client costs, written out
        self,
        provider: str,
        method: str | None,
        attempt: int | None = None,
        caller: str | None = None,
        watched: WatchedCall | None = None,
        *,  # C:
        unwatched: bool = False,
    ) -> Permit | None:
        """See `Leases.take`.

        On the actors' thread the permit comes from the actor, whichever loop runs there: it has ended before any other takes
        its turn. On any other thread it comes from the lease.
        """
        if (attempt is not None and attempt != 1) or (self.by_label and self.label(caller)):
            return None
        try:  # C: if (actor := address_of(self, provider, method)) is None:
            actor = self.addresses[method][provider]  # C:
        except (KeyError, TypeError):  # C:
            return None
        if unwatched and (rule := actor.loops).enabled and (method or "").upper() in rule.methods:
            return None
        if watched is not None:
            watch, rule = actor.watch, actor.loops
            if watch is not None and watch.suspects(actor.scope, rule, watched, caller):
                return None
        permit: Permit | None
        if get_ident() != self.thread:  # C: if this_thread(get_ident) != self.thread:
            # `actor.take()`, without its call: a client takes one permit here for each request.
            if actor.large or actor.failures:  # C: if has_any(actor.large) or has_any(actor.failures):
                return None
            # C: permit = next_of(actor.leased)
            for permit in actor.leased:  # noqa: B007 - the first one: a loop costs less than `next` # C: if permit is None:
                break  # C: return None
            else:  # C:
                return None  # C:
            if attempt is not None:
                actor.deposits.append(None)
        else:
            permit = actor.grab()  # C: permit = actor.granted(False)
            if permit is not None and attempt is not None:
                # The first attempt of an operation pays into the retry budget.
                actor.ledger.budget.deposit(permit._granted_at)
        if permit is not None and watched is not None:
            permit.watched = watched
        return permit
