"""The addresses of the scopes, in C."""

cimport cython

from governor._actors.permit cimport Permit, this_thread
from governor._actors.leases.permits_ahead cimport next_of
from governor._fields cimport PermitSource, has_any


cdef object get_ident  # Read without a look-up.


cdef class Taking:
    cdef public dict addresses
    cdef public list by_label
    cdef public PermitSource latest
    cdef public long long thread
    cdef object _method, _provider  # What `latest` was found with.

    @cython.locals(actor=PermitSource)
    cpdef object take(
        self, object provider, object method, object attempt=*, object caller=*, object watched=*, object unwatched=*
    )


cdef inline PermitSource address_of(Taking access, object provider, object method):
    """`access.addresses[method][provider]`; None if there is none. Calls in a row that name one scope look it up once."""
    if provider is access._provider and method is access._method and access.latest is not None and access.thread:
        return access.latest
    try:
        providers = access.addresses.get(method)
        found = None if providers is None else (<dict>providers).get(provider)
    except TypeError:
        return None  # Of a type that cannot be looked up, which `scope_of` rejects.
    if not isinstance(found, PermitSource):
        return None
    # Other keys than strings may run code while they are looked up, in which the address may leave the table.
    if access.thread and type(provider) is str and (method is None or type(method) is str):
        access._provider, access._method, access.latest = provider, method, <PermitSource>found
    return <PermitSource>found
