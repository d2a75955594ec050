"""The addresses of the scopes, in C."""

cimport cython

from governor._actors.permit cimport Permit, source_of, this_thread
from governor._fields cimport PermitSource


cdef class Taking:
    cdef public dict addresses
    cdef public list by_label
    cdef public long long thread

    @cython.locals(actor=PermitSource)
    cpdef object take(
        self, object provider, object method, object attempt=*, object caller=*, object watched=*, object unwatched=*
    )


cdef inline PermitSource address_of(Taking access, object provider, object method):
    """`access.addresses[method][provider]`; None if there is none."""
    providers = access.addresses.get(method)
    return None if providers is None else source_of((<dict>providers).get(provider))
