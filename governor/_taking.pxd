"""The addresses of the scopes, in C."""

cimport cython

from governor._actors.granting cimport Granting
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
    """`access.addresses[provider][method]`."""
    return source_of((<dict>access.addresses[provider])[method])


cdef inline object grabbed(object actor, bint deny):
    """`actor.grab(deny)`."""
    return (<Granting>actor).grab(deny) if isinstance(actor, Granting) else actor.grab(deny)
